import type { Lowering } from '../../compile/lowering.js';
import { reshapeView } from '../../compile/view.js';
import { divideExact, equal, product, shapeText, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { knownDims } from '../elementwise/fold.js';
import type { Known, NodeContext, Operator, ValueType } from '../operator.js';
import { shownByShapes } from '../rows.js';

/** Output 0 is input 0 in another shape: a view where strides can express it, otherwise of a dense copy. */
function lower(lowering: Lowering): void {
  const { shape } = lowering.outputs[0]!;
  const view = lowering.view(0);
  lowering.alias(0, reshapeView(view, shape) ?? reshapeView(lowering.dense(view), shape)!);
}

/** The known elements of input 0 in the output's shape. */
function fold(context: NodeContext, outputs: readonly ValueType[]): readonly (Known | undefined)[] {
  const known = context.known(0);
  const dims = knownDims(outputs[0]!);
  if (known?.kind !== 'symbolic' || !dims) return [undefined];
  return [{ kind: 'symbolic', value: { ...known.value, dims } }];
}

/** An operator that only renames the shape, given the rule for symbolic shapes; the same rule serves the reference. */
function reshaping(
  type: string,
  opsets: Operator['opsets'],
  shape: (context: NodeContext, from: readonly Dim[]) => readonly Dim[],
): Operator {
  return {
    type,
    opsets,
    aliases: 'always',
    infer(context) {
      const { dtype, shape: from } = context.input(0);
      return [{ dtype, shape: shape(context, from) }];
    },
    fold,
    reference(context) {
      const x = context.input(0);
      return [{ ...x, dims: shape(context.shapes, x.dims) as readonly number[] }];
    },
    rows: shownByShapes,
    // compile/rows.ts follows where in a renamed shape the rows are.
    keepsRows: () => true,
    lower,
  };
}

function reshape(context: NodeContext, from: readonly Dim[]): readonly Dim[] {
  const target = context.requiredElements(1, 'the new shape');
  const allowZero = context.attributes.number('allowzero', 0) !== 0;
  const shape = target.map((dim, i) => {
    if (dim !== 0 || allowZero) return dim;
    if (i >= from.length) throw context.invalid(`the new shape copies dimension ${i} of ${shapeText(from)}`);
    return from[i]!;
  });
  const free = shape.findIndex((d) => d === -1);
  if (free >= 0) {
    const rest = product(shape.filter((_, i) => i !== free));
    const size = rest === 0 ? 0 : divideExact(product(from), rest);
    if (size === undefined) throw context.invalid(`${shapeText(from)} does not reshape to ${shapeText(shape)}`);
    return shape.map((d, i) => (i === free ? size : d));
  }
  if (!equal(product(shape), product(from)))
    throw context.invalid(`${shapeText(from)} does not reshape to ${shapeText(shape)}`);
  return shape;
}

function flatten(context: NodeContext, from: readonly Dim[]): readonly Dim[] {
  const declared = context.attributes.number('axis', 1);
  const axis = declared < 0 ? declared + from.length : declared;
  if (axis < 0 || axis > from.length) throw context.invalid(`axis ${declared} is outside rank ${from.length}`);
  return [product(from.slice(0, axis)), product(from.slice(axis))];
}

/** Axes come as an attribute before opset 13, as an input from there on. */
function axesOf(context: NodeContext): readonly number[] | undefined {
  if (context.attributes.has('axes')) return context.attributes.numbers('axes');
  return context.optional(1) ? context.requiredInts(1, 'the axes') : undefined;
}

function squeeze(context: NodeContext, from: readonly Dim[]): readonly Dim[] {
  const axes = axesOf(context)?.map((a) => context.axis(a, from.length));
  if (!axes) return from.filter((d) => d !== 1);
  const kept = axes.find((a) => from[a] !== 1);
  if (kept !== undefined)
    throw context.invalid(`dimension ${kept} of ${shapeText(from)} is not 1 and cannot be squeezed`);
  return from.filter((_, i) => !axes.includes(i));
}

function unsqueeze(context: NodeContext, from: readonly Dim[]): readonly Dim[] {
  const declared = axesOf(context) ?? [];
  const rank = from.length + declared.length;
  const axes = new Set(declared.map((a) => context.axis(a, rank)));
  if (axes.size !== declared.length) throw context.invalid(`axes [${declared.join(', ')}] repeat`);
  const rest = from.values();
  return Array.from({ length: rank }, (_, i) => (axes.has(i) ? 1 : rest.next().value!));
}

const same = (_: NodeContext, from: readonly Dim[]): readonly Dim[] => from;

/** Dropout at inference: the input, and a mask that keeps everything. */
const DROPOUT: Operator = {
  ...reshaping('Dropout', [7, 27], same),
  infer(context) {
    const x = context.input(0);
    return [x, { dtype: 'bool', shape: x.shape }].slice(0, Math.max(1, context.node.outputs.length)) as ValueType[];
  },
  fold: (_, outputs) => outputs.map(() => undefined),
  reference(context) {
    const x = context.input(0);
    const mask = { dtype: 'bool' as const, dims: x.dims, data: new Float64Array(sizeOf(x.dims)).fill(1) };
    return context.node.outputs.length > 1 ? [x, mask] : [x];
  },
  lower(lowering) {
    if (lowering.context.node.outputs[1]) throw lowering.context.unsupported('the mask output at inference');
    lowering.alias(0, lowering.view(0));
  },
};

export const RESHAPE_OPERATORS: readonly Operator[] = [
  reshaping('Reshape', [7, 27], reshape),
  reshaping('Flatten', [7, 27], flatten),
  reshaping('Squeeze', [7, 27], squeeze),
  reshaping('Unsqueeze', [7, 27], unsqueeze),
  reshaping('Identity', [7, 27], same),
  DROPOUT,
];
