import { describe, expect, it } from 'vitest';
import { compile } from '../../../runtime/compile/plan.js';
import { shareInputs } from '../../../runtime/compile/share.js';
import { evaluateGraph, GraphBuilder, tensorOf, type Graph, type Tensor } from '../../../runtime/index.js';
import { buildZoo, zooInputs, zooSharedInputs } from '../../../src/zoo/index.js';
import { Random, SEED } from '../../support/cases.js';
import { randomGraph } from '../../support/graphs.js';
import { repeatShared } from '../../support/sharing.js';

const WIDTH = 32;
const LENGTH = 3;
const COLUMNS = 16;

/** u shared and x of rows, both [n, LENGTH, WIDTH]; c of rows, [n, 1, WIDTH]; a product of what `make` returns. */
function graphOf(make: (b: GraphBuilder) => string, width: number, random = new Random()): Graph {
  const b = new GraphBuilder('split');
  b.input('u', 'float32', ['n', LENGTH, WIDTH]);
  b.input('x', 'float32', ['n', LENGTH, WIDTH]);
  b.input('c', 'float32', ['n', 1, WIDTH]);
  const product = b.op('MatMul', [make(b), b.constant('w', random.floats([width, COLUMNS]))]);
  const sum = b.op('Add', [product, b.constant('bias', random.floats([COLUMNS]))]);
  b.output(b.op('Relu', [sum], {}, { outputs: ['y'] }), 'float32');
  return b.build();
}

/** Inputs of a wave of `sizes.length` queries: those of the queries apart, and with shared rows written out. */
function waveInputs(
  inputs: Readonly<Record<string, readonly number[]>>,
  shared: readonly string[],
  sizes: readonly number[],
  random: Random,
): { once: Map<string, Tensor>; rows: Map<string, Tensor> } {
  const queryOfRow = sizes.flatMap((rows, q) => Array.from({ length: rows }, () => q));
  const once = new Map<string, Tensor>();
  const rows = new Map<string, Tensor>();
  for (const [name, dims] of Object.entries(inputs)) {
    const width = dims.reduce((a, d) => a * d, 1);
    const own = random.floats([shared.includes(name) ? sizes.length : queryOfRow.length, ...dims]);
    once.set(name, own);
    const data = queryOfRow.flatMap((q) => [...(own.data as Float32Array).subarray(q * width, (q + 1) * width)]);
    rows.set(name, shared.includes(name) ? tensorOf('float32', [queryOfRow.length, ...dims], data) : own);
  }
  once.set('query_of_row', tensorOf('int32', [queryOfRow.length], queryOfRow));
  return { once, rows };
}

/** Largest difference of an output between the graph on rows written out and what it was rewritten to, in float64. */
function largestDifference(
  graph: Graph,
  inputs: Readonly<Record<string, readonly number[]>>,
  shared: readonly string[],
  seed = SEED,
): number {
  const { once, rows } = waveInputs(inputs, shared, [2, 0, 3, 1], new Random(seed));
  const expected = evaluateGraph(graph, rows);
  const found = evaluateGraph(shareInputs(graph, shared).graph, once);
  let largest = 0;
  for (const [name, { dims, data }] of expected) {
    expect(found.get(name)!.dims).toEqual(dims);
    data.forEach((v, i) => (largest = Math.max(largest, Math.abs(v - found.get(name)!.data[i]!))));
  }
  return largest;
}

const INPUTS = { u: [LENGTH, WIDTH], x: [LENGTH, WIDTH], c: [1, WIDTH] };

const concat = (b: GraphBuilder, ...values: string[]): string => b.op('Concat', values, { axis: -1 });
const repeat = (b: GraphBuilder): string =>
  b.op('Expand', ['c', b.constant('to', tensorOf('int64', [3], [1, LENGTH, 1]))]);

