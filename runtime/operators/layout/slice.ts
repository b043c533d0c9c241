import { sliceView } from '../../compile/view.js';
import { add, ceilDivide, compare, divideExact, equal, sub, sum as sumDims, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { knownDims } from '../elementwise/fold.js';
import type { Known, NodeContext, Operator, ReferenceTensor, ValueType } from '../operator.js';
import { mixesAlong } from '../rows.js';

/** The elements start, start + step, .. of one axis, `count` of them. */
interface Range {
  readonly axis: number;
  readonly start: Dim;
  readonly count: Dim;
  readonly step: number;
}

/** The elements of a row-major array that `range` picks, for the reference and for folding. */
export function sliceElements<T>(elements: ArrayLike<T>, dims: readonly number[], range: Range): T[] {
  const inner = sizeOf(dims.slice(range.axis + 1));
  const outer = sizeOf(dims.slice(0, range.axis));
  const out: T[] = [];
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < (range.count as number); c++) {
      const from = (o * dims[range.axis]! + (range.start as number) + c * range.step) * inner;
      for (let i = 0; i < inner; i++) out.push(elements[from + i]!);
    }
  }
  return out;
}

function sliceReference(x: ReferenceTensor, range: Range): ReferenceTensor {
  const dims = x.dims.map((d, i) => (i === range.axis ? (range.count as number) : d));
  return { dtype: x.dtype, dims, data: Float64Array.from(sliceElements(x.data, x.dims, range)) };
}

function sliceKnown(context: NodeContext, range: Range, output: ValueType): Known | undefined {
  const known = context.known(0);
  const dims = knownDims(output);
  if (known?.kind !== 'symbolic' || !dims || typeof range.start !== 'number') return undefined;
  const { dtype, elements, dims: from } = known.value;
  return { kind: 'symbolic', value: { dtype, dims, elements: sliceElements(elements, from, range) } };
}

/** A bound of Slice, negative ones counted from the end, limited to [least, size + most]. */
function limit(context: NodeContext, bound: Dim, size: Dim, least: number, most: number): Dim {
  const absolute = typeof bound === 'number' && bound < 0 ? add(bound, size) : bound;
  const end = add(size, most);
  if (typeof absolute === 'number' && typeof end !== 'number' && absolute >= 2 ** 31 - 1) return end;
  if (typeof bound === 'number' && typeof size !== 'number' && bound <= -(2 ** 31 - 1)) return least;
  // Sizes are integers: at most `end` is less than end + 1, which holds for more symbols.
  if (compare(absolute, end) === 1) return end;
  if (compare(absolute, least) === -1) return least;
  if (compare(absolute, add(end, 1)) === -1 && compare(add(absolute, 1), least) === 1) return absolute;
  throw context.unsupported(`whether ${absolute} is within dimension ${size} is not known at load`);
}

function rangesOf(context: NodeContext): Range[] {
  const { shape } = context.input(0);
  const early = context.node.opset < 10;
  const list = (index: number, attribute: string): readonly Dim[] | undefined => {
    if (early) return context.attributes.numbers(attribute);
    return context.optional(index) ? context.requiredElements(index, `the ${attribute}`) : undefined;
  };
  const starts = list(1, 'starts') ?? [];
  const ends = list(2, 'ends') ?? [];
  const axes = list(3, 'axes') ?? starts.map((_, i) => i);
  const steps = (early ? undefined : list(4, 'steps')) ?? starts.map(() => 1);
  return starts.map((start, i) => {
    const axis = context.axis(axes[i] as number, shape.length);
    const step = steps[i] as number;
    const size = shape[axis]!;
    if (step === 0) throw context.invalid('step 0');
    const from = step > 0 ? limit(context, start, size, 0, 0) : limit(context, start, size, 0, -1);
    const to = step > 0 ? limit(context, ends[i]!, size, 0, 0) : limit(context, ends[i]!, size, -1, -1);
    const span = step > 0 ? sub(to, from) : sub(from, to);
    const length = ceilDivide(span, Math.abs(step));
    return { axis, start: from, step, count: typeof length === 'number' ? Math.max(0, length) : length };
  });
}

