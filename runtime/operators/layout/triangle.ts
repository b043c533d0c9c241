import { coordinates } from '../../../shaders/indexed.js';
import { deviceType } from '../../compile/view.js';
import type { DataType } from '../../graph/dtype.js';
import { sizeOf } from '../../graph/tensor.js';
import { dataTypeOf } from '../elementwise/cast.js';
import { indexedStep, zeroOf } from '../indexing/step.js';
import { walk } from '../indexing/gather.js';
import type { NodeContext, Operator } from '../operator.js';
import { shownByShapes } from '../rows.js';

/** The lower triangle below the diagonal `k`, or the upper one, of the last two dimensions; zeros elsewhere. */
export const TRILU: Operator = {
  type: 'Trilu',
  opsets: [14, 27],
  infer(context) {
    const type = context.input(0);
    if (type.shape.length < 2) throw context.invalid('expected a matrix');
    return [type];
  },
  reference(context) {
    const x = context.input(0);
    const k = context.inputs[1]?.data[0] ?? 0;
    const upper = context.attributes.number('upper', 1) !== 0;
    const data = new Float64Array(x.data.length);
    walk(x.dims, (at, i) => {
      const past = at.at(-1)! - at.at(-2)!;
      data[i] = (upper ? past >= k : past <= k) ? x.data[i]! : 0;
    });
    return [{ ...x, data }];
  },
  // The leading dimension is a row of the matrix only where there are no others.
  rows: ({ context, carriesRows }) => (context.input(0).shape.length === 2 && carriesRows(0) ? 'mixing' : 'parallel'),
  lower(lowering) {
    const data = lowering.view(0);
    const k = lowering.optional(1);
    const upper = lowering.context.attributes.number('upper', 1) !== 0;
    const own = coordinates(data.shape.length);
    lowering.emit(
      indexedStep({
        name: 'Trilu',
        variant: `${upper ? 'upper' : 'lower'}${k ? '_k' : ''}`,
        reads: { data, ...(k ? { k } : {}) },
        writes: { out: lowering.output(0) },
        detail: upper ? 'upper' : 'lower',
        body({ at }) {
          const element =
            k &&
            at(
              'k',
              k.shape.map(() => '0u'),
            );
          const diagonal = !k ? '0' : deviceType(k.dtype) === 'i64' ? `bitcast<i32>(${element}.x)` : `i32(${element})`;
          return `
    let past = i32(${own.at(-1)}) - i32(${own.at(-2)});
    if (past ${upper ? '>=' : '<='} ${diagonal}) {
      ${at('out', own)} = ${at('data', own)};
    } else {
      ${at('out', own)} = ${zeroOf(data)};
    }`;
        },
      }),
    );
  },
};

function eyeType(context: NodeContext): DataType {
  return context.attributes.has('dtype')
    ? dataTypeOf(context, context.attributes.requiredNumber('dtype'))
    : context.input(0).dtype;
}

/** EyeLike(X): ones on the diagonal `k` of a matrix shaped like X, of which only the shape is read. */
export const EYE_LIKE: Operator = {
  type: 'EyeLike',
  opsets: [9, 27],
  infer(context) {
    const { shape } = context.input(0);
    if (shape.length !== 2) throw context.invalid('expected a matrix');
    return [{ dtype: eyeType(context), shape }];
  },
  reference(context) {
    const { dims } = context.input(0);
    const k = context.attributes.number('k', 0);
    const data = new Float64Array(sizeOf(dims));
    walk(dims, (at, i) => void (data[i] = at[1] === at[0]! + k ? 1 : 0));
    return [{ dtype: eyeType(context.shapes), dims, data }];
  },
  rows: ({ carriesRows }) => (carriesRows(0) ? 'mixing' : shownByShapes()),
  lower(lowering) {
    const output = lowering.output(0);
    const type = deviceType(output.dtype);
    const one = type === 'i64' ? 'vec2<u32>(1u, 0u)' : `${type}(1)`;
    lowering.emit(
      indexedStep({
        name: 'EyeLike',
        reads: {},
        writes: { out: output },
        integers: { k: lowering.context.attributes.number('k', 0) },
        body: ({ at }) => `
    if (i32(c1) - i32(c0) == bitcast<i32>(p.k)) {
      ${at('out', ['c0', 'c1'])} = ${one};
    } else {
      ${at('out', ['c0', 'c1'])} = ${zeroOf(output)};
    }`,
      }),
    );
  },
};