const CASES: [title: string, width: number, products: string[], make: (b: GraphBuilder) => string][] = [
  ['a concatenation', 2 * WIDTH, ['queries', 'n'], (b) => concat(b, 'u', 'x')],
  ['a difference of what is repeated', WIDTH, ['queries', 'n'], (b) => b.op('Sub', ['c', 'u'])],
  [
    'a concatenation with parts of every kind',
    5 * WIDTH,
    ['queries', 'n', 'n'],
    (b) => concat(b, repeat(b), 'u', b.op('Sub', ['c', 'u']), b.op('Mul', ['c', 'u']), 'x'),
  ],
  [
    'the layer of an attention to a target, which has a kernel of its own',
    4 * WIDTH,
    ['n', 'n'],
    (b) => concat(b, repeat(b), 'u', b.op('Sub', ['c', 'u']), b.op('Mul', ['c', 'u'])),
  ],
  ['a concatenation in a concatenation', 3 * WIDTH, ['queries', 'n'], (b) => concat(b, concat(b, 'x', 'u'), 'x')],
  ['a sum that saves nothing', WIDTH, ['n'], (b) => b.op('Add', ['u', 'x'])],
  ['what no query shares', 2 * WIDTH, ['n'], (b) => concat(b, 'x', 'x')],
];

describe('products of what is shared and what is not', () => {
  it.each(CASES)('%s', (_, width, products, make) => {
    const graph = graphOf(make, width);
    const { steps } = compile(graph, { maxBindingBytes: 2 ** 30, shared: ['u'] }).program;
    const made = steps.filter((s) => s.kernel.includes('MatMul'));
    expect(made.map((s) => (/queries/.test(String(s.cost.operations)) ? 'queries' : 'n'))).toEqual(products);
    expect(largestDifference(graph, INPUTS, ['u'])).toBeLessThan(1e-5);
  });

  it('leaves a product alone that something else reads before its bias', () => {
    const random = new Random();
    const b = new GraphBuilder('read twice');
    const x = concat(b, b.input('u', 'float32', ['n', WIDTH]), b.input('x', 'float32', ['n', WIDTH]));
    const product = b.op('MatMul', [x, b.constant('w', random.floats([2 * WIDTH, COLUMNS]))]);
    b.output(b.op('Add', [product, b.constant('bias', random.floats([COLUMNS]))]), 'float32');
    b.output(b.op('Neg', [product]), 'float32');
    expect(largestDifference(b.build(), { u: [WIDTH], x: [WIDTH] }, ['u'])).toBeLessThan(1e-5);
  });

  it.each([0, 1])('takes Gemm with transB %i', (transB) => {
    const random = new Random();
    const b = new GraphBuilder('gemm');
    const x = concat(b, b.input('u', 'float32', ['n', WIDTH]), b.input('x', 'float32', ['n', WIDTH]));
    const w = random.floats(transB ? [COLUMNS, 2 * WIDTH] : [2 * WIDTH, COLUMNS]);
    const bias = b.constant('bias', random.floats([COLUMNS]));
    b.output(b.op('Gemm', [x, b.constant('w', w), bias], { transB }), 'float32');
    const graph = b.build();
    expect(shareInputs(graph, ['u']).graph.nodes.some((n) => n.op === 'Gemm')).toBe(false);
    expect(largestDifference(graph, { u: [WIDTH], x: [WIDTH] }, ['u'])).toBeLessThan(1e-5);
  });

  it(`keeps what random graphs compute (seed ${SEED})`, () => {
    const inputs = { u: [6], v: [2, 3], x: [6], y: [2, 3] };
    for (let i = 0; i < 60; i++) {
      const random = new Random(SEED + i);
      const graph = randomGraph(random, 24, inputs);
      const shared = random
        .pick([['u'], ['v'], ['u', 'v'], ['u', 'y', 'v']])
        .filter((name) => !graph.outputs.some((o) => o.name === name));
      if (shared.length > 0) expect([i, largestDifference(graph, inputs, shared, SEED + i) < 1e-4]).toEqual([i, true]);
    }
  });

  it.each(['din', 'bst'])('keeps what %s computes', (name) => {
    const graph = buildZoo(name, 'tiny');
    const shared = zooSharedInputs(name, 'tiny');
    const inputs = zooInputs(name, 'tiny', 3, SEED, { shared: true });
    const expected = evaluateGraph(graph, new Map(Object.entries(repeatShared(inputs, shared, 3))));
    const once = new Map([...Object.entries(inputs), ['query_of_row', tensorOf('int32', [3], [0, 0, 0])] as const]);
    const found = evaluateGraph(shareInputs(graph, shared).graph, once);
    found.get('out')!.data.forEach((v, i) => expect(v).toBeCloseTo(expected.get('out')!.data[i]!, 6));
  });
});
