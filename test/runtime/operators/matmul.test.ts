import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  graphProblems,
  known,
  Random,
  rowsOf,
  SEED,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { testLiteral } from '../../support/literal.js';

const a = floats([2, 3], [1, 2, 3, 4, 5, 6]);
const b = floats([3, 2], [1, 0, 0, 1, 2, -1]);
const row = floats([3], [1, 2, 3]);

const LITERAL: Case[] = [
  { title: 'of matrices', op: 'MatMul', inputs: [data(a), data(b)], expected: [floats([2, 2], [7, -1, 16, -1])] },
  { title: 'of vectors', op: 'MatMul', inputs: [data(row), data(row)], expected: [floats([], [14])] },
  { title: 'of a matrix and a vector', op: 'MatMul', inputs: [data(a), data(row)], expected: [floats([2], [14, 32])] },
  { title: 'of a vector and a matrix', op: 'MatMul', inputs: [data(row), data(b)], expected: [floats([2], [7, -1])] },
  {
    title: 'of batches that broadcast',
    op: 'MatMul',
    inputs: [data(floats([2, 1, 1, 2], [1, 2, 3, 4])), data(floats([3, 2, 1], [1, 1, 1, 0, 0, 1]))],
    expected: [floats([2, 3, 1, 1], [3, 1, 2, 7, 3, 4])],
  },
  { title: 'plain', op: 'Gemm', inputs: [data(a), data(b)], expected: [floats([2, 2], [7, -1, 16, -1])] },
  {
    title: 'with everything',
    op: 'Gemm',
    inputs: [
      data(floats([3, 2], [1, 4, 2, 5, 3, 6])),
      data(floats([2, 3], [1, 0, 2, 0, 1, -1])),
      data(floats([2], [10, 20])),
    ],
    attributes: { transA: 1, transB: 1, alpha: 2, beta: 0.5 },
    expected: [floats([2, 2], [19, 8, 37, 8])],
  },
  {
    title: 'with a scalar C',
    op: 'Gemm',
    inputs: [data(a), data(b), data(floats([], [1]))],
    expected: [floats([2, 2], [8, 0, 17, 0])],
  },
  {
    title: 'with a column C',
    op: 'Gemm',
    inputs: [data(a), data(b), data(floats([2, 1], [1, 2]))],
    expected: [floats([2, 2], [8, 0, 18, 1])],
  },
  {
    title: 'with nothing to sum',
    op: 'MatMul',
    inputs: [data(floats([2, 0], [])), data(floats([0, 2], []))],
    expected: [floats([2, 2], [0, 0, 0, 0])],
  },
  {
    title: 'of no rows',
    op: 'MatMul',
    inputs: [data(floats([0, 2], [])), data(floats([2, 3], [1, 2, 3, 4, 5, 6]))],
    expected: [floats([0, 3], [])],
  },
];

/** Sizes about the edges of tiles and vectors. */
const SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 65];

function randomMatMul(random: Random): Case[] {
  return Array.from({ length: 40 }, (_, i): Case => {
    const [m, n, k] = [random.pick(SIZES), random.pick(SIZES), random.pick(SIZES)];
    const batch = random.dims(random.int(0, 3), 3);
    const x = random.floats([...random.broadcastable(batch), m, k]);
    const y = random.floats([...random.broadcastable(batch), k, n]);
    const inputs = [random.pick([data, rowsOf])(x), random.pick([data, known])(y)];
    // A leading symbol may stand for 1 where the other operand has more; that is refused, not guessed.
    if (x.dims.length > 2) inputs[0] = data(x);
    return { title: `${i} [${x.dims.join()}] [${y.dims.join()}]`, op: 'MatMul', inputs };
  });
}

function randomGemm(random: Random): Case[] {
  return Array.from({ length: 24 }, (_, i): Case => {
    const [m, n, k] = [random.pick(SIZES), random.pick(SIZES), random.pick(SIZES)];
    const [transA, transB] = [i & 1, (i >> 1) & 1];
    const x = random.floats(transA ? [k, m] : [m, k]);
    const y = random.floats(transB ? [n, k] : [k, n]);
    const c = random.floats(random.pick([[], [1], [n], [1, n], [m, 1], [m, n]]));
    const attributes = { transA, transB, alpha: random.pick([1, 0.5]), beta: random.pick([1, -2, 0]) };
    const inputs = [transA || c.dims.length === 2 ? data(x) : rowsOf(x), known(y), ...(i % 3 ? [data(c)] : [])];
    return {
      title: `${i} [${x.dims.join()}] [${y.dims.join()}] ${JSON.stringify(attributes)}`,
      op: 'Gemm',
      inputs,
      attributes,
    };
  });
}

