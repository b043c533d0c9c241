import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateGraph, GraphBuilder, GraphEngine, type Graph, type Backend } from '../../../runtime/index.js';
import { Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';

/** y = relu(x W + c) + c, the weight stored as it is multiplied or transposed. */
function layer(random: Random, k: number, n: number, transB: 0 | 1): Graph {
  const b = new GraphBuilder(`layer ${k}x${n}`);
  const x = b.input('x', 'float32', ['rows', k]);
  const w = b.constant('w', random.floats(transB ? [n, k] : [k, n], -1, 1));
  const c = b.constant('c', random.floats([n], -1, 1));
  const z = b.op('Relu', [b.op('Gemm', [x, w, c], { transB })]);
  b.output(b.op('Add', [z, c], {}, { outputs: ['y'] }), 'float32');
  return b.build();
}

const CASES: [k: number, n: number, transB: 0 | 1, rows: number[]][] = [
  [1, 16, 1, [1, 17, 64]],
  [13, 17, 1, [1, 63, 65]],
  [32, 64, 1, [64, 128, 129]],
  [36, 68, 0, [1, 127, 300]],
  [37, 130, 0, [5, 33]],
  [429, 200, 1, [3, 257]],
  // As many tiles as take the large ones.
  [48, 256, 1, [7000]],
  [40, 1024, 0, [1701]],
  [13, 1028, 1, [1701]],
];

/** Rounding both operands to 11 bits, of float16 as of TF32, moves a product of elements up to 1 by 2^-11 at most, on average by a fifth of it, to either side. */
function bound(k: number): number {
  return 4 * Math.sqrt(k) * 2 ** -11;
}

const PRECISIONS = [
  { products: 'float16', has: ({ multipliesHalves, tf32 }: Backend['caps']) => multipliesHalves || tf32 !== undefined },
  { products: 'tf32', has: ({ tf32 }: Backend['caps']) => tf32 !== undefined },
] as const;

describe.each(PRECISIONS)('products of $products', ({ products, has }) => {
  const random = new Random();
  let backend: Backend;
  let engine: GraphEngine;

  beforeAll(async () => {
    backend = await openBackend();
    engine = new GraphEngine(backend);
  });
  afterAll(() => engine.close());

  it.each(CASES)(`k %i, n %i, transB %i (seed ${SEED})`, async (k, n, transB, sizes) => {
    const graph = layer(random, k, n, transB);
    const model = await engine.load(graph, { products });
    for (const rows of sizes) {
      const x = random.floats([rows, k], -1, 1);
      const found = (await model.run({ x }))['y']!.data as Float32Array;
      const expected = evaluateGraph(graph, new Map([['x', x]])).get('y')!.data;
      expect(found.length).toBe(expected.length);
      const worst = found.reduce((most, v, i) => Math.max(most, Math.abs(v - Number(expected[i]!))), 0);
      expect(worst).toBeLessThan(bound(k));
    }
    await model.dispose();
  });

  it('are of that type where the device has them', async (context) => {
    if (!has(backend.caps)) context.skip(`this device has no matrix units for ${products}`);
    const model = await engine.load(layer(random, 64, 64, 1), { products });
    const { notices, precision } = await model.summary();
    const measured = `products of ${products}; 'y' differs from that of float32 by at most `;
    expect(notices).toEqual([expect.stringContaining(measured)]);
    expect(precision.products).toBe(products);
    // 1 + 2^-12 takes more bits: it is rounded to 1, which float32 would not do.
    const one = new GraphBuilder('one');
    const x = one.input('x', 'float32', ['rows', 16]);
    // A weight that float16 cannot hold, where that is not multiplied, is not stored as float16.
    const scale = products === 'float16' ? 1 : 2 ** 20;
    const data = new Float32Array(16 * 16).map((_, i) => (i % 17 === 0 ? scale : 0));
    one.output(
      one.op('MatMul', [x, one.constant('w', { dtype: 'float32', dims: [16, 16], data })], {}, { outputs: ['y'] }),
      'float32',
    );
    const rounding = await engine.load(one.build(), { products });
    const given = new Float32Array(16 * 16).fill(1 + 2 ** -12);
    expect([...((await rounding.run({ x: { dims: [16, 16], data: given } }))['y']!.data as Float32Array)]).toEqual(
      Array.from({ length: 256 }, () => scale),
    );
    await model.dispose();
    await rounding.dispose();
  });

  it('take what float16 cannot hold as infinite, and no other type does', async (context) => {
    if (!has(backend.caps)) context.skip(`this device has no matrix units for ${products}`);
    const b = new GraphBuilder('large');
    const identity = new Float32Array(16 * 16).map((_, i) => (i % 17 === 0 ? 1 : 0));
    const w = b.constant('w', { dtype: 'float32', dims: [16, 16], data: identity });
    // One way round and the other: the product of a value and a weight, and of two values.
    const [x, y] = [b.input('x', 'float32', ['rows', 1, 16]), b.input('y', 'float32', ['rows', 16, 16])];
    b.output(b.op('MatMul', [x, w], {}, { outputs: ['of weight'] }), 'float32');
    b.output(b.op('MatMul', [y, y], {}, { outputs: ['of values'] }), 'float32');
    const model = await engine.load(b.build(), { products });
    const rows = 16;
    const large = new Float32Array(rows * 16).fill(1);
    large[5 * 16] = 70_000;
    large[6 * 16] = -65_504;
    const values = new Float32Array(rows * 256);
    for (let i = 0; i < rows; i++) for (let j = 0; j < 16; j++) values[i * 256 + j * 17] = 1;
    values[3 * 256] = 70_000;
    const answer = await model.run({
      x: { dims: [rows, 1, 16], data: large },
      y: { dims: [rows, 16, 16], data: values },
    });
    const [ofWeight, ofValues] = ['of weight', 'of values'].map((name) => answer[name]!.data as Float32Array);
    const isHalf = products === 'float16';
    // Infinite times 0 is no number, in the row's other columns.
    expect(Number.isFinite(ofWeight![5 * 16]!)).toBe(!isHalf);
    expect(ofWeight![6 * 16]).toBeCloseTo(-65_504, -2);
    expect(ofWeight![7 * 16]).toBe(1);
    expect(Number.isFinite(ofValues![3 * 256]!)).toBe(!isHalf);
    expect(ofValues![4 * 256]).toBe(1);
    await model.dispose();
  });

  it('fall back to float32, with a notice, where the device has none', async () => {
    const other = await openBackend({ software: true });
    const { tf32: _, ...rest } = other.caps;
    const caps = { ...rest, multipliesHalves: false };
    Object.defineProperty(other, 'caps', { value: caps });
    const plain = new GraphEngine(other);
    const graph = layer(random, 20, 24, 1);
    const model = await plain.load(graph, { products });
    expect((await model.summary()).notices).toEqual([
      `products of ${products} were asked for; this device has none, and computes them in float32`,
    ]);
    const x = random.floats([9, 20]);
    const found = (await model.run({ x }))['y']!.data as Float32Array;
    const expected = evaluateGraph(graph, new Map([['x', x]])).get('y')!.data;
    found.forEach((v, i) => expect(v).toBeCloseTo(Number(expected[i]!), 4));
    await plain.close();
  });
});
