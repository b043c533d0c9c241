import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, type Tensor } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  graphProblems,
  ints,
  Random,
  referenceProblems,
  rowsOf,
  SEED,
  uncovered,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { FAMILIES } from '../../support/families.js';

const x = floats([2, 3], [1, 2, 3, 4, 5, 6]);
const signed = floats([2, 3], [1, -2, 2, -4, 0, 3]);

/** Over the last axis of a 2 x 3 matrix, kept. */
const last = (op: string, input: Tensor, y: number[]): Case => ({
  title: 'over the last axis',
  op,
  opset: 11,
  inputs: [data(input)],
  attributes: { axes: [-1] },
  expected: [floats([2, 1], y)],
});

const sum = (title: string, c: Partial<Case>, expected: Tensor): Case => ({
  title,
  op: 'ReduceSum',
  inputs: [data(x)],
  expected: [expected],
  ...c,
});

const LITERAL: Case[] = [
  last('ReduceSum', signed, [1, -1]),
  last('ReduceMean', signed, [1 / 3, -1 / 3]),
  last('ReduceMax', signed, [2, 3]),
  last('ReduceMin', signed, [-2, -4]),
  last('ReduceProd', x, [6, 120]),
  last('ReduceL1', signed, [5, 7]),
  last('ReduceL2', signed, [3, 5]),
  last('ReduceSumSquare', signed, [9, 25]),
  last('ReduceLogSum', x, [1.7917595, 2.7080502]),
  sum('over all', {}, floats([1, 1], [21])),
  sum('over all, dropped', { attributes: { keepdims: 0 } }, floats([], [21])),
  sum('by an input', { inputs: [data(x), ints(0)], attributes: { keepdims: 0 } }, floats([3], [5, 7, 9])),
  sum('by an attribute', { opset: 11, attributes: { axes: [0], keepdims: 0 } }, floats([3], [5, 7, 9])),
  sum('by no axes', { inputs: [data(x), ints()] }, floats([1, 1], [21])),
  sum('by no axes, as a no-op', { inputs: [data(x), ints()], attributes: { noop_with_empty_axes: 1 } }, x),
  sum('of a scalar', { inputs: [data(floats([], [4]))] }, floats([], [4])),
  sum(
    'of no elements',
    { inputs: [data(floats([2, 0], [])), ints(1)], attributes: { keepdims: 0 } },
    floats([2], [0, 0]),
  ),
  // Masks are full of -Infinity, and the largest of nothing is that too.
  last('ReduceMax', floats([2, 3], [-Infinity, -Infinity, -Infinity, 1, -Infinity, 2]), [-Infinity, 2]),
  last('ReduceMin', floats([2, 3], [Infinity, Infinity, Infinity, 1, Infinity, 2]), [Infinity, 1]),
  last('ReduceMax', floats([2, 0], []), [-Infinity, -Infinity]),
  {
    title: 'by no axes, as a no-op',
    op: 'ReduceSumSquare',
    opset: 18,
    inputs: [data(signed), ints()],
    attributes: { noop_with_empty_axes: 1 },
    expected: [floats([2, 3], [1, 4, 4, 16, 0, 9])],
  },
  {
    title: 'by no axes, as a no-op',
    op: 'ReduceL2',
    opset: 18,
    inputs: [data(signed), ints()],
    attributes: { noop_with_empty_axes: 1 },
    expected: [floats([2, 3], [1, 2, 2, 4, 0, 3])],
  },
];

function randomCases(random: Random): Case[] {
  const operators = FAMILIES.reduce.map((o) => o.type);
  return Array.from({ length: 5 * operators.length }, (_, i): Case => {
    const op = operators[i % operators.length]!;
    const dims = random.dims(random.int(1, 4), 5);
    const value = op === 'ReduceLogSum' ? random.floats(dims, 0.1, 2) : random.floats(dims, -1.5, 1.5);
    const axes = random.shuffled(dims.map((_, d) => d)).slice(0, random.int(1, dims.length));
    const signed = axes.map((a) => (random.next() < 0.5 ? a : a - dims.length));
    const late = i % 2 === 0;
    return {
      title: `random [${dims.join()}] axes ${signed.join()}`,
      op,
      opset: late ? 18 : 11,
      inputs: [axes.includes(0) ? data(value) : rowsOf(value), ...(late ? [ints(...signed)] : [])],
      attributes: { ...(late ? {} : { axes: signed }), keepdims: random.int(0, 1) },
    };
  });
}

describe('reductions', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  it('are all tested', () => {
    expect(uncovered(FAMILIES.reduce, LITERAL)).toEqual([]);
  });

  it('have a reference that gives hand-written results', () => {
    expect(referenceProblems(LITERAL)).toEqual([]);
  });

  it('give hand-written results on the device', async () => {
    expect(await deviceProblems(engine, LITERAL)).toEqual([]);
  });

  it(`agree with the reference on random axes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it('reduce what is transposed, and over a symbol', async () => {
    const b = new GraphBuilder('pooling', 11);
    const x = b.input('x', 'float32', ['n', 'length', 4]);
    const turned = b.op('Transpose', [x], { perm: [0, 2, 1] });
    b.output(b.op('ReduceMean', [turned], { axes: [2], keepdims: 0 }, { outputs: ['mean'] }), 'float32');
    b.output(b.op('ReduceMax', [turned], { axes: [1] }, { outputs: ['max'] }), 'float32');
    const graph = b.build();
    const model = await engine.load(graph);
    for (const dims of [
      [1, 1, 4],
      [3, 7, 4],
    ])
      expect(await graphProblems(model, graph, { x: new Random().floats(dims) })).toEqual([]);
    await model.dispose();
  });
});
