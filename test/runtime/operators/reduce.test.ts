import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, type DataType, type Tensor } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  graphProblems,
  ints,
  Random,
  rowsOf,
  SEED,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { FAMILIES } from '../../../runtime/operators/registry.js';
import { testLiteral } from '../../support/literal.js';

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

/** Over the last axis of integers, dropped; bool has only the extremes. */
const whole = (op: string, dtype: DataType, values: number[][], y: number[]): Case => ({
  title: `of ${dtype} ${JSON.stringify(values)}`,
  op,
  opset: 20,
  inputs: [data(tensorOf(dtype, [values.length, values[0]!.length], values.flat())), ints(1)],
  attributes: { keepdims: 0 },
  expected: [tensorOf(dtype, [y.length], y)],
});

const none = (op: string, dtype: DataType, y: number): Case => ({
  title: `of no ${dtype}`,
  op,
  opset: 20,
  inputs: [data(tensorOf(dtype, [2, 0], [])), ints(1)],
  attributes: { keepdims: 0 },
  expected: [tensorOf(dtype, [2], [y, y])],
});

const WORD = 2 ** 32;
const INTEGERS: Case[] = [
  whole(
    'ReduceSum',
    'int32',
    [
      [1, -5],
      [7, 2],
    ],
    [-4, 9],
  ),
  whole(
    'ReduceSum',
    'int64',
    [
      [WORD - 1, 1, -2 * WORD],
      [3, 2, 1],
    ],
    [-WORD, 6],
  ),
  whole(
    'ReduceSum',
    'uint8',
    [
      [200, 100],
      [1, 2],
    ],
    [44, 3],
  ),
  whole(
    'ReduceMean',
    'int32',
    [
      [1, 6],
      [-7, 0],
    ],
    [3, -3],
  ),
  whole(
    'ReduceMean',
    'int64',
    [
      [WORD, WORD * 2],
      [-7, 0],
    ],
    [WORD * 1.5, -3],
  ),
  whole(
    'ReduceMax',
    'int32',
    [
      [-1, -5],
      [7, 2],
    ],
    [-1, 7],
  ),
  whole(
    'ReduceMax',
    'int64',
    [
      [-WORD, -WORD * 2],
      [7, WORD],
    ],
    [-WORD, WORD],
  ),
  whole(
    'ReduceMax',
    'uint64',
    [
      [1, 2 ** 63],
      [3, 2],
    ],
    [2 ** 63, 3],
  ),
  whole(
    'ReduceMax',
    'int8',
    [
      [-1, -5],
      [7, 2],
    ],
    [-1, 7],
  ),
  whole(
    'ReduceMax',
    'bool',
    [
      [0, 1],
      [0, 0],
    ],
    [1, 0],
  ),
  whole(
    'ReduceMin',
    'bool',
    [
      [0, 1],
      [1, 1],
    ],
    [0, 1],
  ),
  whole(
    'ReduceMin',
    'uint32',
    [
      [WORD - 1, 5],
      [7, 2],
    ],
    [5, 2],
  ),
  whole(
    'ReduceMin',
    'int64',
    [
      [-WORD, -WORD * 2],
      [7, WORD],
    ],
    [-2 * WORD, 7],
  ),
  whole(
    'ReduceProd',
    'int64',
    [
      [WORD, -3],
      [7, 2],
    ],
    [-3 * WORD, 14],
  ),
  whole(
    'ReduceL1',
    'int32',
    [
      [-1, -5],
      [7, 2],
    ],
    [6, 9],
  ),
  whole(
    'ReduceSumSquare',
    'int64',
    [
      [70_000, -70_000],
      [7, 2],
    ],
    [9_800_000_000, 53],
  ),
  whole(
    'ReduceL2',
    'int32',
    [
      [-3, 4],
      [7, 1],
    ],
    [5, 7],
  ),
  whole(
    'ReduceL2',
    'int64',
    [
      [300, -400],
      [7, 0],
    ],
    [500, 7],
  ),
  whole(
    'ReduceL2',
    'uint32',
    [
      [6, 8],
      [1, 1],
    ],
    [10, 1],
  ),
  whole(
    'ReduceL2',
    'uint64',
    [
      [5, 12],
      [0, 0],
    ],
    [13, 0],
  ),
  whole(
    'ReduceLogSum',
    'int64',
    [
      [20, 1],
      [1, 0],
    ],
    [3, 0],
  ),
  whole(
    'ReduceLogSum',
    'uint32',
    [
      [100, 50],
      [1, 2],
    ],
    [5, 1],
  ),
  whole(
    'ReduceLogSumExp',
    'int32',
    [
      [-9, 4],
      [7, 7],
    ],
    [4, 7],
  ),
  whole(
    'ReduceLogSumExp',
    'int64',
    [
      [-9, -4],
      [70, 7],
    ],
    [-3, 70],
  ),
  none('ReduceMax', 'float32', -Infinity),
  none('ReduceMin', 'float32', Infinity),
  none('ReduceMax', 'int32', -(2 ** 31)),
  none('ReduceMin', 'uint32', WORD - 1),
  none('ReduceProd', 'float32', 1),
  none('ReduceLogSumExp', 'float32', -Infinity),
  whole(
    'ReduceMax',
    'float32',
    [
      [1, NaN, 2],
      [-Infinity, -3, -4],
    ],
    [NaN, -3],
  ),
  whole(
    'ReduceMin',
    'float32',
    [
      [1, NaN, 2],
      [Infinity, 3, 4],
    ],
    [NaN, 3],
  ),
];

