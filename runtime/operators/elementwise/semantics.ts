import { isFloat, type DataType } from '../../graph/dtype.js';
import { sizeOf } from '../../graph/tensor.js';
import { broadcastOffsets, broadcastSizes } from '../broadcast.js';
import type { ReferenceTensor } from '../operator.js';

/** numpy broadcasting of any number of float64 tensors through `f`; integers truncate as integer division does. */
export function mapReference(
  inputs: readonly ReferenceTensor[],
  dtype: DataType,
  f: (values: readonly number[]) => number,
): ReferenceTensor {
  const dims = broadcastSizes(inputs.map((t) => t.dims));
  const offsets = inputs.map((t) => broadcastOffsets(t.dims, dims));
  const data = new Float64Array(sizeOf(dims));
  const values: number[] = inputs.map(() => 0);
  const exact = isFloat(dtype);
  for (let i = 0; i < data.length; i++) {
    for (let j = 0; j < inputs.length; j++) values[j] = inputs[j]!.data[offsets[j]![i]!]!;
    const value = f(values);
    data[i] = exact ? value : Math.trunc(value);
  }
  return { dtype, dims, data };
}
