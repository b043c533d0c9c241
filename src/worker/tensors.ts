import type { DataType, TensorData } from '../../runtime/graph/dtype.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import type { TensorInput } from '../api.js';
import type { WireTensor } from './protocol.js';

const ARRAYS = {
  Float32Array,
  Float64Array,
  Int8Array,
  Int16Array,
  Int32Array,
  BigInt64Array,
  Uint8Array,
  Uint16Array,
  Uint32Array,
  BigUint64Array,
} as const;

type ArrayName = keyof typeof ARRAYS;

function arrayNameOf(data: unknown): string {
  // A Buffer is a Uint8Array to every reader.
  if (data instanceof Uint8Array) return 'Uint8Array';
  return (data as { constructor?: { name: string } } | undefined)?.constructor?.name ?? typeof data;
}

/** The view that a wire tensor describes. */
export function fromWire(wire: WireTensor): TensorInput {
  const make = ARRAYS[wire.array as ArrayName] as new (
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
  ) => TensorData;
  const data = make ? new make(wire.buffer, wire.byteOffset, wire.length) : (wire.array as unknown as TensorData);
  return wire.dtype === undefined ? { dims: wire.dims, data } : { dtype: wire.dtype, dims: wire.dims, data };
}

export function tensorFromWire(wire: WireTensor): Tensor {
  return fromWire(wire) as Tensor;
}

export function toWire(
  tensor: TensorInput,
  buffer: ArrayBufferLike = tensor.data.buffer,
  byteOffset = tensor.data.byteOffset,
): WireTensor {
  const dtype: DataType | undefined = 'dtype' in tensor ? tensor.dtype : undefined;
  return { dtype, dims: tensor.dims, buffer, byteOffset, length: tensor.data.length, array: arrayNameOf(tensor.data) };
}

/** Smallest pooled buffer; below it the sizes are all alike. */
const LEAST_BYTES = 4096;
/** Idle buffers kept of each size. */
const KEPT = 32;

/**
 * Shared memory for inputs on their way to the engine's thread. Buffers come in powers of two and are used again, since
 * making shared memory costs a system call and page faults.
 */
export class SharedPool {
  readonly #idle = new Map<number, SharedArrayBuffer[]>();

  take(bytes: number): SharedArrayBuffer {
    const size = Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(Math.max(1, bytes))));
    return this.#idle.get(size)?.pop() ?? new SharedArrayBuffer(size);
  }

  give(buffer: SharedArrayBuffer): void {
    const idle = this.#idle.get(buffer.byteLength) ?? [];
    if (idle.length < KEPT) idle.push(buffer);
    this.#idle.set(buffer.byteLength, idle);
  }
}