const sliced = (type: ValueType, range: Range): ValueType => ({
  dtype: type.dtype,
  shape: type.shape.map((d, i) => (i === range.axis ? range.count : d)),
});

/** Slice(data, starts, ends, axes, steps): a view, negative steps as negative strides. */
export const SLICE: Operator = {
  type: 'Slice',
  aliases: 'always',
  opsets: [7, 27],
  infer: (context) => [rangesOf(context).reduce(sliced, context.input(0))],
  fold(context, outputs) {
    const ranges = rangesOf(context);
    return [ranges.length === 1 ? sliceKnown(context, ranges[0]!, outputs[0]!) : undefined];
  },
  reference: (context) => [rangesOf(context.shapes).reduce(sliceReference, context.input(0))],
  rows: (row) =>
    rangesOf(row.context).some(
      (r) =>
        mixesAlong(row, 0, r.axis) === 'mixing' && (r.step !== 1 || !equal(r.count, row.context.input(0).shape[0]!)),
    )
      ? 'mixing'
      : 'parallel',
  keepsRows: ({ context, rowAxis }) =>
    rangesOf(context).every(
      (r) => r.axis !== rowAxis(0) || (r.step === 1 && equal(r.count, context.input(0).shape[r.axis]!)),
    ),
  lower(lowering) {
    const view = rangesOf(lowering.context).reduce(
      (v, r) => sliceView(v, r.axis, r.start, r.count, r.step),
      lowering.view(0),
    );
    lowering.alias(0, view);
  },
};

function partsOf(context: NodeContext): Range[] {
  const { shape } = context.input(0);
  const axis = context.axis(context.attributes.number('axis', 0), shape.length);
  const size = shape[axis]!;
  const parts = context.node.outputs.length;
  const declared = context.attributes.number('num_outputs', parts);
  if (declared !== parts) throw context.invalid(`num_outputs ${declared} for ${parts} outputs`);
  const sizes =
    context.attributes.numbers('split') ??
    (context.optional(1) ? context.requiredElements(1, 'the split') : evenly(context, size, parts));
  if (sizes.length !== parts || !equal(sumDims(sizes), size)) {
    throw context.invalid(`split [${sizes.join(', ')}] does not make ${parts} parts of dimension ${size}`);
  }
  let start: Dim = 0;
  return sizes.map((count) => {
    const range = { axis, start, count, step: 1 };
    start = add(start, count);
    return range;
  });
}

/** Equal parts; of a size that does not divide, the last ones are smaller. */
function evenly(context: NodeContext, size: Dim, parts: number): readonly Dim[] {
  const exact = divideExact(size, parts);
  if (exact !== undefined) return Array.from({ length: parts }, () => exact);
  if (typeof size !== 'number') throw context.unsupported(`an even split of dimension ${size} into ${parts} parts`);
  const each = Math.ceil(size / parts);
  return Array.from({ length: parts }, (_, i) => Math.max(0, Math.min(each, size - i * each)));
}

/** Split(input, split): views on the input. */
export const SPLIT: Operator = {
  type: 'Split',
  aliases: 'always',
  opsets: [7, 27],
  infer: (context) => partsOf(context).map((r) => sliced(context.input(0), r)),
  fold: (context, outputs) => partsOf(context).map((r, i) => sliceKnown(context, r, outputs[i]!)),
  reference: (context) => partsOf(context.shapes).map((r) => sliceReference(context.input(0), r)),
  rows: (row) => mixesAlong(row, 0, partsOf(row.context)[0]!.axis),
  keepsRows: ({ context, rowAxis }) => partsOf(context)[0]!.axis !== rowAxis(0),
  lower(lowering) {
    const view = lowering.view(0);
    partsOf(lowering.context).forEach((r, i) => lowering.alias(i, sliceView(view, r.axis, r.start, r.count)));
  },
};
