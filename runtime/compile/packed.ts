import { allocate, halfOfBits, halfToNumber, numberToHalf, readNumber, writeNumber } from '../graph/dtype.js';
import { denseStrides } from '../graph/dim.js';
import { sizeOf, type Tensor } from '../graph/tensor.js';
import { deviceBytes, deviceType, type PackedType, type StorageType, type View } from './view.js';

/** In front of the codes of a row of `i8`: its scale and its offset, float32 each. */
export const ROW_HEADER_BYTES = 8;

/** Codes of a row are -128 to 127. */
const STEPS = 255;
const LEAST_CODE = -128;

/** Above this a row's range, or a value rounded twice, may leave float32. */
const LARGEST_QUANTISED = 2 ** 126;

/** Bytes from one row of `width` codes to the next: header and codes, in whole words. */
export function rowBytes(width: number): number {
  return ROW_HEADER_BYTES + Math.ceil(width / 4) * 4;
}

function widthOf(dims: readonly number[]): number {
  return sizeOf(dims.slice(1));
}

/** Where the elements of a weight lie in its storage, in elements of the storage's type (of `i8`: in bytes). */
export function placement(
  type: StorageType,
  dims: readonly number[],
): { readonly size: number; readonly offset: number; readonly strides: readonly number[] } {
  const strides = denseStrides(dims) as readonly number[];
  if (type !== 'i8') return { size: sizeOf(dims), offset: 0, strides };
  const pitch = rowBytes(widthOf(dims));
  return { size: dims[0]! * pitch, offset: ROW_HEADER_BYTES, strides: [pitch, ...strides.slice(1)] };
}

/** Whether `view` is a whole weight as it is stored: of a table, row after row. */
export function isWhole(view: View): boolean {
  const { storage, shape } = view;
  if (storage.kind !== 'weight' || shape.length === 0) return false;
  const { size, offset, strides } = placement(storage.type, shape as readonly number[]);
  return (
    storage.size === size && view.offset === offset && strides.every((s, d) => shape[d] === 1 || view.strides[d] === s)
  );
}

/** Bytes that a weight takes on the device. */
export function storedBytes(type: StorageType, dims: readonly number[]): number {
  return placement(type, dims).size * deviceBytes(type);
}

/** The elements as numbers one can index; float64 is narrowed when it is stored, not here. */
function numbersOf({ dtype, data }: Tensor): ArrayLike<number> {
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  return Float64Array.from({ length: data.length }, (_, i) => readNumber(dtype, data, i));
}

function bitsOf(data: Float32Array): Uint32Array {
  return new Uint32Array(data.buffer, data.byteOffset, data.length);
}

/** Whether float16 holds every value, so that storing them as halves loses nothing. */
export function isExactInHalves(tensor: Tensor): boolean {
  if (tensor.dtype === 'float16') return true;
  if (!(tensor.data instanceof Float32Array)) {
    const values = numbersOf(tensor);
    for (let i = 0; i < values.length; i++)
      if (halfToNumber(numberToHalf(values[i]!)) !== Math.fround(values[i]!)) return false;
    return true;
  }
  const bits = bitsOf(tensor.data);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    const exponent = (x >>> 23) & 0xff;
    const isNormal = (x & 0x1fff) === 0 && exponent > 112 && exponent < 143;
    if (!isNormal && halfToNumber(halfOfBits(x)) !== tensor.data[i]) return false;
  }
  return true;
}

/** Whether every finite value stays finite as `type`, and `i8` has only those. */
export function fits(type: PackedType, tensor: Tensor): boolean {
  if (tensor.dtype === 'float16' && type === 'f16') return true;
  const values = numbersOf(tensor);
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]!);
    if (type === 'i8' ? !(size < LARGEST_QUANTISED) : size >= 65_520 && size !== Number.POSITIVE_INFINITY) return false;
  }
  return true;
}

