import { broadcastView } from '../../compile/view.js';
import { broadcastOffsets, broadcastShapes } from '../broadcast.js';
import { knownDims } from '../elementwise/fold.js';
import type { Operator } from '../operator.js';
import { alignedRows, shownByShapes } from '../rows.js';

/** Expand(X, shape): broadcasting as a view with strides of 0. */
export const EXPAND: Operator = {
  type: 'Expand',
  aliases: 'always',
  opsets: [8, 27],
  infer(context) {
    const { dtype, shape } = context.input(0);
    const target = context.requiredElements(1, 'the shape');
    return [{ dtype, shape: broadcastShapes([shape, target], (p) => context.invalid(p)) }];
  },
  fold(context, outputs) {
    const known = context.known(0);
    const dims = knownDims(outputs[0]!);
    if (known?.kind !== 'symbolic' || !dims) return [undefined];
    const elements = Array.from(broadcastOffsets(known.value.dims, dims), (at) => known.value.elements[at]!);
    return [{ kind: 'symbolic', value: { dtype: known.value.dtype, dims, elements } }];
  },
  reference(context) {
    const x = context.input(0);
    const dims = broadcastShapes([x.dims, [...context.input(1).data]], (p) => context.shapes.invalid(p)) as number[];
    const offsets = broadcastOffsets(x.dims, dims);
    return [{ dtype: x.dtype, dims, data: Float64Array.from(offsets, (at) => x.data[at]!) }];
  },
  rows: shownByShapes,
  keepsRows: alignedRows,
  lower: (lowering) => lowering.alias(0, broadcastView(lowering.view(0), lowering.outputs[0]!.shape)),
};
