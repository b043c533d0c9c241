import type { Tensor } from '../../runtime/index.js';
import { sizeOf } from '../../runtime/graph/tensor.js';

/** `inputs` with the one row of those named `shared` written out for each of `rows` rows. */
export function repeatShared(
  inputs: Readonly<Record<string, Tensor>>,
  shared: readonly string[],
  rows: number,
): Record<string, Tensor> {
  const repeat = ({ dtype, dims, data }: Tensor): Tensor => {
    const width = sizeOf(dims.slice(1));
    const make = data.constructor as new (length: number) => Float32Array;
    const all = new make(rows * width);
    for (let row = 0; row < rows; row++) all.set(data as Float32Array, row * width);
    return { dtype, dims: [rows, ...dims.slice(1)], data: all };
  };
  return Object.fromEntries(
    Object.entries(inputs).map(([name, tensor]) => [name, shared.includes(name) ? repeat(tensor) : tensor]),
  );
}
