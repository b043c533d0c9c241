/**
 * Matrix products alone: every tile that could suit over the shapes that the zoo's layers have, in TFLOP/s.
 *
 *     npm run build && node dist/bench/shaders/matmul.js --json results.json
 *
 * A row is the fastest of several submissions of `--repeat` dispatches, by the device's clock. Elements of every result are
 * compared with their float64 value.
 */
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { multipliesHalves } from '../../runtime/backends/webgpu/adapter.js';
import { PRODUCT_PRECISIONS, type ProductPrecision } from '../../runtime/compile/kernel.js';
import { matMul, type MatMulTile } from '../../shaders/matmul.js';
import { subgroup } from '../../runtime/operators/matmul/tiles.js';
import type { BlockedTile } from '../../shaders/matmul_blocked.js';
import { subgroupBytes, subgroupThreads, type SubgroupTile } from '../../shaders/matmul_subgroup.js';
import { openDevice, requireAdapter } from '../../src/device/index.js';
import { productTiles } from '../../src/tuning/candidates.js';
import { Product, type Shape } from '../../src/tuning/product.js';

/** Layers of the zoo's models, rows of 429 and 479 elements a multiple of 4 apart, as plans have them. */
function shapesOf(rows: readonly number[]): Shape[] {
  const [stored, turned] = [false, true].map((transposed) => ({ transposed }));
  return rows.flatMap((m) => [
    { label: 'wnd 0', m, n: 1024, k: 429, pitch: 432, ...stored! },
    { label: 'wnd 0, words', m, n: 1024, k: 429, ...stored! },
    { label: 'wnd 1', m, n: 512, k: 1024, ...stored! },
    { label: 'wnd 2', m, n: 256, k: 512, ...stored! },
    { label: 'dlrm top 0', m, n: 1024, k: 479, pitch: 480, ...stored! },
    { label: 'dlrm top 1', m, n: 1024, k: 1024, ...stored! },
    { label: 'dlrm bottom 2', m, n: 128, k: 256, ...stored! },
    { label: 'din 1', m: m * 100, n: 40, k: 80, ...stored! },
    { label: 'bst q', m: m * 21, n: 64, k: 64, ...stored! },
    { label: 'bst ffn', m: m * 21, n: 256, k: 64, ...stored! },
    { label: 'bst top 0', m, n: 1024, k: 1856, ...stored! },
    { label: 'transposed', m, n: 1024, k: 1024, ...turned! },
  ]);
}

type Loads = Pick<BlockedTile, 'a' | 'b'>;

function loadsOf({ k, n, transposed, pitch = k }: Shape): Loads {
  const isWhole = pitch % 4 === 0;
  const b = transposed ? (isWhole ? 'along' : 'words') : n % 4 === 0 ? 'across' : 'words';
  return { a: isWhole ? 'along' : 'words', b };
}

function subgroupTiles(loads: Loads, { k, n, transposed, pitch = k }: Shape): SubgroupTile[] {
  const sizes: [tileM: number, tileN: number, tileK: number, subgroupM: number, subgroupN: number][] = [
    [64, 64, 32, 32, 32],
    [64, 64, 64, 32, 32],
    [128, 64, 32, 32, 32],
    [128, 64, 32, 64, 32],
    [128, 64, 32, 64, 64],
    [128, 64, 64, 64, 32],
    [256, 64, 32, 64, 64],
    [128, 128, 32, 64, 32],
    [128, 128, 32, 32, 64],
    [128, 128, 32, 64, 64],
    [128, 128, 64, 64, 32],
    [128, 256, 32, 64, 64],
    [256, 128, 32, 64, 64],
  ];
  return sizes.map(([tileM, tileN, tileK, subgroupM, subgroupN]) =>
    subgroup([tileM, tileN, tileK], [subgroupM, subgroupN], k, {
      ...loads,
      a: pitch % 4 === 0 ? 'along' : loads.a,
      bRun: (transposed ? k : n) % 8 === 0 ? 8 : 4,
    }),
  );
}

/** Tiles that a device can run and that are not mostly past the edges of the product. */
function candidates(shape: Shape, products: ProductPrecision, { limits }: GPUDevice): MatMulTile[] {
  const loads = loadsOf(shape);
  if (products === 'float32') return productTiles({ ...shape, ...loads }, limits);
  return subgroupTiles(loads, shape).filter(
    (tile) =>
      subgroupThreads(tile) <= limits.maxComputeInvocationsPerWorkgroup &&
      subgroupBytes(tile) <= limits.maxComputeWorkgroupStorageSize &&
      Math.ceil(shape.n / tile.tileN) * tile.tileN < 1.7 * shape.n,
  );
}

const program = new Command('matmul')
  .option('--rows <list>', 'rows of a wave', '256,2048,7680')
  .option('--only <text>', 'shapes whose label contains it', '')
  .option('--repeat <n>', 'dispatches a submission', '10')
  .option('--warmup <s>', 'time before the first', '1.5')
  .addOption(
    new Option('--products <precision>', 'as what they multiply').choices(PRODUCT_PRECISIONS).default('float32'),
  )
  .option('--halves', 'the weights are stored as float16', false)
  .option('--all-halves', 'so are the other operand and the result, where rows come in eights', false)
  .option('--json <file>', 'write the figures');
const options = program.parse().opts<{
  rows: string;
  only: string;
  repeat: string;
  warmup: string;
  products: ProductPrecision;
  halves: boolean;
  allHalves: boolean;
  json?: string;
}>();
const found = await requireAdapter('auto');
const device = await openDevice(found.adapter);
if (options.products === 'float16' && !multipliesHalves(device, found.adapter.info))
  program.error('this device has no float16 products');
const repeat = Number(options.repeat);
const figures: { shape: Shape; tile: string; ms: number; tflops: number; deviation: number }[] = [];
let isWarm = false;
for (const shape of shapesOf(options.rows.split(',').map(Number))) {
  if (!shape.label.includes(options.only)) continue;
  const { label, m, n, k } = shape;
  const product = new Product(device, shape);
  const tiles = candidates(shape, options.products, device);
  const isAll = options.allHalves && (shape.pitch ?? k) % 8 === 0 && n % 4 === 0;
  const stored = isAll ? 'all' : options.halves;
  const runs = await Promise.all(tiles.map((tile) => product.prepare(tile, stored)));
  // An idle GPU clocks down.
  const warmFor = performance.now() + 1000 * (isWarm ? 0.05 : Number(options.warmup));
  do await runs[0]!(repeat, 1);
  while (performance.now() < warmFor);
  isWarm = true;
  for (const [i, run] of runs.entries()) {
    const { ms, deviation } = await run(repeat, 3);
    const tile = matMul({
      tile: tiles[i]!,
      hasBias: false,
      halves: options.halves,
      aHalves: isAll,
      outHalves: isAll,
    }).key.replace('MatMul_', '');
    const tflops = (2 * m * n * k) / ms / 1e9;
    figures.push({ shape, tile, ms, tflops, deviation });
    console.log(
      `${label.padEnd(14)} ${`${m}x${n}x${k}`.padEnd(18)} ${tile.padEnd(34)} ${ms.toFixed(4)} ms  ${tflops.toFixed(1).padStart(6)} TFLOP/s  off by ${deviation.toExponential(1)}`,
    );
  }
  product.destroy();
}
if (options.json !== undefined) {
  const { adapter, driver } = found.info;
  const run = { date: new Date().toISOString(), device: adapter, driver, options, figures };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
device.destroy();
found.release();
