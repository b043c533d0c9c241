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
  { products: 'float16', has: ({ multipliesHalves }: Backend['caps']) => multipliesHalves },
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

describe('products of float16 where a device has TF32 alone', () => {
  it('are those of TF32, which has all the bits and the range, with a notice', async () => {
    const backend = await openBackend({ software: true });
    const tf32 = backend.caps.tf32 ?? { workgroupBytes: 2 ** 17, byGroups: false };
    Object.defineProperty(backend, 'caps', { value: { ...backend.caps, multipliesHalves: false, tf32 } });
    const engine = new GraphEngine(backend);
    const model = await engine.load(layer(new Random(), 20, 24, 1), { products: 'float16' });
    const { notices, precision } = await model.summary();
    expect(notices).toContain('products of float16 were asked for; this device has none, and computes them in tf32');
    expect(precision.products).toBe('tf32');
    await engine.close();
  });
});
