import { deviceType } from '../../compile/view.js';
import { broadcastOffsets, broadcastShapes } from '../broadcast.js';
import type { Operator } from '../operator.js';
import { knownDims } from './fold.js';
import { alignedRows, shownByShapes } from '../rows.js';
import { mapReference } from './semantics.js';
import { elementwiseStep } from './kernel.js';
import { commonType } from './types.js';

/** Where(condition, X, Y): X where the condition holds, Y elsewhere, all three broadcast. */
export const WHERE: Operator = {
  type: 'Where',
  opsets: [9, 27],
  infer(context) {
    const [condition, x, y] = [context.input(0), context.input(1), context.input(2)];
    if (condition.dtype !== 'bool') throw context.invalid(`condition should be bool, found ${condition.dtype}`);
    const shape = broadcastShapes([condition.shape, x.shape, y.shape], (p) => context.invalid(p));
    return [{ dtype: commonType(context, [x.dtype, y.dtype]), shape }];
  },
  fold(context, outputs) {
    const dims = knownDims(outputs[0]!);
    const inputs = [0, 1, 2].map((i) => ({ elements: context.elements(i), dims: knownDims(context.input(i)) }));
    if (!dims || inputs.some((i) => !i.elements || !i.dims)) return [undefined];
    const [condition, x, y] = inputs.map((i) => Array.from(broadcastOffsets(i.dims!, dims), (at) => i.elements![at]!));
    if (!condition!.every((c) => typeof c === 'number')) return [undefined];
    const elements = condition!.map((c, i) => (c === 0 ? y![i]! : x![i]!));
    return [{ kind: 'symbolic', value: { dtype: outputs[0]!.dtype, dims, elements } }];
  },
  reference(context) {
    const inputs = [0, 1, 2].map((i) => context.input(i));
    const dtype = commonType(context.shapes, [inputs[1]!.dtype, inputs[2]!.dtype]);
    return [mapReference(inputs, dtype, ([c, x, y]) => (c === 0 ? y! : x!))];
  },
  rows: shownByShapes,
  keepsRows: alignedRows,
  lower(lowering) {
    const { context } = lowering;
    lowering.emit(
      elementwiseStep({
        name: 'Where',
        expression:
          deviceType(context.input(1).dtype) === 'i64' ? 'select(c, b, vec2<bool>(a != 0u))' : 'select(c, b, a != 0u)',
        inputs: [lowering.view(0), lowering.view(1), lowering.view(2)],
        output: lowering.output(0),
      }),
    );
  },
};
