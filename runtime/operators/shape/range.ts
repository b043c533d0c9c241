import { deviceType } from '../../compile/view.js';
import { add, ceilDivide, compare, maximum, mul, sub, type Dim } from '../../graph/dim.js';
import { isInteger } from '../../graph/dtype.js';
import { indexedStep } from '../indexing/step.js';
import type { NodeContext, Operator } from '../operator.js';
import { shownByShapes } from '../rows.js';

interface Bounds {
  readonly start: Dim;
  readonly delta: number;
  readonly length: Dim;
}

function boundsOf(context: NodeContext): Bounds {
  const one = (index: number, what: string): Dim => context.requiredElements(index, what)[0]!;
  const [start, limit, delta] = [one(0, 'the start'), one(1, 'the limit'), one(2, 'the delta')];
  if (typeof delta !== 'number') throw context.unsupported(`the delta depends on dimension '${delta}'`);
  if (delta === 0) throw context.invalid('delta 0');
  const span = delta > 0 ? sub(limit, start) : sub(start, limit);
  if (typeof span === 'number') return { start, delta, length: Math.max(0, Math.ceil(span / Math.abs(delta))) };
  const length = ceilDivide(span, Math.abs(delta));
  return { start, delta, length: compare(length, 0) === 1 ? length : maximum(length, 0) };
}

/** Ranges up to this many elements are followed as integers that later shapes may be made of. */
const LONGEST_FOLDED = 1024;

/** Range(start, limit, delta): bounds known at load, up to symbols; a kernel counts where the length is a symbol. */
export const RANGE: Operator = {
  type: 'Range',
  note: 'bounds known at load',
  opsets: [11, 27],
  infer: (context) => [{ dtype: context.input(0).dtype, shape: [boundsOf(context).length] }],
  fold(context, [output]) {
    const { start, delta, length } = boundsOf(context);
    if (typeof length !== 'number' || length > LONGEST_FOLDED || !isInteger(output!.dtype)) return [undefined];
    const elements = Array.from({ length }, (_, i) => add(start, mul(delta, i)));
    return [{ kind: 'symbolic', value: { dtype: output!.dtype, dims: [length], elements } }];
  },
  reference(context) {
    const { start, delta, length } = boundsOf(context.shapes) as { start: number; delta: number; length: number };
    const data = Float64Array.from({ length }, (_, i) => start + i * delta);
    return [{ dtype: context.input(0).dtype, dims: [length], data }];
  },
  rows: ({ context }) => (typeof boundsOf(context).length === 'number' ? shownByShapes() : 'mixing'),
  lower(lowering) {
    const { start, delta } = boundsOf(lowering.context);
    const out = lowering.output(0);
    const type = deviceType(out.dtype);
    const call = { name: 'Range', reads: {}, writes: { out } };
    if (type === 'f32') {
      lowering.emit(
        indexedStep({
          ...call,
          floats: { start: start as number, delta },
          body: ({ at }) => `    ${at('out', ['i'])} = p.start + f32(i) * p.delta;`,
        }),
      );
      return;
    }
    const value = {
      i32: 'bitcast<i32>(value)',
      u32: 'value',
      i64: 'vec2<u32>(value, select(0u, 0xffffffffu, bitcast<i32>(value) < 0))',
    }[type];
    lowering.emit(
      indexedStep({
        ...call,
        integers: { start, delta },
        body: ({ at }) => `
    let value = p.start + i * p.delta;
    ${at('out', ['i'])} = ${value};`,
      }),
    );
  },
};
