/**
 * Where the latency of a query goes under closed-loop clients, in parts that add up to its mean.
 *
 *     npm run build
 *     node dist/bench/profile/budget.js --models wnd,din,dlrm,bst --clients 1,30
 *
 * `device` is from when a wave could begin, for the host had submitted it and the wave before was over, to when the host saw
 * its results; `kernels` is the share of it that the device's clock saw dispatches run, on the waves that were timed.
 */
import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { GraphEngine, type Backend } from '../../runtime/index.js';
import type { LentMemory } from '../../src/api.js';
import { openBackend } from '../../src/device/backend.js';
import { buildZoo } from '../../src/zoo/index.js';
import { KnownPieces, SharedPool } from '../../src/lending.js';
import { closedLoop } from '../common/closed-loop.js';
import {
  braidOptions,
  modelsOption,
  parseCounts,
  parsePositive,
  scaleOption,
  type BraidChoices,
} from '../common/options.js';
import { drawer, lentInputs, queryPool } from '../common/queries.js';

/** Sums over queries, of moments and of times in milliseconds. */
interface Sums {
  queries: number;
  sentAt: number;
  answeredAt: number;
  waves: number;
  /** Of the queries of waves. */
  waved: number;
  waveAt: number;
  begunAt: number;
  submittedAt: number;
  startedAt: number;
  doneAt: number;
  /** Over the waves that were timed. */
  timedMs: number;
  kernelMs: number;
}

function zeros(): Sums {
  return {
    queries: 0,
    sentAt: 0,
    answeredAt: 0,
    waves: 0,
    waved: 0,
    waveAt: 0,
    begunAt: 0,
    submittedAt: 0,
    startedAt: 0,
    doneAt: 0,
    timedMs: 0,
    kernelMs: 0,
  };
}

/** Adds what becomes of every submission to `sums`. Moments count from `origin`, so that sums of them keep their digits. */
function watch(backend: Backend, sums: Sums, origin: number): void {
  const submit = backend.submit.bind(backend);
  let lastDoneAt = 0;
  backend.submit = async (parts, onSubmitted) => {
    const at = performance.now();
    const outcomes = await submit(parts, onSubmitted);
    for (const [i, outcome] of outcomes.entries()) {
      if ('error' in outcome) throw outcome.error;
      const { begunAt, submittedAt, doneAt, deviceUs } = outcome;
      const startedAt = backend.concurrentWaves ? submittedAt : Math.max(submittedAt, lastDoneAt);
      const queries = parts[i]!.wave.queries.length;
      sums.waves++;
      sums.waved += queries;
      sums.waveAt += queries * (at - origin);
      sums.begunAt += queries * (begunAt - origin);
      sums.submittedAt += queries * (submittedAt - origin);
      sums.startedAt += queries * (startedAt - origin);
      sums.doneAt += queries * (doneAt - origin);
      if (deviceUs !== undefined) {
        sums.timedMs += doneAt - startedAt;
        sums.kernelMs += deviceUs / 1000;
      }
      if (i === outcomes.length - 1) lastDoneAt = doneAt;
    }
    return outcomes;
  };
}

interface Budget {
  readonly queriesPerWave: number;
  readonly latencyMs: number;
  /** In milliseconds, in order; they add up to the latency. */
  readonly parts: Readonly<Record<'waiting' | 'slot' | 'submitting' | 'queued' | 'device' | 'answering', number>>;
  /** Share of `device`. */
  readonly kernels: number | undefined;
}

function budgetOf(sums: Sums): Budget {
  if (sums.waved !== sums.queries) throw new Error(`${sums.queries} queries, but ${sums.waved} in waves`);
  const between = (from: number, to: number): number => (to - from) / sums.queries;
  return {
    queriesPerWave: sums.queries / sums.waves,
    latencyMs: between(sums.sentAt, sums.answeredAt),
    parts: {
      waiting: between(sums.sentAt, sums.waveAt),
      slot: between(sums.waveAt, sums.begunAt),
      submitting: between(sums.begunAt, sums.submittedAt),
      queued: between(sums.submittedAt, sums.startedAt),
      device: between(sums.startedAt, sums.doneAt),
      answering: between(sums.doneAt, sums.answeredAt),
    },
    kernels: sums.timedMs > 0 ? sums.kernelMs / sums.timedMs : undefined,
  };
}

