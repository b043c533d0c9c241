/**
 * Operations of the zoo's models alone, by the kernels that a plan takes: GB/s, TFLOP/s and their share of what the device
 * was measured to do at most, beside PyTorch's figures.
 *
 *     npm run build
 *     python3 bench/shaders/torch_operations.py --json torch.json
 *     node dist/bench/shaders/main.js --torch torch.json --json results.json
 *     node dist/bench/shaders/compare-main.js earlier.json results.json
 *
 * A figure is the median of `--repeat` waves, by the device's clock; waves run for `--warmup` seconds first, each behind
 * arithmetic that keeps the GPU's clock up. What makes an operation's operands and shrinks its result does not count.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { compile, WebGpuBackend, type DispatchTime } from '../../runtime/index.js';
import { PRODUCT_PRECISIONS, type ProductPrecision } from '../../runtime/compile/kernel.js';
import { openDevice, requireAdapter } from '../../src/device/index.js';
import { readTiles } from '../../src/tuning/files.js';
import { quantile } from '../common/statistics.js';
import type { Figure, OperationsRun } from './compare.js';
import { inputOf, operations, type Operation } from './operations.js';
import { busyWork, measurePeaks, type Peaks } from './peaks.js';

interface Options {
  readonly rows: string;
  readonly only: string;
  readonly repeat: string;
  readonly warmup: string;
  readonly products: ProductPrecision;
  readonly tiles: boolean;
  readonly torch?: string;
  readonly json?: string;
}

async function measure(
  backend: WebGpuBackend,
  operation: Operation,
  options: Options,
  keepBusy: () => void,
): Promise<Omit<Figure, 'share'>> {
  const { name, rows } = operation;
  const { maxBindingBytes, caps } = backend;
  const plan = compile(operation.build(), { maxBindingBytes, caps, products: options.products });
  const executable = await backend.prepare(plan);
  if (executable.rowsPerWave(new Map()) < rows) throw new Error(`${name}: a wave has fewer rows`);
  const wave = { bindings: new Map([['rows', rows]]), queries: [{ rows, firstRow: 0, inputs: [inputOf(operation)] }] };
  const warm = performance.now() + 1000 * Number(options.warmup);
  do {
    keepBusy();
    await executable.submit(wave);
  } while (performance.now() < warm);
  const runs: (readonly DispatchTime[])[] = [];
  for (let i = 0; i < Number(options.repeat); i++) {
    keepBusy();
    const { dispatches } = await executable.submit(wave, 'dispatches');
    if (!dispatches) throw new Error('this adapter has no timestamp queries');
    runs.push(dispatches.filter((d) => !d.program.split(' | ').every((program) => operation.isFrame(program))));
  }
  executable.release();
  const [own] = runs as [readonly DispatchTime[]];
  if (own.length === 0) throw new Error(`${name}: no kernel of its own`);
  const total = (of: (d: DispatchTime) => number, run = own): number => run.reduce((sum, d) => sum + of(d), 0);
  const times = runs.map((run) => total((d) => d.durationUs, run)).sort((a, b) => a - b);
  const us = quantile(times, 0.5)!;
  return {
    name,
    program: own.map((d) => (d.steps > 1 ? `${d.program} x${d.steps}` : d.program)).join(' + '),
    us,
    gbs: total((d) => d.bytes) / us / 1e3,
    tflops: total((d) => d.operations) / us / 1e6,
  };
}

function line({ name, program, us, gbs, tflops, share, torchUs }: Figure): string {
  return [
    name.padEnd(34),
    `${us.toFixed(1).padStart(8)} us`,
    `${gbs.toFixed(0).padStart(5)} GB/s`,
    `${tflops.toFixed(1).padStart(5)} TFLOP/s`,
    `${(100 * share).toFixed(0).padStart(3)} % of peak`,
    ...(torchUs === undefined ? [] : [`PyTorch ${torchUs.toFixed(1).padStart(7)} us, ${(torchUs / us).toFixed(2)}`]),
    program,
  ].join('  ');
}

async function torchTimes(path: string | undefined): Promise<ReadonlyMap<string, number>> {
  if (path === undefined) return new Map();
  const { figures } = JSON.parse(await readFile(path, 'utf8')) as Pick<OperationsRun, 'figures'>;
  return new Map(figures.map(({ name, us }) => [name, us]));
}

const options = new Command('shaders')
  .option('--rows <list>', 'rows of a wave', '256,2048,3840,7680')
  .option('--only <text>', 'operations whose name contains it', '')
  .option('--repeat <n>', 'waves', '9')
  .option('--warmup <s>', 'time before them', '0.1')
  .addOption(
    new Option('--products <precision>', 'as what they multiply').choices(PRODUCT_PRECISIONS).default('float32'),
  )
  .option('--no-tiles', 'choose tiles by the rule alone')
  .option('--torch <file>', 'figures of torch_operations.py')
  .option('--json <file>', 'write the figures')
  .parse()
  .opts<Options>();

const torch = await torchTimes(options.torch);
const { adapter, info, release } = await requireAdapter('auto');
const device = await openDevice(adapter);
const peaks: Peaks = await measurePeaks(device, info.software);
console.log(`at most ${peaks.copyGBs.toFixed(0)} GB/s copied, ${peaks.tflops.toFixed(1)} TFLOP/s of float32\n`);
const keepBusy = await busyWork(device, info.software);
const tiles = options.tiles ? await readTiles(info, device.limits) : undefined;
const backend = new WebGpuBackend(device, {
  adapterInfo: adapter.info,
  arenaBytes: 2 ** 30,
  ...(tiles ? { tiles } : {}),
});
const figures: Figure[] = [];
for (const operation of operations(options.rows.split(',').map(Number))) {
  if (!operation.name.includes(options.only)) continue;
  const own = await measure(backend, operation, options, keepBusy);
  const torchUs = torch.get(own.name);
  const share = Math.max(own.tflops / peaks.tflops, own.gbs / peaks.copyGBs);
  const figure: Figure = { ...own, share, ...(torchUs === undefined ? {} : { torchUs }) };
  figures.push(figure);
  console.log(line(figure));
}
if (options.json !== undefined) {
  const run = { date: new Date().toISOString(), device: info.adapter, driver: info.driver, options, peaks, figures };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
backend.close();
release();