const position = (op: string, dtype: DataType, attributes: Record<string, number>, y: Tensor): Case => ({
  title: `of ${dtype} ${JSON.stringify(attributes)}`,
  op,
  opset: 13,
  inputs: [data(tensorOf(dtype, [2, 4], [1, 7, 7, 3, 5, 2, 4, 2]))],
  attributes,
  expected: [y],
});
const positions = (dims: number[], ...values: number[]): Tensor => tensorOf('int64', dims, values);
const POSITIONS: Case[] = [
  position('ArgMax', 'float32', {}, positions([1, 4], 1, 0, 0, 0)),
  position('ArgMax', 'float32', { axis: 1 }, positions([2, 1], 1, 0)),
  position('ArgMax', 'float32', { axis: -1, keepdims: 0, select_last_index: 1 }, positions([2], 2, 0)),
  position('ArgMin', 'float32', { axis: -1, keepdims: 0 }, positions([2], 0, 1)),
  position('ArgMin', 'int32', { axis: -1, keepdims: 0, select_last_index: 1 }, positions([2], 0, 3)),
  position('ArgMin', 'int64', { axis: 0, keepdims: 0 }, positions([4], 0, 1, 1, 1)),
  position('ArgMax', 'uint64', { axis: 0, keepdims: 0 }, positions([4], 1, 0, 0, 0)),
];

/** Channels of one and of two dimensions of places. */
const pool = (op: string, dims: number[], y: number[]): Case => ({
  title: `of [${dims.join()}]`,
  op,
  inputs: [rowsOf(floats(dims, [1, 2, 3, 4, 5, 6, 7, 8]))],
  expected: [floats([...dims.slice(0, 2), ...dims.slice(2).map(() => 1)], y)],
});
const POOLS: Case[] = [
  pool('GlobalAveragePool', [2, 2, 2], [1.5, 3.5, 5.5, 7.5]),
  pool('GlobalAveragePool', [2, 1, 2, 2], [2.5, 6.5]),
  pool('GlobalMaxPool', [2, 2, 2], [2, 4, 6, 8]),
];

const LITERAL: Case[] = [
  ...POOLS,
  ...INTEGERS,
  ...POSITIONS,
  last('ReduceLogSumExp', floats([2, 3], [1, 2, 3, -Infinity, 200, 200]), [3.4076059, 200.6931472]),
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
  const operators = FAMILIES.reduce.map((o) => o.type).filter((type) => !type.startsWith('Global'));
  return Array.from({ length: 5 * operators.length }, (_, i): Case => {
    const op = operators[i % operators.length]!;
    const dims = random.dims(random.int(1, 4), 5);
    const value = op === 'ReduceLogSum' ? random.floats(dims, 0.1, 2) : random.floats(dims, -1.5, 1.5);
    const axes = random.shuffled(dims.map((_, d) => d)).slice(0, random.int(1, dims.length));
    const signed = axes.map((a) => (random.next() < 0.5 ? a : a - dims.length));
    const late = i % 2 === 0;
    if (op.startsWith('Arg')) {
      const axis = random.int(-dims.length, dims.length - 1);
      return {
        title: `random [${dims.join()}] axis ${axis}`,
        op,
        inputs: [axis === 0 || axis === -dims.length ? data(value) : rowsOf(value)],
        attributes: { axis, keepdims: random.int(0, 1) },
      };
    }
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

  testLiteral('reduce', LITERAL, () => engine);

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
