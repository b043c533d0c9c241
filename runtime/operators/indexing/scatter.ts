import { coordinates, INDEX_HELPERS, WORDS_LESS, type IndexedAccess } from '../../../shaders/indexed.js';
import { INT64 } from '../../../shaders/int64.js';
import { deviceType, type View } from '../../compile/view.js';
import { product, shapeText, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';

import type { NodeContext, Operator } from '../operator.js';

import { offsetOf, placeOf, requireIndices, requireWithin, stridesOf, walk } from './gather.js';
import { checkIndices, indexedStep, wordsOf } from './step.js';

/** What an update does to the element it meets: WGSL over `a` and `b`, for int64 too, and the reference. */
interface Reduction {
  readonly plain: string;
  readonly i64: string;
  readonly reference: (a: number, b: number) => number;
}

const REDUCTIONS: Readonly<Record<string, Reduction>> = {
  none: { plain: 'b', i64: 'b', reference: (_, b) => b },
  add: { plain: 'a + b', i64: 'i64_add(a, b)', reference: (a, b) => a + b },
  mul: { plain: 'a * b', i64: 'i64_mul(a, b)', reference: (a, b) => a * b },
  max: { plain: 'max(a, b)', i64: 'select(a, b, i64_less(a, b))', reference: Math.max },
  min: { plain: 'min(a, b)', i64: 'select(b, a, i64_less(a, b))', reference: Math.min },
};

function reductionOf(context: NodeContext): Reduction & { readonly name: string } {
  const name = context.attributes.string('reduction', 'none');
  const reduction = REDUCTIONS[name];
  if (!reduction) throw context.invalid(`reduction '${name}'`);
  return { name, ...reduction };
}

const apply = (reduction: Reduction, view: View): string =>
  (deviceType(view.dtype) === 'i64' ? reduction.i64 : reduction.plain)
    .replace('i64_less', view.dtype === 'uint64' ? 'words_less' : 'i64_less')
    .replaceAll(/\ba\b/g, 'value')
    .replaceAll(/\bb\b/g, 'update');

/** Helpers for the element type of `data`; INT64 only where the words of 64-bit integers are reckoned with. */
const helpersFor = (data: View): string =>
  deviceType(data.dtype) === 'i64' ? INDEX_HELPERS + INT64 + WORDS_LESS : INDEX_HELPERS;

function axisOf(context: NodeContext): number {
  return context.axis(context.attributes.number('axis', 0), context.input(0).shape.length);
}

function requireSameType(context: NodeContext): void {
  const [data, updates] = [context.input(0).dtype, context.input(2).dtype];
  if (data !== updates) throw context.invalid(`updates of type ${updates} for data of type ${data}`);
  reductionOf(context);
}

/**
 * ScatterElements(data, indices, updates, axis): out[indices[i][j]][j] = updates[i][j] for axis 0. An invocation owns an
 * element of the result and goes through the indices of its line, so that updates of one place are taken in order and
 * nothing has to be atomic.
 */
const scatterElements = (type: string, opsets: Operator['opsets']): Operator => ({
  type,
  opsets,
  infer(context) {
    requireIndices(context, 1);
    requireSameType(context);
    const [data, indices, updates] = [context.input(0), context.input(1), context.input(2)];
    requireWithin(context, indices.shape, data.shape, axisOf(context));
    if (updates.shape.map(String).join() !== indices.shape.map(String).join())
      throw context.invalid(`updates ${shapeText(updates.shape)} for indices ${shapeText(indices.shape)}`);
    return [data];
  },
  reference(context) {
    const [data, indices, updates] = [context.input(0), context.input(1), context.input(2)];
    const axis = axisOf(context.shapes);
    const { reference } = reductionOf(context.shapes);
    const strides = stridesOf(data.dims);
    const out = data.data.slice();
    walk(indices.dims, (at, i) => {
      const place = placeOf(context, indices.data[i]!, data.dims[axis]!);
      const to = offsetOf(at, strides) + (place - at[axis]!) * strides[axis]!;
      out[to] = reference(out[to]!, updates.data[i]!);
    });
    return [{ ...data, data: out }];
  },
  rows(row) {
    if (axisOf(row.context) === 0) return 'mixing';
    return row.carriesRows(0) === row.carriesRows(1) && row.carriesRows(1) === row.carriesRows(2)
      ? 'parallel'
      : 'mixing';
  },
  lower(lowering) {
    const { context } = lowering;
    const axis = axisOf(context);
    const reduction = reductionOf(context);
    const [data, indices, updates] = [lowering.view(0), lowering.view(1), lowering.view(2)];
    const size = data.shape[axis]!;
    const { code, rowRuns } = checkIndices(lowering, { indices: 1, table: 0, size });
    const own = coordinates(data.shape.length);
    const from = own.map((c, d) => (d === axis ? 'j' : c));
    const position = ({ item }: IndexedAccess): string =>
      from.reduce((sum, c, d) => (d === 0 ? c : `(${sum}) * ${item('ids_shape', d)} + ${c}`), '0u');
    const inside = ({ item }: IndexedAccess): string =>
      own.flatMap((c, d) => (d === axis ? [] : [`${c} < ${item('ids_shape', d)}`])).join(' && ') || 'true';
    lowering.emit(
      indexedStep({
        name: 'ScatterElements',
        variant: `${reduction.name}_axis${axis}${data.dtype === 'uint64' ? '_u64' : ''}`,
        reads: { data, ids: indices, updates },
        writes: { out: lowering.output(0) },
        integers: { size, code, row_runs: rowRuns },
        lists: { ids_shape: indices.shape },
        helpers: helpersFor(data),
        reportsErrors: true,
        operations: indices.shape[axis]!,
        detail: `${reduction.name} axis=${axis}`,
        body: (access) => `
    var value = ${access.at('data', own)};
    if (${inside(access)}) {
      for (var j = 0u; j < ${access.item('ids_shape', axis)}; j++) {
        let raw = ${wordsOf(indices)}(${access.at('ids', from)});
        let index = place(raw, p.size);
        if (index == OUTSIDE && c${axis} == 0u) {
          let position = ${position(access)};
          report(position / p.row_runs, p.code, position % p.row_runs, raw);
        }
        if (index == c${axis}) {
          let update = ${access.at('updates', from)};
          value = ${apply(reduction, data)};
        }
      }
    }
    ${access.at('out', own)} = value;`,
      }),
    );
  },
});

interface NdShape {
  readonly depth: number;
  readonly outer: readonly Dim[];
  readonly slice: readonly Dim[];
}

function ndShape(context: NodeContext): NdShape {
  const [data, indices] = [context.input(0).shape, context.input(1).shape];
  const depth = indices.at(-1);
  if (typeof depth !== 'number')
    throw context.unsupported(`the last dimension of the indices is ${String(depth)}; it has to be a constant`);
  if (depth > data.length) throw context.invalid(`tuples of ${depth} indices in ${shapeText(data)}`);
  return { depth, outer: indices.slice(0, -1), slice: data.slice(depth) };
}

/**
 * ScatterND(data, indices, updates): tuples of indices say which elements, or slices, the updates go to. One pass turns
 * the tuples into places and checks them; in the next, an invocation owns an element and takes its updates in order.
 */
const SCATTER_ND: Operator = {
  type: 'ScatterND',
  note: 'of two passes',
  opsets: [11, 27],
  infer(context) {
    requireIndices(context, 1);
    requireSameType(context);
    const { outer, slice } = ndShape(context);
    const updates = context.input(2).shape;
    const expected = [...outer, ...slice];
    if (expected.map(String).join() !== updates.map(String).join())
      throw context.invalid(`updates ${shapeText(updates)}, expected ${shapeText(expected)}`);
    return [context.input(0)];
  },
  reference(context) {
    const [data, indices, updates] = [context.input(0), context.input(1), context.input(2)];
    const { depth, outer, slice } = ndShape(context.shapes) as NdShape & { outer: number[]; slice: number[] };
    const { reference } = reductionOf(context.shapes);
    const strides = stridesOf(data.dims);
    const length = sizeOf(slice);
    const out = data.data.slice();
    for (let t = 0; t < sizeOf(outer); t++) {
      let to = 0;
      for (let k = 0; k < depth; k++) to += placeOf(context, indices.data[t * depth + k]!, data.dims[k]!) * strides[k]!;
      for (let e = 0; e < length; e++) out[to + e] = reference(out[to + e]!, updates.data[t * length + e]!);
    }
    return [{ ...data, data: out }];
  },
  rows: () => 'mixing',
  keepsRows({ context, rowAxis, outputAxis }) {
    const { depth, outer } = ndShape(context);
    const [data, updates] = [rowAxis(0), rowAxis(2)];
    // Indices known at load only: error records count rows by the leading dimension.
    if (!context.known(1) || data === undefined || data < depth || outputAxis !== data) return false;
    return updates === outer.length + data - depth;
  },
  lower(lowering) {
    const { context } = lowering;
    const { depth, outer, slice } = ndShape(context);
    const reduction = reductionOf(context);
    const [data, indices, updates] = [lowering.view(0), lowering.view(1), lowering.view(2)];
    const checks = Array.from({ length: depth }, (_, k) =>
      checkIndices(lowering, { indices: 1, table: 0, size: data.shape[k]! }),
    );
    const places = lowering.scratch('places', 'uint32', [product(outer)]);
    const tuple = coordinates(outer.length);
    lowering.emit(
      indexedStep({
        name: 'ScatterPlaces',
        variant: `depth${depth}`,
        reads: { ids: indices },
        writes: { places },
        space: outer,
        integers: { row_runs: checks[0]?.rowRuns ?? 1 },
        lists: { codes: checks.map((c) => c.code), sizes: data.shape },
        helpers: INDEX_HELPERS,
        reportsErrors: true,
        body: ({ at, item }) => `
    var target_place = 0u;
    var within = true;
${Array.from(
  { length: depth },
  (_, k) => `
    let raw${k} = ${wordsOf(indices)}(${at('ids', [...tuple, `${k}u`])});
    let index${k} = place(raw${k}, ${item('sizes', k)});
    target_place = target_place * ${item('sizes', k)} + index${k};
    if (index${k} == OUTSIDE) {
      within = false;
      let position = i * ${depth}u + ${k}u;
      report(position / p.row_runs, ${item('codes', k)}, position % p.row_runs, raw${k});
    }`,
).join('')}
    ${at('places', ['i'])} = select(OUTSIDE, target_place, within);`,
      }),
    );
    const own = coordinates(data.shape.length);
    const inSlice = own.slice(depth);
    // The updates as rows, a row a tuple.
    const rows = lowering.dense(updates);
    const flat: View = {
      ...rows,
      shape: [product(outer), ...slice],
      strides: [product(slice), ...slice.map((_, d) => product(slice.slice(d + 1)))],
    };
    lowering.emit(
      indexedStep({
        name: 'ScatterND',
        variant: `${reduction.name}_depth${depth}${data.dtype === 'uint64' ? '_u64' : ''}`,
        reads: { data, places, updates: flat },
        writes: { out: lowering.output(0) },
        integers: { tuples: product(outer) },
        lists: { sizes: data.shape },
        helpers: helpersFor(data),
        operations: product(outer),
        detail: reduction.name,
        body: ({ at, item }) => `
    var value = ${at('data', own)};
    var mine = 0u;
${own
  .slice(0, depth)
  .map((c, d) => `    mine = mine * ${item('sizes', d)} + ${c};`)
  .join('\n')}
    for (var t = 0u; t < p.tuples; t++) {
      if (${at('places', ['t'])} == mine) {
        let update = ${at('updates', ['t', ...inSlice])};
        value = ${apply(reduction, data)};
      }
    }
    ${at('out', own)} = value;`,
      }),
    );
  },
};

export const SCATTER_OPERATORS: readonly Operator[] = [
  scatterElements('Scatter', [9, 10]),
  scatterElements('ScatterElements', [11, 27]),
  SCATTER_ND,
];
