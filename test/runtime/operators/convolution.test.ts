import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, toFloat64, type Tensor } from '../../../runtime/index.js';
import { sizeOf } from '../../../runtime/graph/tensor.js';
import type { Attribute, DeclaredDim } from '../../../runtime/graph/graph.js';
import {
  data,
  deviceProblems,
  floats,
  known,
  Random,
  referenceProblems,
  rowsOf,
  SEED,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { testLiteral } from '../../support/literal.js';

const line = floats([1, 1, 5], [1, 2, 3, 4, 5]);
const square = floats([1, 1, 3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
const pool = (op: string, title: string, x: Tensor, attributes: Case['attributes'], expected: Tensor): Case => ({
  title,
  op,
  inputs: [rowsOf(x)],
  attributes: attributes!,
  expected: [expected],
});

const LITERAL: Case[] = [
  {
    title: 'two windows of three, two apart',
    op: 'Unfold',
    domain: 'braid',
    inputs: [rowsOf(line)],
    attributes: { axes: [2], sizes: [3], strides: [2], dilations: [1] },
    expected: [floats([1, 1, 2, 3], [1, 2, 3, 3, 4, 5])],
  },
  {
    title: 'a difference',
    op: 'Conv',
    inputs: [rowsOf(line), known(floats([1, 1, 2], [-1, 1])), known(floats([1], [10]))],
    expected: [floats([1, 1, 4], [11, 11, 11, 11])],
  },
  {
    title: 'padded, two apart',
    op: 'Conv',
    inputs: [rowsOf(square), known(floats([1, 1, 2, 2], [1, 1, 1, 1]))],
    attributes: { pads: [1, 1, 0, 0], strides: [2, 2], kernel_shape: [2, 2] },
    expected: [floats([1, 1, 2, 2], [1, 5, 11, 28])],
  },
  {
    title: 'with as much around as the places need',
    op: 'Conv',
    inputs: [data(line), known(floats([1, 1, 2], [1, 10]))],
    attributes: { auto_pad: 'SAME_UPPER' },
    expected: [floats([1, 1, 5], [21, 32, 43, 54, 5])],
  },
  {
    title: 'with as much in front as the places need',
    op: 'Conv',
    inputs: [data(line), known(floats([1, 1, 2], [1, 10]))],
    attributes: { auto_pad: 'SAME_LOWER' },
    expected: [floats([1, 1, 5], [10, 21, 32, 43, 54])],
  },
  pool('MaxPool', 'pairs', line, { kernel_shape: [2], strides: [2] }, floats([1, 1, 2], [2, 4])),
  pool(
    'MaxPool',
    'pairs, rounded up',
    line,
    { kernel_shape: [2], strides: [2], ceil_mode: 1 },
    floats([1, 1, 3], [2, 4, 5]),
  ),
  pool(
    'MaxPool',
    'of negative numbers with nothing around',
    floats([1, 1, 2], [-3, -1]),
    { kernel_shape: [2], pads: [1, 1] },
    floats([1, 1, 3], [-3, -1, -1]),
  ),
  pool('MaxPool', 'dilated', line, { kernel_shape: [2], dilations: [3] }, floats([1, 1, 2], [4, 5])),
  pool(
    'AveragePool',
    'without the pads',
    square,
    { kernel_shape: [2, 2], pads: [1, 1, 0, 0], strides: [2, 2] },
    floats([1, 1, 2, 2], [1, 2.5, 5.5, 7]),
  ),
  pool(
    'AveragePool',
    'with the pads',
    square,
    { kernel_shape: [2, 2], pads: [1, 1, 0, 0], strides: [2, 2], count_include_pad: 1 },
    floats([1, 1, 2, 2], [0.25, 1.25, 2.75, 7]),
  ),
  pool(
    'AveragePool',
    'rounded up, what is beyond the pads not counted',
    line,
    { kernel_shape: [3], strides: [2], pads: [0, 1], ceil_mode: 1, count_include_pad: 1 },
    floats([1, 1, 3], [2, 4, 2.5]),
  ),
  pool('LpPool', 'the length', floats([1, 1, 3], [3, 4, 0]), { kernel_shape: [2] }, floats([1, 1, 2], [5, 4])),
  pool('LpPool', 'the sum', floats([1, 1, 3], [3, -4, 0]), { kernel_shape: [2], p: 1 }, floats([1, 1, 2], [7, 4])),
  pool(
    'GlobalLpPool',
    'the third power',
    floats([1, 1, 2], [3, -4]),
    { p: 3 },
    floats([1, 1, 1], [(27 + 64) ** (1 / 3)]),
  ),
];

/** Calls `visit` with every coordinate of `dims`. */
function each(dims: readonly number[], visit: (at: readonly number[]) => void): void {
  if (dims.length === 0) visit([]);
  else for (let i = 0; i < dims[0]!; i++) each(dims.slice(1), (rest) => visit([i, ...rest]));
}

const offset = (at: readonly number[], dims: readonly number[]): number => at.reduce((o, c, d) => o * dims[d]! + c, 0);

interface Geometry {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly pads: readonly number[];
}

/** The places that a window lands on, by the definition: no view, no matrix. */
function windows(
  x: Tensor,
  g: Geometry,
  visit: (out: readonly number[], seen: (readonly [tap: number, at: number])[]) => void,
): number[] {
  const [n, c, ...size] = x.dims as [number, number, ...number[]];
  const rank = size.length;
  const places = size.map(
    (d, i) =>
      Math.floor((d + g.pads[i]! + g.pads[i + rank]! - g.dilations[i]! * (g.kernel[i]! - 1) - 1) / g.strides[i]!) + 1,
  );
  each([n, c, ...places], (out) => {
    const seen: [number, number][] = [];
    each(g.kernel, (k) => {
      const at = k.map((v, i) => out[i + 2]! * g.strides[i]! + v * g.dilations[i]! - g.pads[i]!);
      if (at.every((v, i) => v >= 0 && v < size[i]!))
        seen.push([offset(k, g.kernel), offset([out[0]!, out[1]!, ...at], x.dims)]);
    });
    visit(out, seen);
  });
  return places;
}

function geometry(random: Random, size: readonly number[]): Geometry {
  const dilations = size.map(() => random.int(1, 2));
  const kernel = size.map((d, i) => random.int(1, Math.max(1, Math.min(3, Math.floor((d - 1) / dilations[i]!) + 1))));
  const pads = [...kernel, ...kernel].map((k) => random.int(0, k - 1));
  return { kernel, dilations, pads, strides: size.map(() => random.int(1, 3)) };
}

const attributesOf = (g: Geometry): Record<string, Attribute> => ({
  kernel_shape: g.kernel,
  strides: g.strides,
  dilations: g.dilations,
  pads: g.pads,
});

function convolution(random: Random, i: number): Case {
  const rank = random.int(1, 3);
  const groups = random.pick([1, 1, 2, 3]);
  const [channels, perGroup] = [random.int(1, 3), random.int(1, 3)];
  const filters = groups * perGroup;
  const size = Array.from({ length: rank }, () => random.int(1, 5));
  const x = random.floats([random.int(1, 3), groups * channels, ...size]);
  const g = geometry(random, size);
  const w = random.floats([filters, channels, ...g.kernel]);
  const bias = random.floats([filters]);
  const [xs, ws] = [toFloat64(x), toFloat64(w)];
  const taps = sizeOf(g.kernel);
  const sums = new Map<string, number>();
  const places = windows(x, g, (out, seen) => {
    const [n, c, ...place] = out as [number, number, ...number[]];
    const group = Math.floor(c / channels);
    for (let f = group * perGroup; f < (group + 1) * perGroup; f++) {
      const key = [n, f, ...place].join();
      const sum = seen.reduce((s, [tap, at]) => s + xs[at]! * ws[(f * channels + (c % channels)) * taps + tap]!, 0);
      sums.set(key, (sums.get(key) ?? toFloat64(bias)[f]!) + sum);
    }
  });
  const values: number[] = [];
  const dims = [x.dims[0]!, filters, ...places];
  each(dims, (at) => values.push(sums.get(at.join())!));
  // The batch, and in one dimension the places too, are known with the query only.
  const shape: DeclaredDim[] = ['n', groups * channels, ...(rank === 1 && i % 2 === 0 ? ['places'] : size)];
  return {
    title: `random ${i}: ${x.dims.join('x')} by ${w.dims.join('x')}, ${JSON.stringify(g)}`,
    op: 'Conv',
    inputs: [data(x, shape), i % 5 === 0 ? data(w) : known(w), known(bias)],
    attributes: { ...attributesOf(g), group: groups },
    expected: [floats(dims, values)],
  };
}

const POOLED: Record<string, (seen: number[], taps: number) => number> = {
  MaxPool: (seen) => Math.max(...seen),
  AveragePool: (seen) => seen.reduce((a, b) => a + b, 0) / seen.length,
  LpPool: (seen) => Math.sqrt(seen.reduce((a, b) => a + b * b, 0)),
};

function pooling(random: Random, i: number): Case {
  const op = Object.keys(POOLED)[i % 3]!;
  const size = Array.from({ length: random.int(1, 3) }, () => random.int(2, 5));
  const x = random.floats([random.int(1, 3), random.int(1, 3), ...size]);
  const g = geometry(random, size);
  const plain = op === 'AveragePool' ? { ...g, dilations: g.dilations.map(() => 1) } : g;
  const values: number[] = [];
  const xs = toFloat64(x);
  const places = windows(x, plain, (_, seen) => {
    const own = seen.map(([, at]) => xs[at]!);
    // A window between dilated pads may see nothing.
    values.push(own.length === 0 ? (op === 'MaxPool' ? -Infinity : 0) : POOLED[op]!(own, sizeOf(g.kernel)));
  });
  return {
    title: `random ${i}: ${x.dims.join('x')}, ${JSON.stringify(plain)}`,
    op,
    inputs: [rowsOf(x)],
    attributes: attributesOf(plain),
    expected: [floats([x.dims[0]!, x.dims[1]!, ...places], values)],
  };
}

describe('convolutions and pools', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('convolution', LITERAL, () => engine);

  it(`agrees with the definition on random kernels (seed ${SEED})`, async () => {
    const random = new Random();
    const cases = [
      ...Array.from({ length: 16 }, (_, i) => convolution(random, i)),
      ...Array.from({ length: 15 }, (_, i) => pooling(random, i)),
    ];
    expect(referenceProblems(cases)).toEqual([]);
    expect(await deviceProblems(engine, cases)).toEqual([]);
  });

  it('makes one product of a convolution, its bias and no copy, where channels come last', async () => {
    const random = new Random();
    const b = new GraphBuilder('text');
    const words = b.input('words', 'float32', ['n', 9, 4]);
    const first = b.op('Transpose', [words], { perm: [0, 2, 1] });
    const weights = b.constant('w', random.floats([5, 4, 3]));
    b.output(b.op('Conv', [first, weights, b.constant('b', random.floats([5]))]), 'float32');
    const model = await engine.load(b.build());
    const { plan, rowsMixedBy } = await model.summary();
    expect(plan.map((step) => step.split('(')[0])).toEqual(['MatMul', 'Copy']);
    expect(rowsMixedBy).toBeUndefined();
    await model.dispose();
  });

  const refusal = (op: string, inputs: [Tensor, Tensor?], attributes: Record<string, Attribute>): Promise<unknown> => {
    const b = new GraphBuilder('refused');
    const names = inputs.flatMap((t, i) => (t ? [i === 0 ? b.input('x', t.dtype, t.dims) : b.constant('w', t)] : []));
    b.output(
      b.op(op, names, attributes, { name: 'it', outputs: ['y', ...(attributes['both'] ? ['at'] : [])] }),
      'float32',
    );
    return engine.load(b.build());
  };

  it.each<[string, RegExp, string, [Tensor, Tensor?], Record<string, Attribute>]>([
    [
      'channels',
      /Conv 'it': 1 channels for 2 groups .* expected 2/,
      'Conv',
      [line, floats([2, 1, 1], [1, 1])],
      { group: 2 },
    ],
    ['a kernel of another rank', /Conv 'it': a kernel of 2 dimensions/, 'Conv', [line, floats([1, 1, 1, 1], [1])], {}],
    [
      'a kernel that does not fit',
      /MaxPool 'it': a kernel of 9 does not fit into dimension 5/,
      'MaxPool',
      [line],
      { kernel_shape: [9] },
    ],
    ['a missing size', /AveragePool 'it': attribute 'kernel_shape' is missing/, 'AveragePool', [line], {}],
    ['indices', /MaxPool 'it': the output of indices/, 'MaxPool', [line], { kernel_shape: [2], both: 1 }],
    [
      'too few strides',
      /MaxPool 'it': attribute 'strides' has 2 numbers, expected 1/,
      'MaxPool',
      [line],
      { kernel_shape: [2], strides: [1, 1] },
    ],
  ])('refuses %s', async (_, message, op, inputs, attributes) => {
    await expect(refusal(op, inputs, attributes)).rejects.toThrow(message);
  });
});
