import { mkdtemp, readdir, readFile, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compile, GraphBuilder } from '../../../runtime/index.js';
import type { DeviceCaps, ProductShape } from '../../../runtime/compile/kernel.js';
import { openDevice, requireAdapter, type FoundAdapter } from '../../../src/device/index.js';
import { productTiles } from '../../../src/tuning/candidates.js';
import { cachedTilesPath, readTiles, writeTiles } from '../../../src/tuning/files.js';
import { productsOf } from '../../../src/tuning/index.js';
import { TileTuner } from '../../../src/tuning/measure.js';
import { parseTiles, TileTable, type TunedProduct } from '../../../src/tuning/table.js';
import { Random } from '../../support/cases.js';

const LIMITS = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 32_768 };
const SHAPE: ProductShape = { n: 64, k: 48, a: 'along', b: 'across', vectors: true, halves: false };
const TILES = productTiles(SHAPE, LIMITS);
const PRODUCT: TunedProduct = {
  ...SHAPE,
  measured: [
    { m: 64, tile: TILES[0]!, us: 2 },
    { m: 1024, tile: TILES.at(-1)!, us: 9 },
  ],
};
const DEVICE = { adapter: 'A GPU (rev 2)', driver: '1.2', software: false };

function file(products: readonly unknown[], format: unknown = 1): string {
  return JSON.stringify({ format, device: 'd', driver: '', date: '', products });
}

describe('a table of tiles', () => {
  test('gives what it was made of', () => {
    const table = new TileTable(parseTiles(file([PRODUCT]), LIMITS));
    expect(table.find(SHAPE)).toEqual(PRODUCT.measured);
    for (const other of [{ n: 68 }, { k: 52 }, { a: 'words' }, { b: 'along' }, { vectors: false }, { halves: true }])
      expect(table.find({ ...SHAPE, ...other } as ProductShape)).toBeUndefined();
  });

  test.each([
    ['no JSON', 'tiles'],
    ['no object', '3'],
    ['another format', file([PRODUCT], 2)],
    ['no list', JSON.stringify({ format: 1, products: {} })],
    ['no product', file([null, 7, {}])],
    [
      'sizes that are none',
      file([
        { ...PRODUCT, n: 0 },
        { ...PRODUCT, k: 1.5 },
      ]),
    ],
    ['loads that are none', file([{ ...PRODUCT, b: 'up' }])],
    [
      'a tile that no kernel has',
      file([{ ...PRODUCT, measured: [{ m: 64, us: 1, tile: { ...TILES[0], tileM: 24 } }] }]),
    ],
    ['a tile with more to it', file([{ ...PRODUCT, measured: [{ m: 64, us: 1, tile: { ...TILES[0], x: 1 } }] }])],
  ])('of %s is empty', (_, text) => {
    expect(parseTiles(text, LIMITS)).toEqual([]);
  });

  test('leaves out tiles that the device is too small for', () => {
    const small = { maxComputeInvocationsPerWorkgroup: 64, maxComputeWorkgroupStorageSize: 8192 };
    const kept = parseTiles(
      file([{ ...PRODUCT, measured: TILES.map((tile, i) => ({ m: i + 1, tile, us: 1 })) }]),
      small,
    );
    expect(kept[0]!.measured.map(({ tile }) => tile)).toEqual(productTiles(SHAPE, small));
    expect(kept[0]!.measured.length).toBeLessThan(TILES.length);
  });
});

describe('tables that come with the package', () => {
  const folder = new URL('../../../tiles/', import.meta.url);
  // What an H100 has; a table that a kernel's change made useless shows here.
  const limits = { maxComputeInvocationsPerWorkgroup: 1024, maxComputeWorkgroupStorageSize: 49_152 };

  test('hold tiles that kernels have, under the name that their device looks for', async () => {
    const names = await readdir(folder);
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      const text = await readFile(new URL(name, folder), 'utf8');
      const given = JSON.parse(text) as { device: string; products: unknown };
      expect(parseTiles(text, limits)).toEqual(given.products);
      expect(cachedTilesPath({ adapter: given.device }, { HOME: '/' }).endsWith(`/${name}`)).toBe(true);
    }
  });
});

