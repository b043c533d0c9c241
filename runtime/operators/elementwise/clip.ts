import type { View } from '../../compile/view.js';
import { tensorOf, toFloat64 } from '../../graph/tensor.js';
import type { Lowering } from '../../compile/lowering.js';
import type { Operator } from '../operator.js';
import { shownByShapes } from '../rows.js';
import { mapReference } from './semantics.js';
import { copyStep, elementwiseStep } from './kernel.js';
import { arithmeticType, lessThan, variantName, type ArithmeticType } from './types.js';

const BOUNDS = [
  { index: 1, attribute: 'min', scalar: 'low' },
  { index: 2, attribute: 'max', scalar: 'high' },
] as const;

/** A bound as the kernel has it: a scalar of the parameter block, or an operand. Absent: nothing limits. */
type Bound = { readonly scalar: number } | { readonly view: View } | undefined;

/** Attributes before opset 11, inputs from there on. Known floats are scalars; integers would not survive as float32. */
function boundOf(lowering: Lowering, { index, attribute }: (typeof BOUNDS)[number]): Bound {
  const { context } = lowering;
  const isFloat = arithmeticType(context.input(0).dtype) === 'f32';
  if (context.node.opset < 11) {
    if (!context.attributes.has(attribute)) return undefined;
    const scalar = context.attributes.number(attribute, 0);
    if (isFloat) return { scalar };
    return { view: lowering.constant(attribute, tensorOf(context.input(0).dtype, [], [scalar])) };
  }
  const value = context.tensor(index);
  if (value && isFloat) return { scalar: toFloat64(value)[0]! };
  const view = lowering.optional(index);
  return view && { view: { ...view, shape: [], strides: [] } };
}

/** `a` kept from going past the bound: comparisons that NaN fails leave it NaN. */
function limited(type: ArithmeticType, a: string, bound: string, isLow: boolean): string {
  const past = isLow ? lessThan(type, a, bound) : lessThan(type, bound, a);
  return `select(${a}, ${bound}, ${type === 'i64' || type === 'u64' ? `vec2<bool>(${past})` : past})`;
}

/** Clip(X, min, max). An absent bound does not limit; where the bounds cross, the result is max. */
export const CLIP: Operator = {
  type: 'Clip',
  opsets: [7, 27],
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
    const { dtype } = lowering.context.input(0);
    const type = arithmeticType(dtype);
    const inputs = [lowering.view(0)];
    const scalars: Record<string, number> = {};
    let expression = 'a';
    let name = variantName('Clip', dtype);
    for (const known of BOUNDS) {
      const bound = boundOf(lowering, known);
      if (!bound) continue;
      if ('scalar' in bound) scalars[known.scalar] = bound.scalar;
      else inputs.push(bound.view);
      const operand = 'scalar' in bound ? `p.${known.scalar}` : 'abc'[inputs.length - 1]!;
      expression = limited(type, expression, operand, known.scalar === 'low');
      name += `_${known.scalar}${'scalar' in bound ? '' : '_input'}`;
    }
    const output = lowering.output(0);
    if (expression === 'a') lowering.emit(copyStep(inputs[0]!, output));
    else lowering.emit(elementwiseStep({ name, expression, inputs, output, scalars, operations: 2 }));
  },
};
