import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, evaluateGraph, GraphBuilder, GraphEngine, type Graph } from '../../../runtime/index.js';
import type { DeviceCaps, MeasuredTile, MeasuredTiles, ProductShape } from '../../../runtime/compile/kernel.js';
import { blocked, outer } from '../../../runtime/operators/matmul/tiles.js';
import { Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';

const CAPS: DeviceCaps = {
  software: false,
  maxWorkgroupInvocations: 256,
  maxWorkgroupBytes: 32_768,
  maxWorkgroupsPerDimension: 65_535,
  features: new Set(),
  multipliesHalves: false,
};
const [K, N] = [22, 36];
const SMALL = blocked([32, 32, 16], [4, 4], { a: 'words', b: 'across' });
const LARGE = outer([64, 64, 16], [8, 4], K, 'words');

class FakeTiles implements MeasuredTiles {
  readonly asked: ProductShape[] = [];
  readonly #measured: readonly MeasuredTile[] | undefined;

  constructor(measured: readonly MeasuredTile[] | undefined) {
    this.#measured = measured;
  }

  find(shape: ProductShape): readonly MeasuredTile[] | undefined {
    this.asked.push(shape);
    return this.#measured;
  }
}

/** relu(x W + c), the weight as exporters store it. */
function layer(random: Random): Graph {
  const b = new GraphBuilder('layer');
  const w = b.constant('w', random.floats([N, K]));
  const product = b.op('Gemm', [b.input('x', 'float32', ['rows', K]), w, b.constant('c', random.floats([N]))], {
    transB: 1,
  });
  b.op('Relu', [product], {}, { outputs: ['y'] });
  b.output('y', 'float32');
  return b.build();
}

describe('tiles that were measured', () => {
  const random = new Random();
  const graph = layer(random);
  const [step] = compile(graph, { caps: CAPS, maxBindingBytes: 2 ** 27 }).program.steps;
  const kernelFor = (tiles: MeasuredTiles | undefined, rows: number): string => {
    const { program, dispatch } = step!.webgpu({ ...CAPS, products: 'float32', ...(tiles ? { tiles } : {}) });
    const bindings = new Map([['rows', rows]]);
    return (dispatch.alternatives?.find((a) => a.suits(bindings))?.program ?? program).key;
  };

  it('are each taken for the numbers of rows nearest to their own', () => {
    const tiles = new FakeTiles([
      { m: 1600, tile: LARGE },
      { m: 100, tile: SMALL },
    ]);
    for (const rows of [1, 100, 399]) expect(kernelFor(tiles, rows)).toContain('blocked_32x32x16');
    for (const rows of [401, 1600, 100_000]) expect(kernelFor(tiles, rows)).toContain('outer_64x64x16');
    expect(tiles.asked[0]).toEqual({ n: N, k: K, a: 'words', b: 'across', vectors: true, halves: false });
  });

  it('that are the same are one program', () => {
    const measured = [10, 100, 1000, 10_000].map((m) => ({ m, tile: m < 1000 ? SMALL : LARGE }));
    const { dispatch } = step!.webgpu({ ...CAPS, products: 'float32', tiles: new FakeTiles(measured) });
    expect(dispatch.alternatives).toHaveLength(1);
  });

  it('leave the rule for products that they have not, and for a software adapter', () => {
    const rule = kernelFor(undefined, 100);
    expect(kernelFor(new FakeTiles(undefined), 100)).toBe(rule);
    expect(kernelFor(new FakeTiles([]), 100)).toBe(rule);
    const tiles = new FakeTiles([{ m: 1, tile: LARGE }]);
    const { program } = step!.webgpu({ ...CAPS, software: true, products: 'float32', tiles });
    expect(program.key).toContain('direct');
    expect(tiles.asked).toEqual([]);
  });

  describe('on a device', () => {
    let engine: GraphEngine;
    beforeAll(async () => {
      const tiles = new FakeTiles([
        { m: 4, tile: SMALL },
        { m: 64, tile: LARGE },
      ]);
      engine = new GraphEngine(await openBackend({ software: false, tiles }));
    });
    afterAll(() => engine.close());

    it(`compute the product, on either side of where they change (seed ${SEED})`, async () => {
      const model = await engine.load(graph);
      for (const rows of [1, 15, 17, 70]) {
        const x = random.floats([rows, K]);
        const found = (await model.run({ x }))['y']!.data as Float32Array;
        const expected = evaluateGraph(graph, new Map([['x', x]])).get('y')!.data;
        found.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-4));
      }
      await model.dispose();
    });
  });
});
