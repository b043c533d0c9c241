import { broadcastView, reshapeView } from '../../compile/view.js';
import { mul, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { offsetOf, stridesOf, walk } from '../indexing/gather.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';

function repeatsOf(context: NodeContext): readonly Dim[] {
  const repeats = context.requiredElements(1, 'the repeats');
  const { shape } = context.input(0);
  if (repeats.length !== shape.length)
    throw context.invalid(`${repeats.length} repeats for a tensor of rank ${shape.length}`);
  return repeats;
}

/** Tile(X, repeats): a view where only dimensions of 1 repeat, otherwise one copy out of strides of 0. */
export const TILE: Operator = {
  type: 'Tile',
  aliases: 'sometimes',
  note: 'repeats known at load',
  opsets: [7, 27],
  infer(context) {
    const { dtype, shape } = context.input(0);
    return [{ dtype, shape: repeatsOf(context).map((r, d) => mul(r, shape[d]!)) }];
  },
  reference(context) {
    const x = context.input(0);
    const repeats = repeatsOf(context.shapes) as readonly number[];
    const dims = x.dims.map((d, i) => d * repeats[i]!);
    const strides = stridesOf(x.dims);
    const data = new Float64Array(sizeOf(dims));
    walk(dims, (at, i) => {
      data[i] =
        x.data[
          offsetOf(
            at.map((c, d) => c % x.dims[d]!),
            strides,
          )
        ]!;
    });
    return [{ dtype: x.dtype, dims, data }];
  },
  rows: (row) => (repeatsOf(row.context)[0] === 1 ? 'parallel' : mixesAlong(row, 0, 0)),
  lower(lowering) {
    const { shape } = lowering.outputs[0]!;
    const view = lowering.view(0);
    const repeats = repeatsOf(lowering.context);
    // Each repeat is a dimension of its own in front of what it repeats.
    const spread = {
      ...view,
      shape: view.shape.flatMap((d) => [1, d]),
      strides: view.strides.flatMap((s) => [0, s]),
    };
    const tiled = broadcastView(
      spread,
      view.shape.flatMap((d, i) => [repeats[i]!, d]),
    );
    lowering.alias(0, reshapeView(tiled, shape) ?? reshapeView(lowering.dense(tiled), shape)!);
  },
};
