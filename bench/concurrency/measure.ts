/** Measures systems under closed-loop clients, one workload and number of clients at a time. */
import { closedLoop, type Answer, type LoopResult } from '../common/closed-loop.js';
import { poolLoad, watchLoad } from '../common/device-load.js';
import { drawer, queryPool, type Workload } from '../common/queries.js';
import type { ConcurrencyFigures } from '../common/records.js';
import type { QuerySizes } from '../common/sizes.js';
import { mean, ratio, summarize } from '../common/statistics.js';
import type { Counters, LoadedModels, PreparedQuery, System } from '../common/systems.js';
import { inTurns } from '../common/turns.js';

export interface ConcurrencySettings {
  readonly clients: readonly number[];
  readonly rows: QuerySizes;
  readonly scale: string;
  /** Measured for each system, workload and number of clients, over all rounds. */
  readonly seconds: number;
  /** Before every round of a system. */
  readonly warmup: number;
  readonly rounds: number;
  /** Variants that mean latencies are compared with. */
  readonly baselines: readonly string[];
}

interface Contestant {
  readonly system: System;
  readonly loaded: LoadedModels;
  /** A pool of queries for each model of the workload. */
  readonly pools: readonly (readonly PreparedQuery[])[];
}

interface Slice {
  readonly loop: LoopResult;
  readonly load: Counters | undefined;
}

/** Figures of all systems on a workload; `onFigures` gets those of each number of clients as they come. */
export async function measureWorkload(
  systems: readonly System[],
  workload: Workload,
  settings: ConcurrencySettings,
  onFigures: (figures: readonly ConcurrencyFigures[]) => void,
): Promise<readonly ConcurrencyFigures[]> {
  const pools = workload.models.map((model) => queryPool(model, settings.scale, settings.rows));
  const contestants: Contestant[] = [];
  for (const system of systems) {
    const loaded = await system.load(workload.models, settings.scale);
    contestants.push({ system, loaded, pools: pools.map((pool) => pool.map((query) => loaded.prepare(query))) });
  }
  const all: ConcurrencyFigures[] = [];
  for (const clients of settings.clients) {
    const figures = withRatios(await measureLevel(contestants, workload, clients, settings), settings.baselines);
    onFigures(figures);
    all.push(...figures);
  }
  for (const { loaded } of contestants) await loaded.release();
  return all;
}

type PlainFigures = Omit<ConcurrencyFigures, 'meanRatios'>;

async function measureLevel(
  contestants: readonly Contestant[],
  workload: Workload,
  clients: number,
  settings: ConcurrencySettings,
): Promise<readonly PlainFigures[]> {
  const slices = await inTurns(contestants, settings.rounds, (contestant, round) =>
    measureSlice(contestant, clients, round, settings),
  );
  return contestants.map(({ system }, i) => poolSlices(system, workload, clients, slices[i]!));
}

async function measureSlice(
  { system, pools }: Contestant,
  clients: number,
  round: number,
  { seconds, warmup, rounds }: ConcurrencySettings,
): Promise<Slice> {
  // Clients are spread over the models in turn. All systems get the same draws.
  const draw = Array.from({ length: clients }, (_, client) =>
    drawer(pools[client % pools.length]!, `round ${round} client ${client}`),
  );
  let stop: (() => Promise<Counters | undefined>) | undefined;
  const loop = await closedLoop({
    clients,
    warmupMs: 1000 * warmup,
    measureMs: (1000 * seconds) / rounds,
    next: (client) => draw[client]!(),
    onMeasure: () => {
      stop = watchLoad(system);
    },
  });
  return { loop, load: await stop?.() };
}

function poolSlices(system: System, workload: Workload, clients: number, slices: readonly Slice[]): PlainFigures {
  const answers = slices.flatMap(({ loop }) => loop.answers);
  const seconds = slices.reduce((sum, { loop }) => sum + loop.seconds, 0);
  return {
    system: system.name,
    variant: system.variant,
    model: workload.name,
    clients,
    queries: answers.length,
    rejected: slices.reduce((sum, { loop }) => sum + loop.rejected, 0),
    ...summarize(answers.map(({ latencyMs }) => latencyMs)),
    queriesPerSecond: answers.length / seconds,
    rowsPerSecond: answers.reduce((sum, { rows }) => sum + rows, 0) / seconds,
    meanMsByModel: meansByModel(workload.models, answers),
    ...poolLoad(slices.flatMap(({ load }) => load ?? [])),
  };
}

function meansByModel(models: readonly string[], answers: readonly Answer[]): Record<string, number | null> {
  return Object.fromEntries(
    models.map((model, i) => [
      model,
      mean(answers.flatMap(({ client, latencyMs }) => (client % models.length === i ? latencyMs : []))),
    ]),
  );
}

function withRatios(figures: readonly PlainFigures[], baselines: readonly string[]): readonly ConcurrencyFigures[] {
  const bases = baselines.flatMap((variant) => figures.find((other) => other.variant === variant) ?? []);
  return figures.map((f) => ({
    ...f,
    meanRatios: Object.fromEntries(bases.map((base) => [base.variant, ratio(f.meanMs, base.meanMs)])),
  }));
}
