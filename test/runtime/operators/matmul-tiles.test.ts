import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateGraph, GraphBuilder, GraphEngine, type Graph } from '../../../runtime/index.js';
import { Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { Product } from '../../../src/tuning/product.js';
import { openDevice, requireAdapter, type FoundAdapter } from '../../../src/device/index.js';
import { outer } from '../../../runtime/operators/matmul/tiles.js';
import type { MatMulTile } from '../../../shaders/matmul.js';
import type { BlockedTile } from '../../../shaders/matmul_blocked.js';

/** y = relu(x W + c), the weight stored as it is multiplied or transposed. */
function layer(random: Random, k: number, n: number, transB: 0 | 1): Graph {
  const b = new GraphBuilder(`layer ${k}x${n}`);
  const x = b.input('x', 'float32', ['rows', k]);
  const w = b.constant('w', random.floats(transB ? [n, k] : [k, n]));
  b.op('Relu', [b.op('Gemm', [x, w, b.constant('c', random.floats([n]))], { transB })], {}, { outputs: ['y'] });
  b.output('y', 'float32');
  return b.build();
}

// What a GPU chooses for these sizes; here the same kernels run on whatever adapter there is.
const CASES: [kernel: string, k: number, n: number, transB: 0 | 1, rows: number[]][] = [
  ['rows of 8 lanes', 13, 1, 1, [1, 31, 33]],
  ['rows of 32 lanes, 3 columns', 100, 3, 0, [1, 8, 9]],
  ['32x32 tiles, of words', 37, 20, 1, [1, 33, 64]],
  ['64x64 tiles of few k, activations in words, weight across', 5, 80, 0, [1, 65]],
  ['.. of vectors, weight and activations along k', 20, 76, 1, [1, 65, 130]],
  ['.. of vectors, weight across', 4, 68, 0, [1, 65]],
  ['.. as wide as the product', 4, 36, 1, [65]],
  ['a weight of columns that are not whole fours', 20, 70, 1, [65]],
];

describe('the matrix products that a GPU takes', () => {
  const random = new Random();
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ software: false }));
  });
  afterAll(() => engine.close());

  it.each(CASES)(`%s, k %i, n %i, transB %i (seed ${SEED})`, async (_, k, n, transB, sizes) => {
    const graph = layer(random, k, n, transB);
    const model = await engine.load(graph);
    for (const rows of sizes) {
      const x = random.floats([rows, k]);
      const found = (await model.run({ x }))['y']!.data as Float32Array;
      const expected = evaluateGraph(graph, new Map([['x', x]])).get('y')!.data;
      expect(found.length).toBe(expected.length);
      const worst = found.reduce(
        (most, v, i) => Math.max(most, Math.abs(v - expected[i]!) - 1e-4 * Math.abs(expected[i]!)),
        0,
      );
      expect(worst).toBeLessThan(1e-4);
    }
    await model.dispose();
  });
});

/** What chooseTile takes for larger products, each with every way to read its operands that it is taken with. */
const TILES: [tileM: number, tileN: number, tileK: number, threadM: number, threadN: number, loads: string][] = [
  [64, 40, 16, 8, 4, 'ww'],
  [64, 40, 16, 8, 4, 'kn'],
  [64, 32, 16, 4, 4, 'kk'],
  [64, 32, 16, 4, 4, 'wn'],
  [64, 64, 16, 8, 4, 'ww'],
  [64, 64, 32, 8, 4, 'kk'],
  [64, 64, 16, 8, 8, 'kn'],
  [128, 64, 16, 8, 8, 'ww'],
  [128, 64, 16, 8, 8, 'kn'],
];

/** Of outer products: all ways in which rows of four k are turned. */
const OUTER_TILES: [tileM: number, tileN: number, tileK: number, threadM: number, threadN: number][] = [
  [32, 32, 16, 4, 4],
  [32, 32, 32, 4, 4],
  [32, 64, 16, 8, 4],
  [32, 64, 32, 4, 4],
  [64, 64, 16, 8, 4],
  [64, 64, 16, 8, 8],
  [64, 64, 32, 8, 4],
  [96, 32, 16, 8, 4],
  [128, 64, 8, 8, 8],
  [128, 128, 16, 16, 8],
];

const LOADS = { w: 'words', k: 'along', n: 'across' } as const;

// One kernel each: a software adapter takes its time to compile what a model would have ready for all its sizes.
describe('a tile', () => {
  let found: FoundAdapter;
  let device: GPUDevice;

  beforeAll(async () => {
    found = await requireAdapter('auto');
    device = await openDevice(found.adapter);
  });
  afterAll(() => {
    device.destroy();
    found.release();
  });

  async function deviation(
    tile: MatMulTile,
    m: number,
    n: number,
    k: number,
    transposed: boolean,
    { pitch = k, halves = false } = {},
  ): Promise<number> {
    const product = new Product(device, { label: 'test', m, n, k, transposed, pitch });
    const run = await product.prepare(tile, halves);
    const worst = (await run(1, 1)).deviation;
    product.destroy();
    return worst;
  }

  it.each(TILES)(
    'of %i x %i x %i, registers of %i x %i, loads %s',
    async (tileM, tileN, tileK, threadM, threadN, loads) => {
      const a = LOADS[loads[0] as 'w' | 'k'];
      const b = LOADS[loads[1] as 'w' | 'k' | 'n'];
      const tile: BlockedTile = { kind: 'blocked', tileM, tileN, tileK, threadM, threadN, a, b };
      // Two tiles and a part each way, and two steps and a part, which vectors need in fours.
      const k = 2 * tileK + (a === 'words' ? 3 : 4);
      expect(await deviation(tile, 2 * tileM + 3, 2 * tileN + 4, k, b !== 'across')).toBeLessThan(1e-6);
      expect(await deviation(tile, 1, 4, 4, b !== 'across')).toBeLessThan(1e-6);
    },
  );

  it.each(OUTER_TILES)(
    'of outer products, %i x %i x %i, registers of %i x %i',
    async (tileM, tileN, tileK, threadM, threadN) => {
      const of = (k: number, a: 'along' | 'words'): MatMulTile =>
        outer([tileM, tileN, tileK], [threadM, threadN], k, a);
      const [m, n, k] = [2 * tileM + 3, 2 * tileN + 4, 2 * tileK + 3];
      expect(await deviation(of(k, 'along'), m, n, k, false, { pitch: k + 1 })).toBeLessThan(1e-6);
      expect(await deviation(of(k, 'words'), m, n, k, false, { halves: true })).toBeLessThan(1e-6);
      expect(await deviation(of(k + 1, 'along'), m, n, k + 1, false)).toBeLessThan(1e-6);
      expect(await deviation(of(2 * tileK, 'along'), m, n, 2 * tileK, false)).toBeLessThan(1e-6);
      expect(await deviation(of(4, 'along'), 1, 4, 4, false)).toBeLessThan(1e-6);
    },
  );

  it.each([
    ['words', 'words'],
    ['along', 'along'],
    ['along', 'across'],
  ] as const)('of which k is in 4 parts, loads %s and %s', async (a, b) => {
    const tile: MatMulTile = {
      kind: 'staged',
      tileM: 32,
      tileN: 32,
      tileK: 64,
      threadM: 4,
      threadN: 4,
      slices: 4,
      a,
      b,
    };
    expect(await deviation(tile, 67, 68, a === 'words' ? 131 : 132, b !== 'across')).toBeLessThan(1e-6);
  });
});
