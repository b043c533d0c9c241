/** Measures systems under open-loop arrivals. */
import { closedLoop } from '../common/closed-loop.js';
import { poolLoad, watchLoad } from '../common/device-load.js';
import { drawer, queryPool, type Workload } from '../common/queries.js';
import type { Probe, SearchFigures, TrafficFigures } from '../common/records.js';
import type { QuerySizes } from '../common/sizes.js';
import type { Counters, LoadedModels, PreparedQuery, System } from '../common/systems.js';
import { inTurns } from '../common/turns.js';
import { arrivals } from './arrivals.js';
import { rateCurve, type CurveName, type RateCurve } from './curves.js';
import { play, type Played } from './play.js';
import { RateSearch, type SearchOptions } from './search.js';
import { binPlayed, summarizePlayed } from './summary.js';

export interface TrafficSettings {
  readonly curves: readonly CurveName[];
  readonly rows: QuerySizes;
  readonly scale: string;
  readonly rate: number;
  /** Of one play of a curve. */
  readonly seconds: number;
  readonly warmup: number;
  /** Plays of a curve for each system, each with arrivals of its own. */
  readonly rounds: number;
  readonly bins: number;
  readonly slaMs: number;
  readonly seed: number;
}

export interface SearchSettings extends Omit<SearchOptions, 'start'> {
  /** Least time and least queries of a probe: a 99th percentile of few queries is luck. */
  readonly probeSeconds: number;
  readonly probeQueries: number;
}

/** Share of queries that have to meet the SLA for a rate to pass. */
const SLA_SHARE = 0.99;

const WARMUP_CLIENTS = 8;
/** Of each system, before the first figure. */
const FIRST_WARMUP_MS = 500;

interface Contestant {
  readonly system: System;
  readonly loaded: LoadedModels;
  readonly pool: readonly PreparedQuery[];
}

/** Loads a workload in every system for as long as `use` takes. */
export async function withContestants<T>(
  systems: readonly System[],
  workload: Workload,
  { scale, rows }: TrafficSettings,
  use: (contestants: readonly Contestant[]) => Promise<T>,
): Promise<T> {
  // One pool over all models: each arrival draws its model along with its query.
  const pool = workload.models.flatMap((model) => queryPool(model, scale, rows));
  const contestants: Contestant[] = [];
  for (const system of systems) {
    const loaded = await system.load(workload.models, scale);
    contestants.push({ system, loaded, pool: pool.map((query) => loaded.prepare(query)) });
  }
  // Code that has not run yet is slow, and would count against whoever comes first.
  for (const { pool: own } of contestants)
    await closedLoop({
      clients: WARMUP_CLIENTS,
      warmupMs: 0,
      measureMs: FIRST_WARMUP_MS,
      next: drawer(own, 'first'),
    });
  const result = await use(contestants);
  for (const { loaded } of contestants) await loaded.release();
  return result;
}

/** Plays a curve to all systems in turns, with the same arrivals and queries for each. */
export async function measureCurve(
  contestants: readonly Contestant[],
  model: string,
  name: CurveName,
  settings: TrafficSettings,
): Promise<readonly TrafficFigures[]> {
  const curve = rateCurve(name);
  const { rate, seconds, slaMs, rounds } = settings;
  const plays = await inTurns(contestants, rounds, (contestant, round) =>
    playOnce(contestant, curve, { ...settings, seed: settings.seed + round }),
  );
  return contestants.map(({ system }, i) => {
    const played = plays[i]!.flatMap((result) => result.played);
    return {
      system: system.name,
      variant: system.variant,
      model,
      curve: name,
      rate,
      seconds,
      ...summarizePlayed(played, slaMs),
      ...poolLoad(plays[i]!.flatMap(({ load }) => load ?? [])),
      bins: binPlayed(played, curve, { count: settings.bins, seconds, rate, slaMs }),
    };
  });
}

/** Searches each system's highest rate that meets the SLA; systems take turns, a probe each. */
export async function searchRates(
  contestants: readonly Contestant[],
  model: string,
  name: CurveName,
  settings: TrafficSettings,
  search: SearchSettings,
): Promise<readonly SearchFigures[]> {
  const curve = rateCurve(name);
  const states = contestants.map((contestant) => ({
    contestant,
    search: new RateSearch({ ...search, start: settings.rate }),
    probes: [] as Probe[],
  }));
  for (let open = states; open.length > 0; open = open.filter((state) => state.search.next() !== undefined)) {
    for (const { contestant, search: own, probes } of open) {
      const rate = own.next()!;
      const seconds = Math.max(search.probeSeconds, search.probeQueries / rate);
      const { played } = await playOnce(contestant, curve, { ...settings, rate, seconds });
      const { offered, withinSla, p99Ms } = summarizePlayed(played, settings.slaMs);
      own.record(rate, withinSla >= SLA_SHARE);
      probes.push({ rate, offered, withinSla, p99Ms });
    }
  }
  return states.map(({ contestant: { system }, search: { best }, probes }) => ({
    system: system.name,
    variant: system.variant,
    model,
    curve: name,
    maxRate: best,
    probes,
  }));
}

interface PlayResult {
  readonly played: readonly Played[];
  readonly load: Counters | undefined;
}

async function playOnce(
  { system, pool }: Contestant,
  curve: RateCurve,
  { rate, seconds, warmup, seed }: TrafficSettings,
): Promise<PlayResult> {
  const next = drawer(pool, `arrivals ${seed}`);
  await closedLoop({ clients: WARMUP_CLIENTS, warmupMs: 0, measureMs: 1000 * warmup, next });
  const stop = watchLoad(system);
  const played = await play(arrivals(curve, { rate, seconds, seed }), drawer(pool, `queries ${seed}`));
  return { played, load: await stop() };
}