describe('files of tables', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'braid-tiles-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  test('lie in the cache folder that XDG names', () => {
    const name = 'a-gpu-rev-2-.json';
    expect(cachedTilesPath(DEVICE, { XDG_CACHE_HOME: '/c', HOME: '/h' })).toBe(`/c/braid/tiles/${name}`);
    expect(cachedTilesPath(DEVICE, { HOME: '/h' })).toBe(`/h/.cache/braid/tiles/${name}`);
    expect(cachedTilesPath(DEVICE, { XDG_CACHE_HOME: 'relative', HOME: '/h' })).toBe(`/h/.cache/braid/tiles/${name}`);
  });

  test('keep products of several models, the last measured of each', async () => {
    const env = { XDG_CACHE_HOME: folder };
    const path = cachedTilesPath(DEVICE, env);
    expect(await readTiles(DEVICE, LIMITS, env)).toBeUndefined();
    await writeTiles(path, DEVICE, [PRODUCT], LIMITS);
    const again = { ...PRODUCT, measured: PRODUCT.measured.slice(1) };
    await writeTiles(path, DEVICE, [{ ...PRODUCT, n: 128 }, again], LIMITS);
    const table = await readTiles(DEVICE, LIMITS, env);
    expect(table!.find(SHAPE)).toEqual(again.measured);
    expect(table!.find({ ...SHAPE, n: 128 })).toEqual(PRODUCT.measured);
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({
      format: 1,
      device: DEVICE.adapter,
      driver: '1.2',
    });
    expect(await readTiles({ ...DEVICE, software: true }, LIMITS, env)).toBeUndefined();
  });

  test('that are broken count as none', async () => {
    const env = { XDG_CACHE_HOME: folder };
    const path = cachedTilesPath(DEVICE, env);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, '{"format": 1, "pro');
    expect(await readTiles(DEVICE, LIMITS, env)).toBeUndefined();
    await writeTiles(path, DEVICE, [PRODUCT], LIMITS);
    expect((await readTiles(DEVICE, LIMITS, env))!.products).toEqual([PRODUCT]);
  });
});

describe('tuning', () => {
  const caps: DeviceCaps = {
    software: false,
    maxWorkgroupInvocations: 256,
    maxWorkgroupBytes: 32_768,
    maxWorkgroupsPerDimension: 65_535,
    features: new Set(),
    multipliesHalves: false,
  };
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

  test('finds the products of a plan that tiles are chosen for, and their rows', () => {
    const random = new Random();
    const b = new GraphBuilder('two products');
    const layer = b.op('Gemm', [b.input('x', 'float32', ['rows', 30]), b.constant('w', random.floats([64, 30]))], {
      transB: 1,
    });
    const places = b.op('MatMul', [b.input('s', 'float32', ['rows', 5, 8]), b.constant('v', random.floats([8, 34]))]);
    b.output(layer, 'float32');
    b.output(places, 'float32');
    const plan = compile(b.build(), { caps, maxBindingBytes: 2 ** 27 });
    expect(productsOf(plan, { ...caps, products: 'float32' }, [4, 2])).toEqual([
      { shape: { n: 64, k: 30, a: 'words', b: 'across', vectors: true, halves: false }, rows: [2, 4] },
      { shape: { n: 34, k: 8, a: 'along', b: 'words', vectors: false, halves: false }, rows: [10, 20] },
    ]);
    expect(productsOf(plan, { ...caps, software: true, products: 'float32' }, [4])).toEqual([]);
  });

  // Few columns, and operands that few kernels read: few tiles to compile.
  test('measures every number of rows, and takes tiles that compute the product', async () => {
    const shape: ProductShape = { n: 12, k: 20, a: 'along', b: 'along', vectors: false, halves: false };
    const tuned = await new TileTuner(device).tune(shape, [3, 33]);
    expect(tuned.measured.map(({ m }) => m)).toEqual([3, 33]);
    const candidates = productTiles(shape, device.limits);
    for (const { tile, us } of tuned.measured) {
      expect(candidates).toContainEqual(tile);
      expect(us).toBeGreaterThan(0);
    }
  }, 120_000);
});
