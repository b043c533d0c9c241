import { coordinates } from '../../../shaders/indexed.js';
import { add, type Dim } from '../../graph/dim.js';
import { sizeOf, tensorOf } from '../../graph/tensor.js';
import { offsetOf, stridesOf, walk } from '../indexing/gather.js';
import { indexedStep } from '../indexing/step.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';

/** Where the elements outside come from: for `x` on an axis of `n`, WGSL over i32, and the reference. */
const MODES: Readonly<Record<string, { readonly wgsl: string; readonly place: (x: number, n: number) => number }>> = {
  constant: { wgsl: 'x', place: (x) => x },
  edge: { wgsl: 'clamp(x, 0, n - 1)', place: (x, n) => Math.min(n - 1, Math.max(0, x)) },
  reflect: {
    wgsl: 'mirrored(x, n)',
    place(x, n) {
      const period = Math.max(1, 2 * (n - 1));
      const m = ((x % period) + period) % period;
      return Math.min(m, period - m);
    },
  },
  wrap: { wgsl: '((x % n) + n) % n', place: (x, n) => ((x % n) + n) % n },
};

const MIRRORED = `
fn mirrored(x: i32, n: i32) -> i32 {
  let period = max(1, 2 * (n - 1));
  let m = ((x % period) + period) % period;
  return min(m, period - m);
}`;

interface Padding {
  readonly mode: string;
  readonly before: readonly Dim[];
  readonly after: readonly Dim[];
}

/** Pads and mode; the pads are an attribute before opset 11. */
function paddingOf(context: NodeContext): Padding {
  const rank = context.input(0).shape.length;
  const mode = context.attributes.string('mode', 'constant');
  if (!MODES[mode]) throw context.unsupported(`mode '${mode}'`);
  const pads: readonly Dim[] =
    context.node.opset < 11 ? (context.attributes.numbers('pads') ?? []) : context.requiredElements(1, 'the pads');
  const axes = context.optional(3)
    ? context.requiredInts(3, 'the axes').map((a) => context.axis(a, rank))
    : Array.from({ length: rank }, (_, i) => i);
  if (pads.length !== 2 * axes.length) throw context.invalid(`${pads.length} pads for ${axes.length} axes`);
  const side = (first: number): Dim[] =>
    Array.from({ length: rank }, (_, d) => {
      const at = axes.indexOf(d);
      return at < 0 ? 0 : pads[first + at]!;
    });
  return { mode, before: side(0), after: side(axes.length) };
}

/** Pad(data, pads, constant_value, axes): negative pads cut. */
export const PAD: Operator = {
  type: 'Pad',
  note: 'pads known at load',
  opsets: [7, 27],
  infer(context) {
    const { dtype, shape } = context.input(0);
    const { before, after } = paddingOf(context);
    return [{ dtype, shape: shape.map((d, i) => add(add(d, before[i]!), after[i]!)) }];
  },
  reference(context) {
    const x = context.input(0);
    const { mode, before, after } = paddingOf(context.shapes) as {
      mode: string;
      before: readonly number[];
      after: readonly number[];
    };
    const fill = context.inputs[2]?.data[0] ?? context.attributes.number('value', 0);
    const dims = x.dims.map((d, i) => d + before[i]! + after[i]!);
    const strides = stridesOf(x.dims);
    const data = new Float64Array(sizeOf(dims));
    walk(dims, (at, i) => {
      const from = at.map((c, d) => MODES[mode]!.place(c - before[d]!, x.dims[d]!));
      const inside = from.every((c, d) => c >= 0 && c < x.dims[d]!);
      data[i] = inside ? x.data[offsetOf(from, strides)]! : fill;
    });
    return [{ dtype: x.dtype, dims, data }];
  },
  rows(row) {
    const { before, after } = paddingOf(row.context);
    return before[0] === 0 && after[0] === 0 ? 'parallel' : mixesAlong(row, 0, 0);
  },
  lower(lowering) {
    const { context, outputs } = lowering;
    const { mode, before, after } = paddingOf(context);
    const data = lowering.view(0);
    const padded = data.shape.map((_, d) => before[d] !== 0 || after[d] !== 0);
    const constant = mode === 'constant';
    const { dtype } = outputs[0]!;
    const fill = constant
      ? (lowering.optional(2) ??
        lowering.constant('value', tensorOf(dtype, [], [context.attributes.number('value', 0)])))
      : undefined;
    const own = coordinates(data.shape.length);
    const from = own.map((c, d) => (padded[d] ? `u32(from${d})` : c));
    lowering.emit(
      indexedStep({
        name: 'Pad',
        variant: `${mode}_${padded.map(Number).join('')}`,
        reads: { data, ...(fill ? { fill } : {}) },
        writes: { out: lowering.output(0) },
        lists: { before, sizes: data.shape },
        helpers: mode === 'reflect' ? MIRRORED : '',
        detail: mode,
        body({ at, item }) {
          const places = own.map((c, d) => {
            if (!padded[d]) return '';
            const x = `(i32(${c}) - bitcast<i32>(${item('before', d)}))`;
            const n = `i32(${item('sizes', d)})`;
            return `    let from${d} = ${MODES[mode]!.wgsl.replaceAll(/\bx\b/g, x).replaceAll(/\bn\b/g, n)};\n`;
          });
          const inside = own.flatMap((_, d) =>
            padded[d] ? [`from${d} >= 0 && from${d} < i32(${item('sizes', d)})`] : [],
          );
          if (!constant || inside.length === 0) return `${places.join('')}    ${at('out', own)} = ${at('data', from)};`;
          const scalar = fill!.shape.map(() => '0u');
          return `${places.join('')}    if (${inside.join(' && ')}) {
      ${at('out', own)} = ${at('data', from)};
    } else {
      ${at('out', own)} = ${at('fill', scalar)};
    }`;
        },
      }),
    );
  },
};
