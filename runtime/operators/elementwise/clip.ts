import { deviceType } from '../../compile/view.js';
import { toFloat64 } from '../../graph/tensor.js';
import type { NodeContext, Operator } from '../operator.js';
import { shownByShapes } from '../rows.js';
import { mapReference } from './semantics.js';
import { elementwiseStep } from './kernel.js';

/** The bounds: attributes before opset 11, inputs from there on. */
function bound(context: NodeContext, index: 1 | 2, attribute: string, fallback: number): number {
  if (context.node.opset < 11) return context.attributes.number(attribute, fallback);
  if (!context.optional(index)) return fallback;
  const value = context.tensor(index);
  if (!value) throw context.unsupported(`the ${attribute} bound is computed from data; it has to be known at load`);
  return toFloat64(value)[0]!;
}

/** Clip(X, min, max). An absent bound does not limit. */
export const CLIP: Operator = {
  type: 'Clip',
  opsets: [7, 23],
  infer: (context) => [context.input(0)],
  reference(context) {
    const x = context.input(0);
    const early = context.node.opset < 11;
    const low = early ? context.attributes.number('min', -Infinity) : (context.inputs[1]?.data[0] ?? -Infinity);
    const high = early ? context.attributes.number('max', Infinity) : (context.inputs[2]?.data[0] ?? Infinity);
    return [mapReference([x], x.dtype, ([v]) => Math.min(high, Math.max(low, v!)))];
  },
  rows: shownByShapes,
  lower(lowering) {
    const { context } = lowering;
    const type = deviceType(context.input(0).dtype);
    const low = bound(context, 1, 'min', -Infinity);
    const high = bound(context, 2, 'max', Infinity);
    const call = {
      name: 'Clip',
      inputs: [lowering.view(0)],
      output: lowering.output(0),
      scalars: { low, high },
      operations: 2,
    };
    if (type === 'f32') lowering.emit(elementwiseStep({ ...call, expression: 'min(max(a, p.low), p.high)' }));
    else if (type === 'i32')
      lowering.emit(elementwiseStep({ ...call, expression: 'min(max(a, i32(p.low)), i32(p.high))' }));
    else throw context.unsupported(`no kernel for ${context.input(0).dtype}`);
  },
};
