import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, type Tensor } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  graphProblems,
  ints,
  known,
  Random,
  rowsOf,
  SEED,
  symbolic,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { testLiteral } from '../../support/literal.js';

/** 0, 1, 2, .. in a shape. */
const count = (...dims: number[]): Tensor =>
  floats(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => i),
  );
const x23 = count(2, 3);
const LARGE = Number.MAX_SAFE_INTEGER;

const reshape = (title: string, x: Tensor, shape: number[], to: number[], attributes = {}): Case => ({
  title,
  op: 'Reshape',
  inputs: [data(x), ints(...shape)],
  attributes,
  expected: [count(...to)],
});

const slice = (title: string, x: Tensor, lists: number[][], expected: Tensor): Case => ({
  title,
  op: 'Slice',
  inputs: [data(x), ...lists.map((l) => ints(...l))],
  expected: [expected],
});

const LITERAL: Case[] = [
  reshape('with a free size', count(2, 3, 4), [2, -1, 2], [2, 6, 2]),
  reshape('with copied sizes', count(2, 3, 4), [0, 0, 2, 2], [2, 3, 2, 2]),
  reshape('of zero elements', count(0, 3, 4), [3, 4, 0], [3, 4, 0], { allowzero: 1 }),
  reshape('to a scalar', count(1, 1), [], []),
  { title: 'at axis 1', op: 'Flatten', inputs: [data(count(2, 3, 4))], expected: [count(2, 12)] },
  {
    title: 'at axis 0',
    op: 'Flatten',
    inputs: [data(count(2, 3, 4))],
    attributes: { axis: 0 },
    expected: [count(1, 24)],
  },
  {
    title: 'at axis -1',
    op: 'Flatten',
    inputs: [data(count(2, 3, 4))],
    attributes: { axis: -1 },
    expected: [count(6, 4)],
  },
  { title: 'past the last axis', op: 'Flatten', inputs: [data(x23)], attributes: { axis: 2 }, expected: [count(6, 1)] },
  { title: 'all', op: 'Squeeze', inputs: [data(count(1, 3, 1))], expected: [count(3)] },
  { title: 'by an input', op: 'Squeeze', inputs: [data(count(1, 3, 1)), ints(-1)], expected: [count(1, 3)] },
  {
    title: 'by an attribute',
    op: 'Squeeze',
    opset: 11,
    inputs: [data(count(1, 3, 1))],
    attributes: { axes: [0] },
    expected: [count(3, 1)],
  },
  { title: 'by an input', op: 'Unsqueeze', inputs: [data(x23), ints(0, -1)], expected: [count(1, 2, 3, 1)] },
  {
    title: 'by an attribute',
    op: 'Unsqueeze',
    opset: 11,
    inputs: [data(x23)],
    attributes: { axes: [1] },
    expected: [count(2, 1, 3)],
  },
  { title: 'of a scalar', op: 'Unsqueeze', inputs: [data(count()), ints(0)], expected: [count(1)] },
  { title: 'as it is', op: 'Identity', inputs: [data(x23)], expected: [x23] },
  {
    title: 'of bools',
    op: 'Identity',
    inputs: [data(tensorOf('bool', [2], [1, 0]))],
    expected: [tensorOf('bool', [2], [1, 0])],
  },
  {
    title: 'of float16',
    op: 'Identity',
    inputs: [data(tensorOf('float16', [2], [0.5, 3]))],
    expected: [tensorOf('float16', [2], [0.5, 3])],
  },
  { title: 'at inference', op: 'Dropout', inputs: [data(x23)], expected: [x23] },
  { title: 'reversed', op: 'Transpose', inputs: [data(x23)], expected: [floats([3, 2], [0, 3, 1, 4, 2, 5])] },
  {
    title: 'by perm',
    op: 'Transpose',
    inputs: [data(count(1, 2, 3))],
    attributes: { perm: [1, 2, 0] },
    expected: [floats([2, 3, 1], [0, 1, 2, 3, 4, 5])],
  },
  {
    title: 'of int64',
    op: 'Transpose',
    inputs: [data(tensorOf('int64', [1, 2], [5, -6]))],
    expected: [tensorOf('int64', [2, 1], [5, -6])],
  },
  {
    title: 'to more',
    op: 'Expand',
    inputs: [data(floats([3, 1], [1, 2, 3])), ints(2, 1, 2)],
    expected: [floats([2, 3, 2], [1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3])],
  },
  {
    title: 'to less than it has',
    op: 'Expand',
    inputs: [data(floats([3, 1], [1, 2, 3])), ints(1)],
    expected: [floats([3, 1], [1, 2, 3])],
  },
  slice(
    'a window',
    count(3, 4),
    [
      [1, 0],
      [3, 3],
      [0, 1],
      [1, 2],
    ],
    floats([2, 2], [4, 6, 8, 10]),
  ),
  slice('without axes', count(3, 4), [[1], [3]], floats([2, 4], [4, 5, 6, 7, 8, 9, 10, 11])),
  slice('from the end', count(3, 4), [[-1], [LARGE], [1]], floats([3, 1], [3, 7, 11])),
  slice('nothing', count(3, 4), [[2], [1], [0]], floats([0, 4], [])),
  slice('past the end', count(2, 3), [[1], [1000], [1]], floats([2, 2], [1, 2, 4, 5])),
  slice('backwards', count(5), [[-1], [-LARGE], [0], [-2]], floats([3], [4, 2, 0])),
  slice('backwards from past the end', count(5), [[20], [1], [0], [-1]], floats([3], [4, 3, 2])),
  {
    title: 'by attributes',
    op: 'Slice',
    opset: 9,
    inputs: [data(count(2, 3))],
    attributes: { starts: [0, 1], ends: [-1, 3], axes: [0, 1] },
    expected: [floats([1, 2], [1, 2])],
  },
  {
    title: 'in equal parts',
    op: 'Split',
    inputs: [data(count(4))],
    outputs: 2,
    expected: [floats([2], [0, 1]), floats([2], [2, 3])],
  },
  {
    title: 'by an input',
    op: 'Split',
    inputs: [data(x23), ints(1, 2)],
    outputs: 2,
    attributes: { axis: 1 },
    expected: [floats([2, 1], [0, 3]), floats([2, 2], [1, 2, 4, 5])],
  },
  {
    title: 'by an attribute',
    op: 'Split',
    opset: 11,
    inputs: [data(count(3))],
    outputs: 2,
    attributes: { axis: -1, split: [2, 1] },
    expected: [floats([2], [0, 1]), floats([1], [2])],
  },
  {
    title: 'unevenly',
    op: 'Split',
    opset: 18,
    inputs: [data(count(7))],
    outputs: 3,
    attributes: { num_outputs: 3 },
    expected: [floats([3], [0, 1, 2]), floats([3], [3, 4, 5]), floats([1], [6])],
  },
  {
    title: 'along 0',
    op: 'Concat',
    inputs: [data(count(1, 2)), data(count(2, 2))],
    attributes: { axis: 0 },
    expected: [floats([3, 2], [0, 1, 0, 1, 2, 3])],
  },
  {
    title: 'along -1',
    op: 'Concat',
    inputs: [data(count(2, 1)), data(count(2, 2))],
    attributes: { axis: -1 },
    expected: [floats([2, 3], [0, 0, 1, 1, 2, 3])],
  },
  {
    title: 'of an empty part',
    op: 'Concat',
    inputs: [data(count(2, 0)), data(count(2, 1))],
    attributes: { axis: 1 },
    expected: [floats([2, 1], [0, 1])],
  },
  { title: 'of one', op: 'Concat', inputs: [data(count(2))], attributes: { axis: 0 }, expected: [count(2)] },
  {
    title: 'of int64',
    op: 'Concat',
    inputs: [data(tensorOf('int64', [1], [-1])), known(tensorOf('int64', [1], [2 ** 40]))],
    attributes: { axis: 0 },
    expected: [tensorOf('int64', [2], [-1, 2 ** 40])],
  },
];

