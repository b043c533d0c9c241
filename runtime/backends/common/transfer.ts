import type { Weight } from '../../compile/lower.js';
import { packWeight } from '../../compile/packed.js';
import { deviceType, isPacked } from '../../compile/view.js';
import { allocate, bytesOf, readNumber, writeNumber, type DataType, type TensorData } from '../../graph/dtype.js';

/** Types whose host bytes are their device bytes. */
const IDENTICAL: ReadonlySet<DataType> = new Set(['float32', 'int32', 'uint32', 'int64', 'uint64']);

/** Whether elements of a type lie on the device byte by byte as they do on the host. */
export function keepsBytes(dtype: DataType): boolean {
  return IDENTICAL.has(dtype);
}

/** Writes host elements into mapped device memory at `byteOffset`, widening or narrowing where the types differ. */
export function writeToDevice(dtype: DataType, data: TensorData, target: ArrayBuffer, byteOffset: number): void {
  if (IDENTICAL.has(dtype)) {
    new Uint8Array(target, byteOffset, data.byteLength).set(bytesOf(data));
    return;
  }
  const type = deviceType(dtype);
  const view =
    type === 'f32'
      ? new Float32Array(target, byteOffset, data.length)
      : type === 'i32'
        ? new Int32Array(target, byteOffset, data.length)
        : new Uint32Array(target, byteOffset, data.length);
  if (dtype === 'float16' || dtype === 'bfloat16') {
    for (let i = 0; i < data.length; i++) view[i] = readNumber(dtype, data, i);
  } else {
    view.set(data as Uint8Array);
  }
}

/** Writes a weight as its storage holds it. */
export function writeWeight({ storage, tensor }: Weight, target: ArrayBuffer, byteOffset: number): void {
  if (isPacked(storage.type)) packWeight(storage.type, tensor, target, byteOffset);
  else writeToDevice(tensor.dtype, tensor.data, target, byteOffset);
}

/** Reads `length` elements of mapped device memory into a new host array. */
export function readFromDevice(dtype: DataType, source: ArrayBuffer, byteOffset: number, length: number): TensorData {
  const out = allocate(dtype, length);
  if (IDENTICAL.has(dtype)) {
    bytesOf(out).set(new Uint8Array(source, byteOffset, out.byteLength));
    return out;
  }
  const type = deviceType(dtype);
  const view =
    type === 'f32'
      ? new Float32Array(source, byteOffset, length)
      : type === 'i32'
        ? new Int32Array(source, byteOffset, length)
        : new Uint32Array(source, byteOffset, length);
  for (let i = 0; i < length; i++) writeNumber(dtype, out, i, view[i]!);
  return out;
}
