import type { Lowering } from '../../compile/lowering.js';
import type { View } from '../../compile/view.js';
import { add, maximum, minimum, mul, type Dim } from '../../graph/dim.js';
import { knownDims } from '../elementwise/fold.js';
import { copyStep } from '../elementwise/kernel.js';
import { wrapping } from '../elementwise/semantics.js';
import { arithmeticType, variantName, wrapped } from '../elementwise/types.js';
import type { Known, NodeContext, Operator, ValueType } from '../operator.js';
import { mixesAlong, shownByShapes } from '../rows.js';
import { ARG_OPERATORS } from './arg.js';
import { reduceReference, reduceStep } from './kernel.js';
import { REDUCERS } from './reducers.js';

/** Axes come as an attribute first, as an input from opset 13 (ReduceSum) or 18 on. Absent: all, unless told otherwise. */
function axesOf(context: NodeContext): number[] {
  const rank = context.input(0).shape.length;
  const axes =
    context.attributes.numbers('axes') ?? (context.optional(1) ? context.requiredInts(1, 'the axes') : undefined) ?? [];
  if (axes.length > 0) return [...new Set(axes.map((a) => context.axis(a, rank)))].sort((a, b) => a - b);
  if (context.attributes.number('noop_with_empty_axes', 0) !== 0) return [];
  return Array.from({ length: rank }, (_, i) => i);
}

function reducedShape(context: NodeContext, axes: readonly number[]): Dim[] {
  const { shape } = context.input(0);
  const keep = context.attributes.number('keepdims', 1) !== 0;
  return shape.flatMap((d, i) => (axes.includes(i) ? (keep ? [1] : []) : [d]));
}

/** Emits reduction `type` of `view` into `output`. */
export function emitReduction(
  lowering: Lowering,
  type: string,
  view: View,
  output: View,
  axes: readonly number[],
): void {
  const reducer = REDUCERS.find((r) => r.type === type)!;
  const kernel = reducer.kernel(arithmeticType(view.dtype));
  if (axes.length === 0 && reducer.keepsOne) {
    lowering.emit(copyStep(view, output));
    return;
  }
  // A narrow integer that overflows its type is wrapped around once, at the end.
  const finished = { ...kernel, finish: wrapped(view.dtype, kernel.finish) };
  lowering.emit(reduceStep(variantName(type, view.dtype), finished, view, output, axes));
}

const FOLDS: Readonly<Record<string, (a: Dim, b: Dim) => Dim>> = {
  ReduceSum: add,
  ReduceProd: mul,
  ReduceMax: maximum,
  ReduceMin: minimum,
};

/** The reduction of sizes, such as the product of a shape. */
function foldReduction(
  type: string,
  context: NodeContext,
  axes: readonly number[],
  output: ValueType,
): Known | undefined {
  const fold = FOLDS[type];
  const known = context.known(0);
  if (!fold || known?.kind !== 'symbolic' || known.value.dims.length !== 1 || axes.length !== 1) return undefined;
  const { elements } = known.value;
  if (elements.length === 0) return undefined;
  const dims = knownDims(output)!;
  return { kind: 'symbolic', value: { dtype: output.dtype, dims, elements: [elements.reduce((a, b) => fold(a, b))] } };
}

const REDUCTIONS: readonly Operator[] = REDUCERS.map(({ type, reference }) => ({
  type,
  opsets: [7, 27],
  infer: (context) => [{ dtype: context.input(0).dtype, shape: reducedShape(context, axesOf(context)) }],
  fold: (context, outputs) => [foldReduction(type, context, axesOf(context), outputs[0]!)],
  reference(context) {
    const x = context.input(0);
    const axes = axesOf(context.shapes);
    const data = reduceReference(x, axes, (group) => reference(group, x.dtype)).map(wrapping(x.dtype));
    return [{ dtype: x.dtype, dims: reducedShape(context.shapes, axes) as number[], data }];
  },
  rows: (row) => (axesOf(row.context).some((a) => mixesAlong(row, 0, a) === 'mixing') ? 'mixing' : 'parallel'),
  keepsRows: ({ context, rowAxis }) => !axesOf(context).includes(rowAxis(0)!),
  lower: (lowering) => emitReduction(lowering, type, lowering.view(0), lowering.output(0), axesOf(lowering.context)),
}));

/** GlobalAveragePool and GlobalMaxPool: each channel of each row over all of its places, which stay as 1. */
function globalPool(type: string, reduction: string): Operator {
  const { reference } = REDUCERS.find((r) => r.type === reduction)!;
  const axesOf = (shape: readonly Dim[]): number[] => shape.flatMap((_, i) => (i < 2 ? [] : [i]));
  return {
    type,
    opsets: [7, 27],
    infer(context) {
      const { dtype, shape } = context.input(0);
      if (shape.length < 3) throw context.invalid(`input of rank ${shape.length} has no places`);
      return [{ dtype, shape: shape.map((d, i) => (i < 2 ? d : 1)) }];
    },
    reference(context) {
      const x = context.input(0);
      const data = reduceReference(x, axesOf(x.dims), (group) => reference(group, x.dtype));
      return [{ dtype: x.dtype, dims: x.dims.map((d, i) => (i < 2 ? d : 1)), data }];
    },
    rows: shownByShapes,
    lower(lowering) {
      const view = lowering.view(0);
      emitReduction(lowering, reduction, view, lowering.output(0), axesOf(view.shape));
    },
  };
}

export const REDUCE_OPERATORS: readonly Operator[] = [
  ...REDUCTIONS,
  ...ARG_OPERATORS,
  globalPool('GlobalAveragePool', 'ReduceMean'),
  globalPool('GlobalMaxPool', 'ReduceMax'),
];