function randomCases(random: Random): Case[] {
  return Array.from({ length: 60 }, (_, i): Case => {
    const dims = random.dims(random.int(1, 5), 4);
    const x = random.floats(dims);
    const operand = random.pick([data, rowsOf])(x);
    const axis = random.int(0, dims.length - 1);
    const title = `random ${i} [${dims.join()}] axis ${axis}`;
    switch (i % 5) {
      case 0:
        return {
          title,
          op: 'Transpose',
          inputs: [symbolic(x)],
          attributes: { perm: random.shuffled(dims.map((_, d) => d)) },
        };
      case 1: {
        // Any bounds at all: they are limited to what there is.
        const step = random.pick([1, 2, 3, -1, -2]);
        const bound = () => random.int(-6, 6);
        return { title, op: 'Slice', inputs: [data(x), ints(bound()), ints(bound()), ints(axis), ints(step)] };
      }
      case 2: {
        const parts = Array.from({ length: random.int(1, 4) }, () => {
          const other = dims.map((d, j) => (j === axis ? random.int(1, 3) : d));
          return data(random.floats(other));
        });
        return { title, op: 'Concat', inputs: parts, attributes: { axis: axis - (i % 2) * dims.length } };
      }
      case 3:
        return { title, op: 'Flatten', inputs: [operand], attributes: { axis } };
      default:
        return { title, op: 'Expand', inputs: [data(random.floats(random.broadcastable(dims))), ints(...dims)] };
    }
  });
}

