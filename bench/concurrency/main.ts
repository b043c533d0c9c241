/**
 * Closed-loop concurrency: each client sends its next query when its last is answered.
 *
 *     npm run build && node dist/bench/concurrency/main.js --json results.json
 *
 * Queries are `--rows` candidates with their inputs in the caller's own arrays (the convenient form of run()). Latency is
 * from the call to the settled promise. Set-up and `--warmup` seconds are outside the figures.
 */
import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import type { Engine, Model, Tensor } from '../../src/index.js';
import { openEngine, zooInputs, zooNames } from '../../src/index.js';

interface Figures {
  readonly model: string;
  readonly clients: number;
  readonly queries: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly queriesPerSecond: number;
}

interface Options {
  readonly models: string;
  readonly clients: string;
  readonly rows: string;
  readonly scale: string;
  readonly seconds: string;
  readonly warmup: string;
  readonly thread: 'main' | 'worker';
  readonly json?: string;
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

async function measure(
  model: Model,
  clients: number,
  inputs: readonly Record<string, Tensor>[],
  options: Options,
): Promise<Figures> {
  const start = performance.now();
  const from = start + 1000 * Number(options.warmup);
  const until = from + 1000 * Number(options.seconds);
  const latencies: number[] = [];
  await Promise.all(
    inputs.slice(0, clients).map(async (query) => {
      for (let sent = performance.now(); sent < until; sent = performance.now()) {
        await model.run(query);
        if (sent >= from) latencies.push(performance.now() - sent);
      }
    }),
  );
  const seconds = (performance.now() - from) / 1000;
  const sorted = [...latencies].sort((a, b) => a - b);
  return {
    model: model.name,
    clients,
    queries: sorted.length,
    meanMs: sorted.reduce((a, b) => a + b, 0) / sorted.length,
    p50Ms: quantile(sorted, 0.5),
    p95Ms: quantile(sorted, 0.95),
    p99Ms: quantile(sorted, 0.99),
    queriesPerSecond: sorted.length / seconds,
  };
}

async function benchModel(engine: Engine, name: string, options: Options): Promise<Figures[]> {
  const model = await engine.load({ kind: 'zoo', model: name, scale: options.scale });
  const levels = options.clients.split(',').map(Number);
  const inputs = Array.from({ length: Math.max(...levels) }, (_, i) =>
    zooInputs(name, options.scale, Number(options.rows), i + 1),
  );
  const { dispatches, rowsPerWave } = await model.summary();
  console.log(`${name}: ${dispatches} dispatches a wave, up to ${rowsPerWave ?? 'any'} rows`);
  const figures: Figures[] = [];
  for (const clients of levels) {
    const f = await measure(model, clients, inputs, options);
    console.log(
      `${name.padEnd(5)} clients ${String(clients).padStart(3)}  mean ${f.meanMs.toFixed(3)} ms  p50 ${f.p50Ms.toFixed(3)}  ` +
        `p95 ${f.p95Ms.toFixed(3)}  p99 ${f.p99Ms.toFixed(3)}  ${f.queriesPerSecond.toFixed(0)} queries/s`,
    );
    figures.push(f);
  }
  await model.dispose();
  return figures;
}

const program = new Command('concurrency')
  .option('--models <names>', 'models of the zoo', zooNames.join(','))
  .option('--clients <list>', 'numbers of clients', '1,8,15,22,30')
  .option('--rows <n>', 'candidates a query', '256')
  .option('--scale <name>', 'scale of the zoo', 'bench')
  .option('--seconds <s>', 'measured time for each row', '1.5')
  .option('--warmup <s>', 'time before it', '0.5')
  .option('--thread <where>', 'main or worker', 'main')
  .option('--json <file>', 'write the figures');
const options = program.parse().opts<Options>();
const engine = await openEngine({ thread: options.thread });
console.log(
  `${engine.device.adapter} (${engine.device.origin}), engine in the ${options.thread} thread, ${options.rows} rows a query`,
);
const figures: Figures[] = [];
for (const name of options.models.split(',')) figures.push(...(await benchModel(engine, name, options)));
await engine.close();
if (options.json !== undefined) {
  const { adapter, driver, origin } = engine.device;
  const run = { date: new Date().toISOString(), device: { adapter, driver, origin }, options, figures };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
