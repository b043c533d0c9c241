import type { DeviceLoad } from './records.js';
import type { System, SystemReport } from './systems.js';

/** A system's counters over one stretch of time. */
export interface LoadSlice {
  readonly seconds: number;
  readonly busyShare: number;
  readonly queries: number;
  readonly dispatches: number;
  readonly hostUsPerQuery: number;
}

/** Starts watching a system; the function that it returns stops and says what happened in between. */
export function watchLoad(system: System): () => Promise<LoadSlice | undefined> {
  const start = performance.now();
  const before = system.report();
  return async () => {
    const first = await before;
    const last = await system.report();
    return first && last && sliceOf(first, last, (performance.now() - start) / 1000);
  };
}

function sliceOf(first: SystemReport, last: SystemReport, seconds: number): LoadSlice {
  return {
    seconds,
    busyShare: last.busyShare,
    queries: last.queries - first.queries,
    dispatches: last.dispatches - first.dispatches,
    hostUsPerQuery: last.hostUsPerQuery,
  };
}

/** Several stretches as one: shares weighted by time, figures a query by queries. */
export function poolLoad(slices: readonly LoadSlice[]): DeviceLoad {
  const total = (of: (slice: LoadSlice) => number): number => slices.reduce((sum, slice) => sum + of(slice), 0);
  const queries = total((slice) => slice.queries);
  if (queries === 0) return { busyShare: null, dispatchesPerQuery: null, hostUsPerQuery: null };
  return {
    busyShare: total((slice) => slice.busyShare * slice.seconds) / total((slice) => slice.seconds),
    dispatchesPerQuery: total((slice) => slice.dispatches) / queries,
    hostUsPerQuery: total((slice) => slice.hostUsPerQuery * slice.queries) / queries,
  };
}