describe('layout operators', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('layout', LITERAL, () => engine);

  it(`agree with the reference on random shapes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it('slice symbolic dimensions where the bounds hold for every size', async () => {
    const b = new GraphBuilder('symbolic slices');
    const x = b.input('x', 'float32', ['n', 'length']);
    const slices: [name: string, start: number, end: number, step: number][] = [
      ['all but the first', 1, LARGE, 1],
      ['all but the last', 0, -1, 1],
      ['the last', -1, LARGE, 1],
      ['the first', 0, 1, 1],
      ['backwards', -1, -LARGE, -1],
      ['every other', 0, LARGE, 2],
    ];
    for (const [name, ...bounds] of slices) {
      const constants = [bounds[0], bounds[1], 1, bounds[2]].map((v, i) =>
        b.constant(`${name}.${i}`, tensorOf('int64', [1], [v])),
      );
      b.output(b.op('Slice', [x, ...constants], {}, { outputs: [name] }), 'float32');
    }
    const graph = b.build();
    const model = await engine.load(graph);
    for (const dims of [
      [2, 1],
      [3, 2],
      [2, 7],
    ])
      expect(await graphProblems(model, graph, { x: count(...dims) })).toEqual([]);
    await model.dispose();
  });

  it(`compose: chains of views feed a kernel (seed ${SEED})`, async () => {
    // Single nodes read dense inputs; only chains bring strides, offsets and repeats to the next view.
    const random = new Random();
    for (let round = 0; round < 12; round++) {
      const dims = random.dims(random.int(2, 4), 4);
      const b = new GraphBuilder(`chain ${round}`);
      let value = b.input('x', 'float32', ['n', ...dims.slice(1)]);
      let shape = [...dims];
      const history: string[] = [];
      for (let step = 0; step < 5; step++) {
        const axis = random.int(1, shape.length - 1);
        const kind = random.pick(['transpose', 'slice', 'flatten', 'unsqueeze', 'expand', 'concat'] as const);
        history.push(`${kind} ${axis} of [${shape.join()}]`);
        const constant = (...values: number[]) =>
          b.constant(`k${round}.${step}.${values.join()}`, tensorOf('int64', [values.length], values));
        if (kind === 'transpose') {
          const perm = [0, ...random.shuffled(shape.slice(1).map((_, d) => d + 1))];
          value = b.op('Transpose', [value], { perm });
          shape = perm.map((p) => shape[p]!);
        } else if (kind === 'slice' && shape[axis]! > 1) {
          value = b.op('Slice', [
            value,
            constant(-1),
            constant(0),
            constant(axis),
            b.constant(`s${step}`, tensorOf('int64', [1], [-1])),
          ]);
          shape = shape.map((d, i) => (i === axis ? d - 1 : d));
        } else if (kind === 'flatten') {
          value = b.op('Reshape', [value, constant(0, -1)]);
          shape = [shape[0]!, shape.slice(1).reduce((p, d) => p * d, 1)];
        } else if (kind === 'unsqueeze' && shape.length < 5) {
          value = b.op('Unsqueeze', [value, constant(axis)]);
          shape = [...shape.slice(0, axis), 1, ...shape.slice(axis)];
        } else if (kind === 'expand' && shape[axis] === 1) {
          const target = [1, ...shape.slice(1).map((d, i) => (i + 1 === axis ? 3 : d))];
          value = b.op('Expand', [value, constant(...target)]);
          shape[axis] = 3;
        } else if (kind === 'concat') {
          value = b.op('Concat', [value, value], { axis });
          shape[axis]! *= 2;
        }
      }
      b.output(b.op('Relu', [value], {}, { outputs: ['kernel'] }), 'float32');
      b.output(value, 'float32');
      const graph = b.build();
      const model = await engine.load(graph);
      const problems = await graphProblems(model, graph, { x: random.floats(dims) });
      expect([history, problems]).toEqual([history, []]);
      await model.dispose();
    }
  });
});