const program = new Command('budget')
  .addOption(modelsOption())
  .option('--clients <list>', 'numbers of clients', parseCounts, [1, 30])
  .option('--rows <n>', 'candidates a query', parsePositive, 256)
  .addOption(scaleOption())
  .option('--seconds <s>', 'measured for each', parsePositive, 1)
  .option('--json <file>', 'write the figures');
const shared = new Set(['backend', 'adapter', 'lanes', 'tables', 'weights', 'products', 'inputs']);
for (const option of braidOptions('main')) if (shared.has(option.attributeName())) program.addOption(option);
const options = program.parse().opts<
  Pick<BraidChoices, 'backend' | 'adapter' | 'lanes' | 'tables' | 'weights' | 'products' | 'inputs'> & {
    models: readonly string[];
    clients: readonly number[];
    rows: number;
    scale: string;
    seconds: number;
    json?: string;
  }
>();

const chosen =
  options.backend === 'auto' ? program.error('--backend auto: one backend is measured at a time') : options.backend;
const { backend, info, release } = await openBackend({ ...options, backend: chosen });
const origin = performance.now();
const sums = zeros();
watch(backend, sums, origin);
const engine = new GraphEngine(backend);
const figures: object[] = [];
const lending = new SharedPool();
const known = new KnownPieces({
  adopt: (buffer) => backend.adopt?.(buffer),
  disown: (buffer) => backend.disown?.(buffer),
});
function lend(bytes: number): LentMemory {
  const memory = lending.lend(bytes);
  known.hear(lending.takeNews());
  return memory;
}
for (const name of options.models) {
  const { tables, weights, products } = options;
  const precision = { ...(tables ? { tables } : {}), ...(weights ? { weights } : {}) };
  const model = await engine.load(buildZoo(name, options.scale), { precision, ...(products ? { products } : {}) });
  const own = queryPool(name, options.scale, options.rows);
  const pool = options.inputs === 'lent' ? own.map((query) => ({ ...query, inputs: lentInputs(query, lend) })) : own;
  for (const clients of options.clients) {
    const draw = drawer(pool, `clients ${clients}`);
    const loop = (measureMs: number): Promise<unknown> =>
      closedLoop({
        clients,
        warmupMs: 0,
        measureMs,
        next: () => {
          const { rows, inputs } = draw();
          const run = async (): Promise<'answered'> => {
            sums.queries++;
            sums.sentAt += performance.now() - origin;
            await model.run(inputs);
            sums.answeredAt += performance.now() - origin;
            return 'answered';
          };
          return { rows, run };
        },
      });
    await loop(400);
    Object.assign(sums, zeros());
    await loop(1000 * options.seconds);
    const budget = budgetOf(sums);
    figures.push({ model: name, clients, queries: sums.queries, ...budget });
    const parts = Object.entries(budget.parts).map(([part, ms]) => `${part} ${(1000 * ms).toFixed(0)}`);
    const kernels =
      budget.kernels === undefined ? '' : ` (${(100 * budget.kernels).toFixed(0)} % of device in kernels)`;
    console.log(
      `${name.padEnd(5)} ${String(clients).padStart(3)} clients, ${budget.queriesPerWave.toFixed(1)} queries a wave: ${(1000 * budget.latencyMs).toFixed(0)} us = ${parts.join(' + ')}${kernels}`,
    );
  }
  await model.dispose();
}
if (options.json !== undefined) {
  const run = { date: new Date().toISOString(), device: info.adapter, driver: info.driver, options, figures };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
await engine.close();
release();
