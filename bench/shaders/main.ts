/**
 * Operations of the zoo's models alone, by the kernels that a plan takes: GB/s, TFLOP/s and their share of what the device
 * was measured to do at most, beside PyTorch's figures and those of an earlier run.
 *
 *     npm run build
 *     python3 bench/shaders/torch_operations.py --json torch.json
 *     node dist/bench/shaders/main.js --torch torch.json --json results.json --compare earlier.json
 *
 * A figure is the median of `--repeat` waves, by the device's clock; waves run for `--warmup` seconds first, each behind
 * arithmetic that keeps the GPU's clock up.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { compile, WebGpuBackend } from '../../runtime/index.js';
import { PRODUCT_PRECISIONS, type ProductPrecision } from '../../runtime/compile/kernel.js';
import { openDevice, requireAdapter } from '../../src/device/index.js';
import { graphOf, inputOf, operations, type Operation } from './operations.js';
import { busyWork, measurePeaks } from './peaks.js';

interface Figure {
  readonly name: string;
  readonly program: string;
  readonly us: number;
  readonly gbs: number;
  readonly tflops: number;
  /** PyTorch's time over Braid's. */
  readonly overTorch?: number;
}

interface Run {
  readonly figures: readonly Figure[];
}

interface Options {
  readonly rows: string;
  readonly repeat: string;
  readonly warmup: string;
  readonly products: ProductPrecision;
  readonly torch?: string;
  readonly compare?: string;
  readonly json?: string;
}

const KERNELS = { linear: /^MatMul/, lookup: /^Gather/ };

async function measure(
  backend: WebGpuBackend,
  operation: Operation,
  options: Options,
  keepBusy: () => void,
): Promise<Figure> {
  const { name, kind, rows } = operation;
  const plan = compile(graphOf(operation), {
    maxBindingBytes: backend.maxBindingBytes,
    products: options.products,
  });
  const executable = await backend.prepare(plan);
  const wave = { bindings: new Map([['rows', rows]]), queries: [{ rows, firstRow: 0, inputs: [inputOf(operation)] }] };
  const warm = performance.now() + 1000 * Number(options.warmup);
  do {
    keepBusy();
    await executable.submit(wave);
  } while (performance.now() < warm);
  const times: { us: number; bytes: number; operations: number; program: string }[] = [];
  for (let i = 0; i < Number(options.repeat); i++) {
    keepBusy();
    const { dispatches } = await executable.submit(wave, 'dispatches');
    if (!dispatches) throw new Error('this adapter has no timestamp queries');
    const own = dispatches.filter((d) => KERNELS[kind].test(d.program));
    const total = (of: (d: (typeof own)[number]) => number): number => own.reduce((sum, d) => sum + of(d), 0);
    times.push({
      us: total((d) => d.durationUs),
      bytes: total((d) => d.bytes),
      operations: total((d) => d.operations),
      program: own.map((d) => (d.steps > 1 ? `${d.program} x${d.steps}` : d.program)).join(' + '),
    });
  }
  executable.release();
  const { us, bytes, operations: count, program } = times.sort((a, b) => a.us - b.us)[Math.floor(times.length / 2)]!;
  return { name, program, us, gbs: bytes / us / 1e3, tflops: count / us / 1e6 };
}

const options = new Command('shaders')
  .option('--rows <list>', 'rows of a wave', '256,2048,3840,7680')
  .option('--repeat <n>', 'waves', '9')
  .option('--warmup <s>', 'time before them', '0.2')
  .addOption(
    new Option('--products <precision>', 'as what they multiply').choices(PRODUCT_PRECISIONS).default('float32'),
  )
  .option('--torch <file>', 'figures of torch_operations.py')
  .option('--compare <file>', 'figures of an earlier run')
  .option('--json <file>', 'write the figures')
  .parse()
  .opts<Options>();

async function figuresOf(path: string | undefined): Promise<ReadonlyMap<string, number>> {
  if (path === undefined) return new Map();
  const { figures } = JSON.parse(await readFile(path, 'utf8')) as Run;
  return new Map(figures.map(({ name, us }) => [name, us]));
}

const torch = await figuresOf(options.torch);
const earlier = await figuresOf(options.compare);
const { adapter, info, release } = await requireAdapter('auto');
const device = await openDevice(adapter);
const peaks = await measurePeaks(device, info.software);
console.log(`at most ${peaks.copyGBs.toFixed(0)} GB/s copied, ${peaks.tflops.toFixed(1)} TFLOP/s of float32\n`);
const keepBusy = await busyWork(device, info.software);
const backend = new WebGpuBackend(device, { adapterInfo: adapter.info });
const figures: Figure[] = [];
for (const operation of operations(options.rows.split(',').map(Number))) {
  const own = await measure(backend, operation, options, keepBusy);
  const [other, before] = [torch.get(own.name), earlier.get(own.name)];
  figures.push(other === undefined ? own : { ...own, overTorch: other / own.us });
  const share = operation.kind === 'linear' ? own.tflops / peaks.tflops : own.gbs / peaks.copyGBs;
  console.log(
    [
      own.name.padEnd(24),
      `${own.us.toFixed(1).padStart(8)} us`,
      `${own.gbs.toFixed(0).padStart(5)} GB/s`,
      `${own.tflops.toFixed(1).padStart(6)} TFLOP/s`,
      `${(100 * share).toFixed(0).padStart(4)} % of peak`,
      other === undefined ? '' : `${((100 * other) / own.us).toFixed(0).padStart(4)} % of PyTorch`,
      before === undefined ? '' : `${(before / own.us).toFixed(2)}x the speed before`,
      own.program,
    ].join('  '),
  );
}
if (options.json !== undefined) {
  const run = { date: new Date().toISOString(), device: info.adapter, driver: info.driver, options, peaks, figures };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
backend.close();
release();