function packHalves(tensor: Tensor, target: Uint16Array): void {
  const { dtype, data } = tensor;
  if (dtype === 'float16') {
    target.set(data as Uint16Array);
  } else if (data instanceof Float32Array) {
    const bits = bitsOf(data);
    for (let i = 0; i < bits.length; i++) target[i] = halfOfBits(bits[i]!);
  } else {
    const values = numbersOf(tensor);
    for (let i = 0; i < values.length; i++) target[i] = numberToHalf(values[i]!);
  }
}

/**
 * Quantises each row by itself, to the 256 levels from its least to its largest value: an element is offset + scale * code,
 * wrong by half a scale at most. This is the row-wise scheme of FBGEMM and of Guan et al., "Post-Training 4-bit
 * Quantization on Embedding Tables" (arXiv:1911.02079), with signed codes. A row of one value is kept exactly.
 */
function packRows(tensor: Tensor, buffer: ArrayBuffer, byteOffset: number): void {
  const values = numbersOf(tensor);
  const width = widthOf(tensor.dims);
  const pitch = rowBytes(width);
  const rows = tensor.dims[0]!;
  const codes = new Int8Array(buffer, byteOffset, rows * pitch);
  const headers = new Float32Array(buffer, byteOffset, (rows * pitch) / 4);
  for (let r = 0, from = 0; r < rows; r++, from += width) {
    let least = values[from]!;
    let most = least;
    for (let i = from + 1; i < from + width; i++) {
      const value = values[i]!;
      if (value < least) least = value;
      else if (value > most) most = value;
    }
    const scale = (most - least) / STEPS;
    const at = r * pitch;
    headers[at / 4] = scale;
    headers[at / 4 + 1] = least - LEAST_CODE * scale;
    const inverse = scale > 0 ? 1 / scale : 0;
    const first = at + ROW_HEADER_BYTES;
    for (let i = 0; i < width; i++) {
      // To nearest: none is negative. Far faster than Math.round.
      const step = ((values[from + i]! - least) * inverse + 0.5) | 0;
      codes[first + i] = LEAST_CODE + (step < STEPS ? step : STEPS);
    }
  }
}

/** Writes a weight as `type` at `byteOffset`, a multiple of 4, of memory that is zero. */
export function packWeight(type: PackedType, tensor: Tensor, buffer: ArrayBuffer, byteOffset: number): void {
  if (type === 'i8') packRows(tensor, buffer, byteOffset);
  else packHalves(tensor, new Uint16Array(buffer, byteOffset, tensor.data.length));
}

/** What kernels read of a weight that is stored as `type`, in the weight's own type where that holds it. */
export function unpackedWeight(type: PackedType, tensor: Tensor): Tensor {
  const { dims, data } = tensor;
  const dtype = type === 'i8' && tensor.dtype === 'float16' ? 'float32' : tensor.dtype;
  const buffer = new ArrayBuffer(Math.ceil(storedBytes(type, dims) / 4) * 4);
  packWeight(type, tensor, buffer, 0);
  const result = allocate(dtype, data.length);
  const halves = new Uint16Array(buffer);
  const codes = new Int8Array(buffer);
  const headers = new Float32Array(buffer);
  const width = widthOf(dims);
  const pitch = rowBytes(width);
  for (let i = 0; i < data.length; i++) {
    const row = Math.floor(i / width) * pitch;
    const value =
      type === 'f16'
        ? halfToNumber(halves[i]!)
        : headers[row / 4 + 1]! + headers[row / 4]! * codes[row + ROW_HEADER_BYTES + (i % width)]!;
    writeNumber(dtype, result, i, value);
  }
  return { dtype, dims, data: result };
}

/** Bytes that storing a weight as `type` saves beside its device type. */
export function savedBytes(type: StorageType, { dtype, dims }: Tensor): number {
  return storedBytes(deviceType(dtype), dims) - storedBytes(type, dims);
}
