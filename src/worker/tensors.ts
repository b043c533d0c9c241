import { bytesOf, type TensorData } from '../../runtime/graph/dtype.js';
import type { TensorInput } from '../api.js';
import type { WireMemory, WireTensor } from './protocol.js';

const ARRAYS = [
  Float32Array,
  BigInt64Array,
  Int32Array,
  Uint8Array,
  Float64Array,
  Int8Array,
  Int16Array,
  Uint16Array,
  Uint32Array,
  BigUint64Array,
] as const;

type MakeArray = new (buffer: ArrayBufferLike, offset: number, length: number) => TensorData;

/** A Buffer is a Uint8Array to every reader. */
function arrayOf(data: unknown): number | string {
  const index = ARRAYS.findIndex((array) => data instanceof array);
  return index >= 0
    ? index
    : ((data as { constructor?: { name: string } } | undefined)?.constructor?.name ?? typeof data);
}

/** The view that a wire tensor describes, on `memory`. */
export function fromWire(
  [, dtype, array, dims, , byteOffset, length]: WireTensor,
  memory: ArrayBufferLike,
): TensorInput {
  const data =
    typeof array === 'number'
      ? new (ARRAYS[array] as MakeArray)(memory, byteOffset, length)
      : // The engine says what it found by this name.
        ({ constructor: { name: array } } as unknown as TensorData);
  return dtype === undefined ? { dims, data } : { dtype, dims, data };
}

/** Describes a tensor that lies in `memory` at `byteOffset`. */
export function toWire(name: number | string, tensor: TensorInput, memory: WireMemory, byteOffset: number): WireTensor {
  const dtype = 'dtype' in tensor ? tensor.dtype : undefined;
  return [name, dtype, arrayOf(tensor.data), tensor.dims, memory, byteOffset, tensor.data.length];
}

/** Copies a tensor's elements into shared memory. */
export function copyTo(memory: ArrayBufferLike, byteOffset: number, data: TensorData): void {
  new Uint8Array(memory, byteOffset, data.byteLength).set(bytesOf(data));
}
