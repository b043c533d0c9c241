/**
 * What it brings to let kernels of different operators share a dispatch: waves one by one, with the kernels that are bound by
 * memory side by side, and with any.
 *
 *     npm run build && node dist/bench/shaders/side-by-side.js --models wnd,dlrm,wnd+dlrm --rows 64,1024 --json results.json
 *
 * `a+b` is one model of both, whose operators are ready together level by level: what waves of two models would gain. Times are
 * the device's, a pass a wave, medians of `--repeat` waves of each kind in turn. `--each` adds the time of every dispatch that
 * is shared, beside those of its parts.
 */
import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import {
  compile,
  WebGpuBackend,
  type DispatchTime,
  type Executable,
  type Graph,
  type Wave,
} from '../../runtime/index.js';
import { openDevice, requireAdapter } from '../../src/device/index.js';
import { buildZoo, zooInputs } from '../../src/zoo/index.js';
import { quantile } from '../common/statistics.js';

const KINDS = ['none', 'memory', 'all'] as const;

interface Figure {
  readonly models: string;
  readonly rows: number;
  readonly kind: (typeof KINDS)[number];
  readonly dispatches: number;
  readonly us: number;
  /** The time where nothing is shared, over this. */
  readonly speedup: number;
}

/** One graph of several that share the symbol of their rows; their values get the model's name in front. */
function beside(graphs: readonly Graph[]): Graph {
  if (graphs.length === 1) return graphs[0]!;
  const parts = graphs.map((graph) => {
    const named = (value: string): string => (value === '' ? '' : `${graph.name}/${value}`);
    return {
      inputs: graph.inputs.map((i) => ({ ...i, name: named(i.name) })),
      outputs: graph.outputs.map((o) => ({ ...o, name: named(o.name) })),
      nodes: graph.nodes.map((n) => ({
        ...n,
        name: named(n.name),
        inputs: n.inputs.map(named),
        outputs: n.outputs.map(named),
      })),
      constants: [...graph.constants].map(([name, tensor]) => [named(name), tensor] as const),
    };
  });
  return {
    name: graphs.map((g) => g.name).join('+'),
    inputs: parts.flatMap((p) => p.inputs),
    outputs: parts.flatMap((p) => p.outputs),
    nodes: parts.flatMap((p) => p.nodes),
    constants: new Map(parts.flatMap((p) => p.constants)),
    notices: [],
  };
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )!;
}

async function dispatchesOf(executable: Executable, wave: Wave, repeat: number): Promise<DispatchTime[]> {
  const runs: (readonly DispatchTime[])[] = [];
  for (let i = 0; i < repeat; i++) runs.push((await executable.submit(wave, 'dispatches')).dispatches!);
  return runs[0]!.map((t, i) => ({ ...t, durationUs: median(runs.map((run) => run[i]!.durationUs)) }));
}

const options = new Command('side-by-side')
  .option(
    '--models <names>',
    'of the zoo, or several joined by +',
    'wnd,din,dlrm,bst,wnd+dlrm,din+bst,wnd+bst,din+dlrm',
  )
  .option('--rows <list>', 'rows of a wave', '16,64,256,1024,4096')
  .option('--scale <name>', 'scale of the zoo', 'bench')
  .option('--repeat <n>', 'waves', '31')
  .option('--warmup <s>', 'time before them', '0.3')
  .option('--each', 'show the dispatches that are shared')
  .option('--float16', 'tables, weights and products of float16', false)
  .option('--json <file>', 'write the figures')
  .parse()
  .opts<{
    models: string;
    rows: string;
    scale: string;
    repeat: string;
    warmup: string;
    each?: true;
    float16: boolean;
    json?: string;
  }>();

const { adapter, info, release } = await requireAdapter('auto');
const device = await openDevice(adapter);
const figures: Figure[] = [];
for (const models of options.models.split(',')) {
  const names = models.split('+');
  const graph = beside(names.map((name) => ({ ...buildZoo(name, options.scale), name })));
  const runners: { kind: (typeof KINDS)[number]; executable: Executable }[] = [];
  for (const kind of KINDS) {
    const backend = new WebGpuBackend(device, {
      sideBySide: kind,
      arenaBytes: 2 ** 29,
      ...(options.float16 ? { adapterInfo: adapter.info } : {}),
    });
    const { maxBindingBytes, caps } = backend;
    const plan = compile(graph, {
      maxBindingBytes,
      ...(options.float16
        ? { caps, products: 'float16' as const, precision: { tables: 'float16', weights: 'float16' } }
        : {}),
    });
    runners.push({ kind, executable: await backend.prepare(plan) });
  }
  const plan = compile(graph, { maxBindingBytes: 2 ** 30 });
  for (const rows of options.rows.split(',').map(Number)) {
    const queries = Object.fromEntries(names.map((name) => [name, zooInputs(name, options.scale, rows, 1)]));
    const inputs = plan.inputs.map(({ name }) => {
      const [model, input] = names.length === 1 ? [names[0]!, name] : name.split('/');
      return queries[model!]![input!]!.data;
    });
    const wave = { bindings: new Map([[plan.rows!, rows]]), queries: [{ rows, firstRow: 0, inputs }] };
    const warm = performance.now() + 1000 * Number(options.warmup);
    do for (const { executable } of runners) await executable.submit(wave);
    while (performance.now() < warm);
    const times = runners.map((): number[] => []);
    const counts = runners.map(() => 0);
    for (let i = 0; i < Number(options.repeat); i++)
      for (const [k, { executable }] of runners.entries()) {
        const { deviceUs, dispatchCount } = await executable.submit(wave, 'wave');
        if (deviceUs === undefined) throw new Error('this adapter has no timestamp queries');
        times[k]!.push(deviceUs);
        counts[k] = dispatchCount;
      }
    const alone = median(times[0]!);
    const line = runners.map(({ kind }, k) => {
      const us = median(times[k]!);
      figures.push({ models, rows, kind, dispatches: counts[k]!, us, speedup: alone / us });
      return `${kind} ${us.toFixed(1).padStart(8)} us in ${String(counts[k]).padStart(2)} (${(us / alone).toFixed(3)})`;
    });
    console.log(`${models.padEnd(9)} ${String(rows).padStart(5)} rows  ${line.join('   ')}`);
    if (!options.each) continue;
    const single = await dispatchesOf(runners[0]!.executable, wave, 9);
    for (const { kind, executable } of runners.slice(1))
      for (const d of await dispatchesOf(executable, wave, 9)) {
        const parts = d.program.split(' | ');
        if (parts.length === 1) continue;
        const each = parts.map((p) => `${single.find((s) => s.program === p)?.durationUs.toFixed(1) ?? '?'} ${p}`);
        console.log(`    ${kind.padEnd(6)} ${d.durationUs.toFixed(1).padStart(8)} us = ${each.join(' | ')}`);
      }
  }
  for (const { executable } of runners) executable.release();
}
if (options.json !== undefined) {
  const run = { date: new Date().toISOString(), device: info.adapter, driver: info.driver, options, figures };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
device.destroy();
release();
