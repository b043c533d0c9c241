import type { NodeContext, Operator, ReferenceTensor } from '../operator.js';
import { shownByShapes } from '../rows.js';
import { walk } from '../indexing/gather.js';
import { sizeOf, toFloat64 } from '../../graph/tensor.js';

/** The input as the reference holds it; how many elements a set has is known only with all of them. */
function constantOf(context: NodeContext): ReferenceTensor {
  const value = context.tensor(0);
  if (!value) throw context.unsupported('the input is computed from data; the size of the result would depend on it');
  return { dtype: context.input(0).dtype, dims: value.dims, data: toFloat64(value) };
}

function nonZero(x: ReferenceTensor): ReferenceTensor {
  const found: number[][] = [];
  walk(x.dims, (at, i) => void (x.data[i] !== 0 && found.push([...at])));
  const rank = Math.max(1, x.dims.length);
  const data = Float64Array.from({ length: rank * found.length }, (_, i) => {
    return found[i % found.length]![Math.floor(i / found.length)] ?? 0;
  });
  return { dtype: 'int64', dims: [rank, found.length], data };
}

/** NonZero(X): the coordinates of the elements that are not 0, of a constant. */
export const NON_ZERO: Operator = {
  type: 'NonZero',
  note: 'of constants alone',
  opsets: [9, 27],
  infer: (context) => [{ dtype: 'int64', shape: nonZero(constantOf(context)).dims }],
  reference: (context) => [nonZero(context.input(0))],
  rows: shownByShapes,
};

function unique(context: NodeContext, x: ReferenceTensor): ReferenceTensor[] {
  const declared = context.attributes.has('axis') ? context.attributes.number('axis', 0) : undefined;
  const axis = declared === undefined ? 0 : context.axis(declared, x.dims.length);
  const dims = declared === undefined ? [x.data.length] : x.dims;
  const inner = sizeOf(dims.slice(axis + 1));
  const length = dims[axis]!;
  const outer = sizeOf(dims.slice(0, axis));
  const slices = Array.from({ length }, (_, j) =>
    Array.from(
      { length: outer * inner },
      (_, e) => x.data[(Math.floor(e / inner) * length + j) * inner + (e % inner)]!,
    ),
  );
  const seen = new Map<string, { slice: number[]; first: number; count: number }>();
  slices.forEach((slice, j) => {
    const key = slice.join();
    const entry = seen.get(key);
    if (entry) entry.count++;
    else seen.set(key, { slice, first: j, count: 1 });
  });
  const entries = [...seen];
  if (context.attributes.number('sorted', 1) !== 0) {
    entries.sort(([, a], [, b]) => {
      const at = a.slice.findIndex((v, i) => v !== b.slice[i]);
      return at < 0 ? 0 : a.slice[at]! - b.slice[at]!;
    });
  }
  const order = new Map(entries.map(([key], i) => [key, i]));
  const kept = dims.map((d, i) => (i === axis ? entries.length : d));
  const data = new Float64Array(sizeOf(kept));
  entries.forEach(([, { slice }], j) =>
    slice.forEach((v, e) => {
      data[(Math.floor(e / inner) * entries.length + j) * inner + (e % inner)] = v;
    }),
  );
  const list = (values: number[]): ReferenceTensor => ({
    dtype: 'int64',
    dims: [values.length],
    data: Float64Array.from(values),
  });
  return [
    { dtype: x.dtype, dims: kept, data },
    list(entries.map(([, e]) => e.first)),
    list(slices.map((slice) => order.get(slice.join())!)),
    list(entries.map(([, e]) => e.count)),
  ];
}

/** Unique(X): the different elements, or slices, of a constant, with where they are and how often. */
export const UNIQUE: Operator = {
  type: 'Unique',
  note: 'of constants alone',
  opsets: [11, 27],
  infer: (context) => unique(context, constantOf(context)).map(({ dtype, dims }) => ({ dtype, shape: dims })),
  reference: (context) => unique(context.shapes, context.input(0)),
  rows: shownByShapes,
};
