/**
 * Where a wave's time on the device goes, dispatch by dispatch.
 *
 *     npm run build && node dist/bench/profile/main.js --models wnd,din --rows 256,7680 --json results.json
 *
 * Each dispatch runs in a pass of its own between two timestamps; the median of `--repeat` waves is shown beside the bytes
 * and operations it has to move and do. Waves run for `--warmup` seconds first: an idle GPU clocks down.
 *
 * `--tables float32,int8 --weights float32,float16` measures every pair, turn by turn, and how far the outputs of each are
 * from those of the first, which has to be float32 for that to mean anything. Default: as the model has them.
 */
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { measureAccuracy, takeSample, type Accuracy } from '../../runtime/accuracy.js';
import { compile, type DispatchTime, type Precision } from '../../runtime/index.js';
import { PRODUCT_PRECISIONS, type ProductPrecision } from '../../runtime/compile/kernel.js';
import { BACKEND_NAMES, openBackend, type BackendName } from '../../src/device/index.js';
import { buildZoo, zooInputs, zooNames } from '../../src/zoo/index.js';

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function printTimes(title: string, times: readonly DispatchTime[]): void {
  const total = times.reduce((sum, t) => sum + t.durationUs, 0);
  console.log(`\n${title}: ${total.toFixed(0)} us in ${times.length} dispatches`);
  for (const t of times) {
    const gbs = t.bytes / t.durationUs / 1e3;
    const tflops = t.operations / t.durationUs / 1e6;
    console.log(
      `  ${t.durationUs.toFixed(1).padStart(8)} us  ${gbs.toFixed(0).padStart(5)} GB/s  ${tflops.toFixed(2).padStart(6)} TFLOP/s  ` +
        `${t.program}${t.steps > 1 ? ` x${t.steps}` : ''}  ${t.detail}`,
    );
  }
}

function titleOf({ tables, weights }: Precision): string {
  return `${tables ? `, tables ${tables}` : ''}${weights ? `, weights ${weights}` : ''}`;
}

function accuracyText(accuracy: Accuracy | undefined): string {
  if (!accuracy) return '';
  const worst = accuracy.outputs.map(
    ({ name, maxAbsolute, maxRelative }) =>
      `'${name}' ${maxAbsolute.toExponential(2)}, ${maxRelative.toExponential(2)} relative`,
  );
  return `; largest difference on ${accuracy.rows} rows: ${worst.join('; ')}`;
}

const options = new Command('profile')
  .option('--models <names>', 'models of the zoo', zooNames.join(','))
  .option('--rows <list>', 'rows of a wave', '256,7680')
  .option('--tables <list>', 'how tables are stored: float32, float16, int8')
  .option('--weights <list>', 'how matrices are stored: float32, float16')
  .option('--scale <name>', 'scale of the zoo', 'bench')
  .option('--repeat <n>', 'waves', '9')
  .option('--warmup <s>', 'time before them', '0.5')
  .addOption(
    new Option('--products <precision>', 'as what they multiply').choices(PRODUCT_PRECISIONS).default('float32'),
  )
  .option('--no-tiles', 'choose tiles by the rule alone')
  .addOption(new Option('--backend <name>', 'what computes').choices(BACKEND_NAMES).default('webgpu'))
  .option('--json <file>', 'write the figures')
  .parse()
  .opts<{
    models: string;
    rows: string;
    scale: string;
    repeat: string;
    warmup: string;
    tables?: string;
    weights?: string;
    products: ProductPrecision;
    tiles: boolean;
    backend: BackendName;
    json?: string;
  }>();

const { backend, info, release } = await openBackend({
  adapter: 'auto',
  backend: options.backend,
  tiles: options.tiles ? 'measured' : 'rule',
});
interface Figures {
  readonly model: string;
  readonly precision: Precision;
  readonly rows: number;
  readonly weightBytes: number;
  readonly accuracy: Accuracy | undefined;
  readonly dispatches: DispatchTime[];
}

const { products } = options;
const listed = (text: string | undefined): (string | undefined)[] => text?.split(',') ?? [undefined];
// compile() refuses what it does not know.
const precisions = listed(options.tables).flatMap((tables) =>
  listed(options.weights).map(
    (weights) => ({ ...(tables ? { tables } : {}), ...(weights ? { weights } : {}) }) as Precision,
  ),
);
const figures: Figures[] = [];
for (const model of options.models.split(',')) {
  const graph = buildZoo(model, options.scale);
  const variants = [];
  for (const precision of precisions) {
    const plan = compile(graph, { maxBindingBytes: backend.maxBindingBytes, caps: backend.caps, precision, products });
    const executable = await backend.prepare(plan);
    variants.push({ precision, plan, executable });
  }
  const [{ plan: first, executable: exact }] = variants as [(typeof variants)[number]];
  const sample = precisions.length > 1 ? await takeSample(first, exact, 256) : undefined;
  for (const wanted of options.rows.split(',').map(Number)) {
    const rows = Math.min(wanted, ...variants.map((v) => v.executable.rowsPerWave(new Map())));
    const query = zooInputs(model, options.scale, rows, 1);
    const inputs = first.inputs.map(({ name }) => query[name]!.data);
    const wave = { bindings: new Map([[first.rows!, rows]]), queries: [{ rows, firstRow: 0, inputs }] };
    const runs = variants.map((): (readonly DispatchTime[])[] => []);
    const warm = performance.now() + 1000 * Number(options.warmup);
    do for (const { executable } of variants) await executable.submit(wave);
    while (performance.now() < warm);
    for (let i = 0; i < Number(options.repeat); i++) {
      for (const [v, { executable }] of variants.entries()) {
        const { dispatches } = await executable.submit(wave, 'dispatches');
        if (!dispatches) throw new Error('this adapter has no timestamp queries');
        runs[v]!.push(dispatches);
      }
    }
    for (const [v, { precision, plan, executable }] of variants.entries()) {
      const times = runs[v]![0]!.map((t, i) => ({
        ...t,
        durationUs: median(runs[v]!.map((run) => run[i]!.durationUs)),
      }));
      const accuracy = sample && (await measureAccuracy(sample, plan, executable));
      const { weightBytes } = executable.memory;
      printTimes(`${model}, ${rows} rows${titleOf(precision)}`, times);
      console.log(`  weights ${(weightBytes / 2 ** 20).toFixed(1)} MiB${accuracyText(accuracy)}`);
      figures.push({ model, precision, rows, weightBytes, accuracy, dispatches: times });
    }
  }
  for (const { executable } of variants) executable.release();
  // After each model, so that a run that is cut short leaves what it had.
  if (options.json !== undefined) {
    const run = { date: new Date().toISOString(), device: info.adapter, driver: info.driver, options, figures };
    await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
  }
}
backend.close();
release();
