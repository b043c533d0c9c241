import { allocate, isFloat, type DataType } from '../../graph/dtype.js';
import { sizeOf } from '../../graph/tensor.js';
import { broadcastOffsets, broadcastSizes } from '../broadcast.js';
import type { ReferenceTensor } from '../operator.js';

/** numpy broadcasting of any number of float64 tensors through `f`; integers truncate as integer division does, and those of up to 32 bits wrap around. */
export function mapReference(
  inputs: readonly ReferenceTensor[],
  dtype: DataType,
  f: (values: readonly number[]) => number,
): ReferenceTensor {
  const dims = broadcastSizes(inputs.map((t) => t.dims));
  const offsets = inputs.map((t) => broadcastOffsets(t.dims, dims));
  const data = new Float64Array(sizeOf(dims));
  const values: number[] = inputs.map(() => 0);
  const wrap = wrapping(dtype);
  for (let i = 0; i < data.length; i++) {
    for (let j = 0; j < inputs.length; j++) values[j] = inputs[j]!.data[offsets[j]![i]!]!;
    data[i] = wrap(f(values));
  }
  return { dtype, dims, data };
}

/** A value as an element of `dtype` holds it. 64-bit integers, which doubles hold to 2^53, are only truncated. */
export function wrapping(dtype: DataType): (value: number) => number {
  if (isFloat(dtype)) return (value) => value;
  if (dtype === 'int64' || dtype === 'uint64') return Math.trunc;
  const cell = allocate(dtype, 1) as Int32Array;
  return (value) => {
    cell[0] = Math.trunc(value);
    return cell[0];
  };
}
