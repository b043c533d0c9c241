import { BraidError } from '../errors.js';

/** ONNX tensor element types that a Graph may carry. Names follow ONNX (`float32` for FLOAT). */
export type DataType =
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'float64'
  | 'int8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'uint64'
  | 'bool';

/** The array that holds a tensor's elements. float16 and bfloat16 are held as raw 16-bit words, bool as 0 or 1 bytes. */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

interface TensorDataConstructor {
  new (length: number): TensorData;
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): TensorData;
  readonly BYTES_PER_ELEMENT: number;
}

interface DataTypeInfo {
  readonly array: TensorDataConstructor;
  readonly kind: 'float' | 'int' | 'uint' | 'bool';
}

const INFO: Record<DataType, DataTypeInfo> = {
  float32: { array: Float32Array, kind: 'float' },
  float16: { array: Uint16Array, kind: 'float' },
  bfloat16: { array: Uint16Array, kind: 'float' },
  float64: { array: Float64Array, kind: 'float' },
  int8: { array: Int8Array, kind: 'int' },
  int16: { array: Int16Array, kind: 'int' },
  int32: { array: Int32Array, kind: 'int' },
  int64: { array: BigInt64Array, kind: 'int' },
  uint8: { array: Uint8Array, kind: 'uint' },
  uint16: { array: Uint16Array, kind: 'uint' },
  uint32: { array: Uint32Array, kind: 'uint' },
  uint64: { array: BigUint64Array, kind: 'uint' },
  bool: { array: Uint8Array, kind: 'bool' },
};

export const DATA_TYPES = Object.keys(INFO) as readonly DataType[];

export function isDataType(name: string): name is DataType {
  return Object.hasOwn(INFO, name);
}

export function bytesPerElement(dtype: DataType): number {
  return INFO[dtype].array.BYTES_PER_ELEMENT;
}

export function isFloat(dtype: DataType): boolean {
  return INFO[dtype].kind === 'float';
}

export function isInteger(dtype: DataType): boolean {
  return INFO[dtype].kind === 'int' || INFO[dtype].kind === 'uint';
}

/** A zeroed array for `length` elements of `dtype`. */
export function allocate(dtype: DataType, length: number): TensorData {
  return new INFO[dtype].array(length);
}

/**
 * A view of `length` elements over bytes that are already there, without a copy.
 * The bytes are copied only where `byteOffset` is not a multiple of the element size, which typed arrays demand.
 */
export function viewBytes(dtype: DataType, bytes: Uint8Array, length: number): TensorData {
  const { array } = INFO[dtype];
  const expected = length * array.BYTES_PER_ELEMENT;
  if (bytes.byteLength !== expected) {
    throw new BraidError('INPUT_SIZE', `expected ${expected} bytes for ${length} ${dtype}, found ${bytes.byteLength}`);
  }
  if (bytes.byteOffset % array.BYTES_PER_ELEMENT === 0) return new array(bytes.buffer, bytes.byteOffset, length);
  const copy = new Uint8Array(bytes);
  return new array(copy.buffer, 0, length);
}

/** The bytes behind a typed array, without a copy. */
export function bytesOf(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Whether `data` is the array type that holds `dtype`. */
export function holds(dtype: DataType, data: unknown): data is TensorData {
  return data instanceof INFO[dtype].array;
}

/** The name of the array type that holds `dtype`, for messages. */
export function arrayName(dtype: DataType): string {
  return (INFO[dtype].array as unknown as { name: string }).name;
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** IEEE 754 binary16 bits to a number. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** A number to IEEE 754 binary16 bits, rounded to nearest even from its float32 value. */
export function numberToHalf(value: number): number {
  f32[0] = value;
  return halfOfBits(u32[0]!);
}

/** As numberToHalf, of the bits of a float32. */
export function halfOfBits(x: number): number {
  const sign = (x >>> 16) & 0x8000;
  const exponent = (x >>> 23) & 0xff;
  let mantissa = x & 0x7fffff;
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa ? 0x200 : 0);
  const unbiased = exponent - 127 + 15;
  if (unbiased >= 31) return sign | 0x7c00;
  if (unbiased <= 0) {
    if (unbiased < -10) return sign;
    mantissa |= 0x800000;
    const shift = 14 - unbiased;
    const half = mantissa >>> shift;
    const rest = mantissa & ((1 << shift) - 1);
    const middle = 1 << (shift - 1);
    return sign | (half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0));
  }
  const half = (unbiased << 10) | (mantissa >>> 13);
  const rest = mantissa & 0x1fff;
  return sign | (half + (rest > 0x1000 || (rest === 0x1000 && (half & 1) === 1) ? 1 : 0));
}

/** bfloat16 bits to a number: the upper half of a float32. */
export function bfloat16ToNumber(bits: number): number {
  u32[0] = bits << 16;
  return f32[0]!;
}

/** A number to bfloat16 bits, rounded to nearest even from its float32 value. */
export function numberToBfloat16(value: number): number {
  f32[0] = value;
  const x = u32[0]!;
  if (Number.isNaN(value)) return 0x7fc0;
  return ((x + 0x7fff + ((x >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Reads element `index` as a number (int64 beyond 2^53 loses its low bits, as any double would). */
export function readNumber(dtype: DataType, data: TensorData, index: number): number {
  const value = data[index]!;
  if (dtype === 'float16') return halfToNumber(value as number);
  if (dtype === 'bfloat16') return bfloat16ToNumber(value as number);
  return Number(value);
}

/** 64-bit integers saturate: the largest of them has no double, and must not come back as the smallest. */
function clampBigInt(value: number, least: bigint, most: bigint): bigint {
  if (Number.isNaN(value)) return 0n;
  if (value >= Number(most)) return most;
  if (value <= Number(least)) return least;
  return BigInt(Math.trunc(value));
}

/** Writes `value` at `index` converted to `dtype` the way ONNX Cast does: floats round, integers truncate and wrap (64-bit ones saturate). */
export function writeNumber(dtype: DataType, data: TensorData, index: number, value: number): void {
  switch (dtype) {
    case 'float16':
      data[index] = numberToHalf(value);
      return;
    case 'bfloat16':
      data[index] = numberToBfloat16(value);
      return;
    case 'int64':
      data[index] = clampBigInt(value, -(2n ** 63n), 2n ** 63n - 1n);
      return;
    case 'uint64':
      data[index] = clampBigInt(value, 0n, 2n ** 64n - 1n);
      return;
    case 'bool':
      data[index] = value !== 0 ? 1 : 0;
      return;
    default:
      data[index] = isFloat(dtype) ? value : Math.trunc(value);
  }
}