describe('products', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('matmul', LITERAL, () => engine);

  it(`agree with the reference on random shapes (seed ${SEED})`, async () => {
    const random = new Random();
    expect(await deviceProblems(engine, [...randomMatMul(random), ...randomGemm(random)])).toEqual([]);
  });

  it('agree with the reference by the kernels that a GPU takes', async () => {
    const gpu = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24, software: false }));
    const random = new Random();
    // A few of each: a software adapter compiles these kernels slowly.
    const cases = [...randomMatMul(random), ...randomGemm(random)].filter((_, i) => i % 16 === 1);
    expect(await deviceProblems(gpu, cases)).toEqual([]);
    gpu.close();
  });

  it('read windows by the kernels that a GPU takes', async () => {
    const gpu = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24, software: false }));
    const random = new Random();
    // Windows that vectors of 4 cannot read, and one that they can.
    const b = new GraphBuilder('windows');
    const x = b.input('x', 'float32', ['n', 90]);
    const w = b.constant('w', random.floats([80, 32]));
    const at = (name: string, value: number): string => b.constant(name, tensorOf('int64', [1], [value]));
    for (const from of [0, 1, 4]) {
      const window = b.op('Slice', [x, at(`s${from}`, from), at(`e${from}`, from + 80), at(`a${from}`, 1)]);
      b.output(b.op('MatMul', [window, w], {}, { outputs: [`from ${from}`] }), 'float32');
    }
    const aligned = b.op('Reshape', [x, b.constant('heads', tensorOf('int64', [3], [0, 1, 90]))]);
    b.output(b.op('MatMul', [aligned, b.constant('v', random.floats([90, 32]))], {}, { outputs: ['k'] }), 'float32');
    const graph = b.build();
    const model = await gpu.load(graph);
    expect(await graphProblems(model, graph, { x: random.floats([37, 90]) })).toEqual([]);
    gpu.close();
  });

  it('read transposed, sliced and repeated operands in place', async () => {
    // The head-splitting of attention: reshapes and transposes around both products.
    const b = new GraphBuilder('heads');
    const heads = (name: string, perm: number[]): string => {
      const x = b.input(name, 'float32', ['n', 5, 12]);
      const shape = b.constant(`${name} heads`, { dtype: 'int64', dims: [4], data: BigInt64Array.of(0n, 5n, 3n, 4n) });
      return b.op('Transpose', [b.op('Reshape', [x, shape])], { perm });
    };
    const scores = b.op('MatMul', [heads('q', [0, 2, 1, 3]), heads('k', [0, 2, 3, 1])]);
    const mixed = b.op('MatMul', [scores, heads('v', [0, 2, 1, 3])]);
    const flat = b.constant('flat', { dtype: 'int64', dims: [3], data: BigInt64Array.of(0n, 5n, 12n) });
    const merged = b.op('Reshape', [b.op('Transpose', [mixed], { perm: [0, 2, 1, 3] }), flat]);
    b.output(scores, 'float32');
    b.output(merged, 'float32');
    const graph = b.build();
    const model = await engine.load(graph);
    const random = new Random();
    for (const n of [1, 3]) {
      const inputs = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, random.floats([n, 5, 12])]));
      expect(await graphProblems(model, graph, inputs)).toEqual([]);
    }
    await model.dispose();
  });

  it('finish with addends and functions of every shape, each with parameters of its own', async () => {
    const random = new Random();
    const b = new GraphBuilder('finished');
    const x = b.input('x', 'float32', ['n', 5]);
    const y = b.input('y', 'float32', ['n']);
    const tokens = b.input('tokens', 'float32', ['n', 3, 5]);
    const weights = (name: string, ...dims: number[]): string => b.constant(name, random.floats(dims));
    const product = (value: string, w: string): string => b.op('MatMul', [value, w]);
    const output = (name: string, op: string, inputs: string[], attributes = {}): void =>
      b.output(b.op(op, inputs, attributes, { outputs: [name] }), 'float32');
    const vector = weights('vector', 5);
    const square = weights('square', 5, 5);
    // Results of rank 1: an addend of the same shape goes down the rows, not along the columns.
    output('rows plus rows', 'Add', [product(x, vector), y]);
    output('tokens plus tokens', 'Add', [
      b.op('ReduceMax', [tokens, b.constant('axis', tensorOf('int64', [1], [2]))], { keepdims: 0 }),
      product(tokens, vector),
    ]);
    output('columns', 'Add', [product(vector, square), weights('bias', 5)]);
    output('a scalar', 'Add', [product(x, square), weights('scalar')]);
    output('a column', 'Add', [product(x, weights('thin', 5, 1)), weights('one', 1)]);
    output('a row a token', 'Add', [weights('per token', 3, 5), product(tokens, square)]);
    output('two products', 'Add', [product(x, square), product(x, weights('other', 5, 5))]);
    output('half', 'Elu', [product(x, square)], { alpha: 0.5 });
    output('double', 'Elu', [product(x, square)], { alpha: 2 });
    output('after a bias', 'LeakyRelu', [b.op('Add', [product(tokens, square), weights('c', 5)])], { alpha: 0.3 });
    output('gemm', 'Sigmoid', [b.op('Gemm', [x, square, weights('d', 5)], { alpha: 0.5, beta: 2 })]);
    output('before an addend', 'Add', [x, b.op('Relu', [product(x, square)])]);
    output('used twice', 'Mul', [product(x, square), b.op('Tanh', [product(x, square)])]);
    const graph = b.build();
    const model = await engine.load(graph);
    for (const n of [1, 4]) {
      const inputs = { x: random.floats([n, 5]), y: random.floats([n]), tokens: random.floats([n, 3, 5]) };
      expect(await graphProblems(model, graph, inputs)).toEqual([]);
    }
    await model.dispose();
  });
});
