import { coordinates, INDEX_HELPERS } from '../../../shaders/indexed.js';
import { shapeText, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { compare } from '../../graph/dim.js';
import type { NodeContext, Operator, ReferenceContext, RowContext, RowBehaviour } from '../operator.js';
import { mixesAlong } from '../rows.js';
import { checkIndices, indexedStep, wordsOf, zeroOf } from './step.js';

/** Refuses index types that ONNX does not have. */
export function requireIndices(context: NodeContext, index: number): void {
  const { dtype } = context.input(index);
  if (dtype !== 'int64' && dtype !== 'int32') throw context.invalid(`indices of type ${dtype}`);
}

/** Where `raw` points in an axis of `size`, for references. */
export function placeOf(context: ReferenceContext, raw: number, size: number): number {
  const at = raw < 0 ? raw + size : raw;
  if (at < 0 || at >= size) throw context.shapes.invalid(`index ${raw} is outside dimension ${size}`);
  return at;
}

/** Calls `visit` with the coordinates of every element of `dims`, in row-major order. The array is reused. */
export function walk(dims: readonly number[], visit: (at: readonly number[], linear: number) => void): void {
  const total = sizeOf(dims);
  const at = dims.map(() => 0);
  for (let i = 0; i < total; i++) {
    visit(at, i);
    for (let d = dims.length - 1; d >= 0 && ++at[d]! === dims[d]; d--) at[d] = 0;
  }
}

/** Row-major strides. */
export function stridesOf(dims: readonly number[]): number[] {
  return dims.map((_, d) => sizeOf(dims.slice(d + 1)));
}

export const offsetOf = (at: readonly number[], strides: readonly number[]): number =>
  at.reduce((sum, v, d) => sum + v * strides[d]!, 0);

/** Dimensions other than `axis` of `indices` may be smaller than those of `data`, never larger. */
export function requireWithin(context: NodeContext, indices: readonly Dim[], data: readonly Dim[], axis: number): void {
  const rankDiffers = indices.length !== data.length;
  if (rankDiffers || indices.some((d, i) => i !== axis && compare(d, data[i]!) === 1))
    throw context.invalid(`indices ${shapeText(indices)} do not lie within ${shapeText(data)} beside axis ${axis}`);
}

function axisOf(context: NodeContext): number {
  return context.axis(context.attributes.number('axis', 0), context.input(0).shape.length);
}

/** Rows stay apart where the rows of `indices` meet only the rows of `data` with the same number. */
function elementRows(row: RowContext, axis: number): RowBehaviour {
  if (axis === 0) return mixesAlong(row, 0, 0);
  return row.carriesRows(0) === row.carriesRows(1) ? 'parallel' : 'mixing';
}

/** GatherElements(data, indices, axis): out[i][j] = data[i][indices[i][j]] for axis 1. */
const GATHER_ELEMENTS: Operator = {
  type: 'GatherElements',
  opsets: [11, 27],
  infer(context) {
    requireIndices(context, 1);
    const [data, indices] = [context.input(0), context.input(1)];
    requireWithin(context, indices.shape, data.shape, axisOf(context));
    return [{ dtype: data.dtype, shape: indices.shape }];
  },
  reference(context) {
    const [data, indices] = [context.input(0), context.input(1)];
    const axis = axisOf(context.shapes);
    const strides = stridesOf(data.dims);
    const out = new Float64Array(indices.data.length);
    walk(indices.dims, (at, i) => {
      const place = placeOf(context, indices.data[i]!, data.dims[axis]!);
      out[i] = data.data[offsetOf(at, strides) + (place - at[axis]!) * strides[axis]!]!;
    });
    return [{ dtype: data.dtype, dims: indices.dims, data: out }];
  },
  rows: (row) => elementRows(row, axisOf(row.context)),
  lower(lowering) {
    const axis = axisOf(lowering.context);
    const [data, indices] = [lowering.view(0), lowering.view(1)];
    const size = data.shape[axis]!;
    const { code, rowRuns } = checkIndices(lowering, { indices: 1, table: 0, size });
    const own = coordinates(indices.shape.length);
    lowering.emit(
      indexedStep({
        name: 'GatherElements',
        variant: `axis${axis}`,
        reads: { data, ids: indices },
        writes: { out: lowering.output(0) },
        integers: { size, code, row_runs: rowRuns },
        helpers: INDEX_HELPERS,
        reportsErrors: true,
        detail: `axis=${axis}`,
        body: ({ at }) => `
    let raw = ${wordsOf(indices)}(${at('ids', own)});
    let index = place(raw, p.size);
    if (index == OUTSIDE) {
      report(i / p.row_runs, p.code, i % p.row_runs, raw);
      ${at('out', own)} = ${zeroOf(data)};
    } else {
      ${at('out', own)} = ${at(
        'data',
        own.map((c, d) => (d === axis ? 'index' : c)),
      )};
    }`,
      }),
    );
  },
};

interface NdShape {
  readonly batch: number;
  /** Dimensions of the data that a tuple of indices picks from. */
  readonly depth: number;
  /** Dimensions of the indices without the tuples. */
  readonly outer: readonly Dim[];
  /** Dimensions of the data that a tuple leaves whole. */
  readonly slice: readonly Dim[];
}

function ndShape(context: NodeContext): NdShape {
  requireIndices(context, 1);
  const [data, indices] = [context.input(0).shape, context.input(1).shape];
  const batch = context.attributes.number('batch_dims', 0);
  const depth = indices.at(-1);
  if (typeof depth !== 'number')
    throw context.unsupported(`the last dimension of the indices is ${String(depth)}; it has to be a constant`);
  if (batch + depth > data.length) throw context.invalid(`tuples of ${depth} indices in ${shapeText(data)}`);
  return { batch, depth, outer: indices.slice(0, -1), slice: data.slice(batch + depth) };
}

/** GatherND(data, indices, batch_dims): tuples of indices pick elements, or slices where they are shorter than the rank. */
const GATHER_ND: Operator = {
  type: 'GatherND',
  opsets: [11, 27],
  infer(context) {
    const { outer, slice } = ndShape(context);
    return [{ dtype: context.input(0).dtype, shape: [...outer, ...slice] }];
  },
  reference(context) {
    const [data, indices] = [context.input(0), context.input(1)];
    const { batch, depth, outer, slice } = ndShape(context.shapes) as NdShape & { outer: number[]; slice: number[] };
    const strides = stridesOf(data.dims);
    const length = sizeOf(slice);
    const out = new Float64Array(sizeOf(outer) * length);
    walk(outer, (at, t) => {
      let from = offsetOf(at.slice(0, batch), strides);
      for (let k = 0; k < depth; k++) {
        from += placeOf(context, indices.data[t * depth + k]!, data.dims[batch + k]!) * strides[batch + k]!;
      }
      out.set(data.data.subarray(from, from + length), t * length);
    });
    return [{ dtype: data.dtype, dims: [...outer, ...slice], data: out }];
  },
  rows(row) {
    const { batch } = ndShape(row.context);
    if (batch === 0) return mixesAlong(row, 0, 0);
    return row.carriesRows(0) === row.carriesRows(1) ? 'parallel' : 'mixing';
  },
  keepsRows({ context, rowAxis, outputAxis }) {
    const { batch, depth, outer } = ndShape(context);
    const at = rowAxis(0);
    // Indices known at load only: error records count rows by the leading dimension.
    return context.known(1) !== undefined && at !== undefined && outputAxis === outer.length + at - batch - depth;
  },
  lower(lowering) {
    const { batch, depth, outer } = ndShape(lowering.context);
    const [data, indices] = [lowering.view(0), lowering.view(1)];
    // A code for each index of a tuple: their sizes differ.
    const checks = Array.from({ length: depth }, (_, k) =>
      checkIndices(lowering, { indices: 1, table: 0, size: data.shape[batch + k]! }),
    );
    const output = lowering.output(0);
    const own = coordinates(output.shape.length);
    const tuple = own.slice(0, outer.length);
    const slice = own.slice(outer.length);
    const picked = Array.from({ length: depth }, (_, k) => `index${k}`);
    lowering.emit(
      indexedStep({
        name: 'GatherND',
        variant: `batch${batch}_depth${depth}`,
        reads: { data, ids: indices },
        writes: { out: output },
        integers: { row_runs: checks[0]?.rowRuns ?? 1 },
        lists: { codes: checks.map((c) => c.code), sizes: data.shape, outer_shape: outer },
        helpers: INDEX_HELPERS,
        reportsErrors: true,
        detail: `batch_dims=${batch}`,
        body: ({ at, item }) => `
    var tuple = 0u;
    var within = true;
${tuple.map((c, d) => `    tuple = tuple * ${item('outer_shape', d)} + ${c};`).join('\n')}
${picked
  .map(
    (name, k) => `
    let raw${k} = ${wordsOf(indices)}(${at('ids', [...tuple, `${k}u`])});
    let ${name} = place(raw${k}, ${item('sizes', batch + k)});
    if (${name} == OUTSIDE) {
      within = false;
      let position = tuple * ${depth}u + ${k}u;
      if (${slice.map((c) => `${c} == 0u`).join(' && ') || 'true'}) {
        report(position / p.row_runs, ${item('codes', k)}, position % p.row_runs, raw${k});
      }
    }`,
  )
  .join('')}
    if (within) {
      ${at('out', own)} = ${at('data', [...own.slice(0, batch), ...picked, ...slice])};
    } else {
      ${at('out', own)} = ${zeroOf(data)};
    }`,
      }),
    );
  },
};

export const INDEXED_GATHER_OPERATORS: readonly Operator[] = [GATHER_ELEMENTS, GATHER_ND];
