import { coordinates, WORDS_LESS } from '../../../shaders/indexed.js';
import { INT64 } from '../../../shaders/int64.js';
import { deviceType, type DeviceType } from '../../compile/view.js';
import { compare, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { indexedStep } from '../indexing/step.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';

function axisOf(context: NodeContext): number {
  return context.axis(context.attributes.number('axis', -1), context.input(0).shape.length);
}

/** k: an attribute before opset 10, an input from there on. */
function countOf(context: NodeContext): Dim {
  const size = context.input(0).shape[axisOf(context)]!;
  const [k] = context.attributes.has('k') ? [context.attributes.requiredNumber('k')] : context.requiredElements(1, 'k');
  if (k === undefined || (typeof k === 'number' && k < 0)) throw context.invalid(`k = ${String(k)}`);
  if (compare(k, size) === 1) throw context.invalid(`k = ${k} of dimension ${size}`);
  return k;
}

/** `b` comes before `a`, by type; ties go to the lower index, which the kernel adds. */
const BEFORE: Readonly<Record<DeviceType, readonly [largest: string, smallest: string]>> = {
  f32: ['b > a', 'b < a'],
  i32: ['b > a', 'b < a'],
  u32: ['b > a', 'b < a'],
  i64: ['i64_less(a, b)', 'i64_less(b, a)'],
};

/**
 * TopK(X, k): the largest or smallest k along an axis and where they were. An invocation counts what comes before its
 * element, which is the element's place in the result: no sorting, no shared memory, always in order. It reads a line
 * as often as the line is long, which suits the lines of ranking models.
 */
export const TOP_K: Operator = {
  type: 'TopK',
  note: 'k known at load',
  opsets: [7, 27],
  infer(context) {
    const { dtype, shape } = context.input(0);
    const axis = axisOf(context);
    const k = countOf(context);
    const result = shape.map((d, i) => (i === axis ? k : d));
    return [
      { dtype, shape: result },
      { dtype: 'int64', shape: result },
    ];
  },
  reference(context) {
    const x = context.input(0);
    const axis = axisOf(context.shapes);
    const k = countOf(context.shapes) as number;
    const largest = context.attributes.number('largest', 1) !== 0;
    const dims = x.dims.map((d, i) => (i === axis ? k : d));
    const [values, indices] = [new Float64Array(sizeOf(dims)), new Float64Array(sizeOf(dims))];
    const inner = sizeOf(x.dims.slice(axis + 1));
    const length = x.dims[axis]!;
    for (let o = 0; o < sizeOf(x.dims.slice(0, axis)); o++) {
      for (let i = 0; i < inner; i++) {
        const at = (j: number): number => x.data[(o * length + j) * inner + i]!;
        const order = Array.from({ length }, (_, j) => j).sort(
          (a, b) => (largest ? at(b) - at(a) : at(a) - at(b)) || a - b,
        );
        for (let r = 0; r < k; r++) {
          values[(o * k + r) * inner + i] = at(order[r]!);
          indices[(o * k + r) * inner + i] = order[r]!;
        }
      }
    }
    return [
      { dtype: x.dtype, dims, data: values },
      { dtype: 'int64', dims, data: indices },
    ];
  },
  rows: (row) => mixesAlong(row, 0, axisOf(row.context)),
  lower(lowering) {
    const { context, outputs } = lowering;
    const axis = axisOf(context);
    const data = lowering.view(0);
    const largest = context.attributes.number('largest', 1) !== 0;
    const target = (index: number, name: string) =>
      context.node.outputs[index]
        ? lowering.output(index)
        : lowering.scratch(name, outputs[index]!.dtype, outputs[index]!.shape);
    const own = coordinates(data.shape.length);
    const type = deviceType(data.dtype);
    const unsigned = data.dtype === 'uint64';
    const before = BEFORE[type][largest ? 0 : 1].replace('i64_less', unsigned ? 'words_less' : 'i64_less');
    const to = own.map((c, d) => (d === axis ? 'rank' : c));
    lowering.emit(
      indexedStep({
        name: 'TopK',
        variant: `${largest ? 'largest' : 'smallest'}_axis${axis}${unsigned ? '_u64' : ''}`,
        reads: { data },
        writes: { values: target(0, 'values'), indices: target(1, 'indices') },
        space: data.shape,
        integers: { length: data.shape[axis]!, k: countOf(context) },
        helpers: unsigned ? WORDS_LESS : type === 'i64' ? INT64 : '',
        operations: data.shape[axis]!,
        detail: `k=${countOf(context)} axis=${axis}`,
        body: ({ at }) => `
    let a = ${at('data', own)};
    var rank = 0u;
    for (var j = 0u; j < p.length; j++) {
      let b = ${at(
        'data',
        own.map((c, d) => (d === axis ? 'j' : c)),
      )};
      let ties = ${type === 'i64' ? 'all(a == b)' : 'a == b'} && j < c${axis};
      rank += select(0u, 1u, ${before} || ties);
    }
    if (rank < p.k) {
      ${at('values', to)} = a;
      ${at('indices', to)} = vec2<u32>(c${axis}, 0u);
    }`,
      }),
    );
  },
};
