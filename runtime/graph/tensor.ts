import { BraidError } from '../errors.js';
import { allocate, arrayName, holds, readNumber, writeNumber, type DataType, type TensorData } from './dtype.js';

/** A dense row-major tensor on the host. `data.length` equals the product of `dims` (1 for a scalar, `dims` empty). */
export interface Tensor {
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly data: TensorData;
}

export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/**
 * Makes a Tensor and checks that `data` fits it.
 * @throws BraidError INPUT_TYPE where the array type does not hold `dtype`, INPUT_SIZE where the length is off.
 */
export function tensor(dtype: DataType, dims: readonly number[], data: TensorData): Tensor {
  if (!holds(dtype, data)) {
    const found = (data as { constructor: { name: string } }).constructor.name;
    throw new BraidError('INPUT_TYPE', `${dtype} is held by ${arrayName(dtype)}, found ${found}`);
  }
  if (data.length !== sizeOf(dims)) {
    throw new BraidError(
      'INPUT_SIZE',
      `shape [${dims.join(', ')}] needs ${sizeOf(dims)} elements, found ${data.length}`,
    );
  }
  return { dtype, dims: [...dims], data };
}

/** Makes a Tensor from plain numbers, converted to `dtype` as ONNX Cast would. */
export function tensorOf(dtype: DataType, dims: readonly number[], values: ArrayLike<number>): Tensor {
  const data = allocate(dtype, sizeOf(dims));
  if (values.length !== data.length) {
    throw new BraidError(
      'INPUT_SIZE',
      `shape [${dims.join(', ')}] needs ${data.length} elements, found ${values.length}`,
    );
  }
  for (let i = 0; i < data.length; i++) writeNumber(dtype, data, i, values[i]!);
  return { dtype, dims: [...dims], data };
}

/** The elements as doubles. */
export function toFloat64(t: Tensor): Float64Array {
  if (t.data instanceof Float64Array) return t.data;
  const out = new Float64Array(t.data.length);
  for (let i = 0; i < out.length; i++) out[i] = readNumber(t.dtype, t.data, i);
  return out;
}

/** The same elements in another type, converted as ONNX Cast would. Returns `t` itself where nothing changes. */
export function castTensor(t: Tensor, dtype: DataType): Tensor {
  if (t.dtype === dtype) return t;
  const data = allocate(dtype, t.data.length);
  for (let i = 0; i < data.length; i++) writeNumber(dtype, data, i, readNumber(t.dtype, t.data, i));
  return { dtype, dims: t.dims, data };
}
