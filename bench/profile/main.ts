/**
 * Where a wave's time on the device goes, dispatch by dispatch.
 *
 *     npm run build && node dist/bench/profile/main.js --models wnd,din --rows 256,7680 --json results.json
 *
 * Each dispatch runs in a pass of its own between two timestamps; the median of `--repeat` waves is shown beside the bytes
 * and operations it has to move and do. Waves run for `--warmup` seconds first: an idle GPU clocks down.
 */
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { compile, WebGpuBackend, type DispatchTime } from '../../runtime/index.js';
import { PRODUCT_PRECISIONS, type ProductPrecision } from '../../runtime/compile/kernel.js';
import { openDevice, requireAdapter } from '../../src/device/index.js';
import { buildZoo, zooInputs, zooNames } from '../../src/zoo/index.js';

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function printTimes(model: string, rows: number, times: readonly DispatchTime[]): void {
  const total = times.reduce((sum, t) => sum + t.durationUs, 0);
  console.log(`\n${model}, ${rows} rows: ${total.toFixed(0)} us in ${times.length} dispatches`);
  for (const t of times) {
    const gbs = t.bytes / t.durationUs / 1e3;
    const tflops = t.operations / t.durationUs / 1e6;
    console.log(
      `  ${t.durationUs.toFixed(1).padStart(8)} us  ${gbs.toFixed(0).padStart(5)} GB/s  ${tflops.toFixed(2).padStart(6)} TFLOP/s  ` +
        `${t.program}${t.steps > 1 ? ` x${t.steps}` : ''}  ${t.detail}`,
    );
  }
}

const options = new Command('profile')
  .option('--models <names>', 'models of the zoo', zooNames.join(','))
  .option('--rows <list>', 'rows of a wave', '256,7680')
  .option('--scale <name>', 'scale of the zoo', 'bench')
  .option('--repeat <n>', 'waves', '9')
  .option('--warmup <s>', 'time before them', '0.5')
  .addOption(
    new Option('--products <precision>', 'as what they multiply').choices(PRODUCT_PRECISIONS).default('float32'),
  )
  .option('--json <file>', 'write the figures')
  .parse()
  .opts<{
    models: string;
    rows: string;
    scale: string;
    repeat: string;
    warmup: string;
    products: ProductPrecision;
    json?: string;
  }>();
const { products } = options;

const { adapter, info, release } = await requireAdapter('auto');
const backend = new WebGpuBackend(await openDevice(adapter), { adapterInfo: adapter.info });
const figures: { model: string; rows: number; dispatches: DispatchTime[] }[] = [];
for (const model of options.models.split(',')) {
  const plan = compile(buildZoo(model, options.scale), { maxBindingBytes: backend.maxBindingBytes, products });
  const executable = await backend.prepare(plan);
  for (const wanted of options.rows.split(',').map(Number)) {
    const rows = Math.min(wanted, executable.rowsPerWave(new Map()));
    const query = zooInputs(model, options.scale, rows, 1);
    const inputs = plan.inputs.map(({ name }) => query[name]!.data);
    const wave = { bindings: new Map([[plan.rows!, rows]]), queries: [{ rows, firstRow: 0, inputs }] };
    const runs: (readonly DispatchTime[])[] = [];
    const warm = performance.now() + 1000 * Number(options.warmup);
    do await executable.submit(wave);
    while (performance.now() < warm);
    for (let i = 0; i < Number(options.repeat); i++) {
      const { dispatches } = await executable.submit(wave, 'dispatches');
      if (!dispatches) throw new Error('this adapter has no timestamp queries');
      runs.push(dispatches);
    }
    const dispatches = runs[0]!.map((t, i) => ({ ...t, durationUs: median(runs.map((run) => run[i]!.durationUs)) }));
    printTimes(model, rows, dispatches);
    figures.push({ model, rows, dispatches });
  }
  executable.release();
}
if (options.json !== undefined) {
  const run = { date: new Date().toISOString(), device: info.adapter, driver: info.driver, options, figures };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
backend.close();
release();
