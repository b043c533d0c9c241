import type { DeviceLoad } from './records.js';
import type { Counters, System } from './systems.js';

/** Starts watching a system; the function that it returns says what was counted since. */
export function watchLoad(system: System): () => Promise<Counters | undefined> {
  const before = system.counters();
  return async () => {
    const [first, last] = [await before, await system.counters()];
    return first && last && combine(last, first, (a, b) => a - b);
  };
}

/** Several stretches of one system's time as one. */
export function poolLoad(stretches: readonly Counters[]): DeviceLoad {
  const total = stretches.reduce((sum, stretch) => combine(sum, stretch, (a, b) => a + b), NOTHING);
  const perQuery = (count: number): number | null => (total.queries === 0 ? null : count / total.queries);
  return {
    busyShare: total.elapsedMs === 0 ? null : total.busyMs / total.elapsedMs,
    dispatchesPerQuery: perQuery(total.dispatches),
    hostUsPerQuery: perQuery(total.hostUs),
    scheduleUsPerQuery: perQuery(total.scheduleUs),
  };
}

const NOTHING: Counters = { elapsedMs: 0, busyMs: 0, queries: 0, dispatches: 0, hostUs: 0, scheduleUs: 0 };

function combine(a: Counters, b: Counters, of: (a: number, b: number) => number): Counters {
  return {
    elapsedMs: of(a.elapsedMs, b.elapsedMs),
    busyMs: of(a.busyMs, b.busyMs),
    queries: of(a.queries, b.queries),
    dispatches: of(a.dispatches, b.dispatches),
    hostUs: of(a.hostUs, b.hostUs),
    scheduleUs: of(a.scheduleUs, b.scheduleUs),
  };
}
