import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateGraph, GraphBuilder, GraphEngine, type Graph } from '../../../runtime/index.js';
import { Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';

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
  ['32x32 tiles', 37, 20, 1, [1, 33, 64]],
  ['64x64 tiles, 128x64 tiles above 512 of them, of words', 5, 80, 0, [1, 65, 16_400]],
  ['.. of vectors, weight and activations along k', 20, 76, 1, [1, 65, 130]],
  ['.. of vectors, weight across', 4, 68, 0, [1, 65, 16_400]],
  ['32x32 tiles with k in 4 parts, of words, 64x64 above 132 tiles', 130, 70, 1, [3, 65, 4300]],
  ['.. of vectors, weight and activations along k', 132, 70, 1, [3, 65]],
  ['.. of vectors, weight across', 68, 68, 0, [1, 33]],
  ['.. of vectors, activations in words', 67, 36, 0, [33]],
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
