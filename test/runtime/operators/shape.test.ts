import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  graphProblems,
  ints,
  known,
  Random,
  referenceProblems,
  symbolic,
  uncovered,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { FAMILIES } from '../../../runtime/operators/registry.js';

const x = floats(
  [2, 3, 4],
  Array.from({ length: 24 }, (_, i) => i),
);
const int64 = (...values: number[]) => tensorOf('int64', [values.length], values);
const matrix = (rows: number, values: number[]) => tensorOf('int64', [rows, values.length / rows], values);
const scalar = (value: number) => known(tensorOf('int64', [], [value]));
const range = (start: number, limit: number, delta: number, expected: number[]): Case => ({
  title: `from ${start} to ${limit} by ${delta}`,
  op: 'Range',
  inputs: [scalar(start), scalar(limit), scalar(delta)],
  expected: [int64(...expected)],
});

const LITERAL: Case[] = [
  { title: 'of fixed sizes', op: 'Shape', inputs: [data(x)], expected: [int64(2, 3, 4)] },
  { title: 'of symbols', op: 'Shape', inputs: [symbolic(x)], expected: [int64(2, 3, 4)] },
  { title: 'from 1', op: 'Shape', inputs: [symbolic(x)], attributes: { start: 1 }, expected: [int64(3, 4)] },
  { title: 'to -1', op: 'Shape', inputs: [symbolic(x)], attributes: { end: -1 }, expected: [int64(2, 3)] },
  { title: 'of nothing', op: 'Shape', inputs: [symbolic(x)], attributes: { start: 2, end: 1 }, expected: [int64()] },
  { title: 'of a scalar', op: 'Shape', inputs: [data(floats([], [7]))], expected: [int64()] },
  { title: 'of fixed sizes', op: 'Size', inputs: [data(x)], expected: [tensorOf('int64', [], [24])] },
  { title: 'of symbols', op: 'Size', inputs: [symbolic(x)], expected: [tensorOf('int64', [], [24])] },
  { title: 'by default', op: 'ConstantOfShape', inputs: [ints(2, 2)], expected: [floats([2, 2], [0, 0, 0, 0])] },
  {
    title: 'of int64',
    op: 'ConstantOfShape',
    inputs: [ints(3)],
    attributes: { value: int64(-7) },
    expected: [int64(-7, -7, -7)],
  },
  {
    title: 'to a scalar',
    op: 'ConstantOfShape',
    inputs: [ints()],
    attributes: { value: floats([1], [2]) },
    expected: [floats([], [2])],
  },
  range(3, 9, 3, [3, 6]),
  range(3, 8, 2, [3, 5, 7]),
  range(10, 4, -2, [10, 8, 6]),
  range(4, 4, 1, []),
  {
    title: 'of floats',
    op: 'Range',
    inputs: [0.5, 2, 0.5].map((v) => known(floats([], [v]))),
    expected: [floats([3], [0.5, 1, 1.5])],
  },
  {
    title: 'of a matrix',
    op: 'NonZero',
    inputs: [known(floats([2, 2], [1, 0, 3, 4]))],
    expected: [matrix(2, [0, 1, 1, 0, 0, 1])],
  },
  { title: 'of zeros', op: 'NonZero', inputs: [known(floats([2], [0, 0]))], expected: [tensorOf('int64', [1, 0], [])] },
  {
    title: 'sorted',
    op: 'Unique',
    inputs: [known(floats([6], [2, 1, 1, 3, 4, 3]))],
    outputs: 4,
    expected: [floats([4], [1, 2, 3, 4]), int64(1, 0, 3, 4), int64(1, 0, 0, 2, 3, 2), int64(2, 1, 2, 1)],
  },
  {
    title: 'as they come',
    op: 'Unique',
    inputs: [ints(5, 2, 5)],
    attributes: { sorted: 0 },
    expected: [int64(5, 2)],
  },
  {
    title: 'rows',
    op: 'Unique',
    inputs: [known(floats([3, 2], [1, 0, 1, 0, 0, 5]))],
    attributes: { axis: 0 },
    outputs: 4,
    expected: [floats([2, 2], [0, 5, 1, 0]), int64(2, 0), int64(1, 1, 0), int64(1, 2)],
  },
];

describe('shape operators', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  it('are all tested', () => {
    expect(uncovered(FAMILIES.shape, LITERAL)).toEqual([]);
  });

  it('have a reference that gives hand-written results', () => {
    expect(referenceProblems(LITERAL)).toEqual([]);
  });

  it('give hand-written results as outputs of a model', async () => {
    expect(await deviceProblems(engine, LITERAL)).toEqual([]);
  });

  it('make constants whose shape follows the query', async () => {
    const b = new GraphBuilder('ones like');
    const x = b.input('x', 'float32', ['n', 'd']);
    for (const [name, value] of [
      ['ones', floats([1], [1])],
      ['flags', tensorOf('bool', [1], [1])],
    ] as const)
      b.output(b.op('ConstantOfShape', [b.op('Shape', [x])], { value }, { outputs: [name] }), 'float32');
    b.output(b.op('Add', [x, 'ones'], {}, { outputs: ['sum'] }), 'float32');
    const graph = b.build();
    const model = await engine.load(graph);
    const random = new Random();
    for (const dims of [
      [1, 1],
      [3, 5],
      [7, 2],
    ])
      expect(await graphProblems(model, graph, { x: random.floats(dims) })).toEqual([]);
    await model.dispose();
  });

  it('use what follows from shapes as data', async () => {
    const b = new GraphBuilder('shapes as data');
    const x = b.input('x', 'float32', ['n', 'd']);
    const shape = b.op('Shape', [x]);
    const one = (value: number, name: string) => b.constant(name, tensorOf('int64', [], [value]));
    const n = b.op('Gather', [shape, one(0, 'first')]);
    // A mean over rows as exporters write it: the sum over the size as a float.
    const size = b.op('Cast', [b.op('Size', [x])], { to: 1 });
    b.output(b.op('Div', [x, size], {}, { outputs: ['scaled'] }), 'float32');
    b.output(b.op('Range', [one(0, 'from'), n, one(1, 'by')], {}, { outputs: ['positions'] }), 'int64');
    b.output(b.op('Cast', ['positions'], { to: 1 }, { outputs: ['as floats'] }), 'float32');
    b.output(b.op('Range', [n, one(-3, 'down to'), one(-2, 'step')], {}, { outputs: ['down'] }), 'int64');
    b.output(b.op('Concat', [shape, shape, 'positions'], { axis: 0 }, { outputs: ['joined'] }), 'int64');
    const long = b.op(
      'Concat',
      Array.from({ length: 20 }, () => shape),
      { axis: 0 },
    );
    b.output(b.op('Cast', [b.op('Neg', [long])], { to: 6 }, { outputs: ['long'] }), 'int32');
    b.output(shape, 'int64');
    const graph = b.build();
    const model = await engine.load(graph);
    const random = new Random();
    for (const dims of [
      [1, 1],
      [5, 3],
      [2, 9],
    ])
      expect(await graphProblems(model, graph, { x: random.floats(dims) })).toEqual([]);
    await model.dispose();
  });
});
