import { describe, expect, it } from 'vitest';
import { poolLoad } from '../../bench/common/device-load.js';
import { quantile, ratio, summarize } from '../../bench/common/statistics.js';

describe('statistics of latencies', () => {
  it('summarizes in any order', () => {
    const latencies = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect(summarize(latencies)).toEqual({ meanMs: 50.5, p50Ms: 51, p95Ms: 96, p99Ms: 100 });
  });

  it('has no figures of nothing', () => {
    expect(summarize([])).toEqual({ meanMs: null, p50Ms: null, p95Ms: null, p99Ms: null });
    expect(quantile([], 0.5)).toBeNull();
  });

  it('takes the only value there is', () => {
    expect(quantile([7], 0.99)).toBe(7);
  });

  it('has no ratio to nothing', () => {
    expect(ratio(3, 2)).toBe(1.5);
    expect(ratio(3, undefined)).toBeNull();
    expect(ratio(null, 2)).toBeNull();
    expect(ratio(3, 0)).toBeNull();
  });

  it('pools stretches of time by what was counted in each', () => {
    const pooled = poolLoad([
      { elapsedMs: 1000, busyMs: 200, queries: 30, dispatches: 60, hostUs: 300, scheduleUs: 30 },
      { elapsedMs: 3000, busyMs: 1800, queries: 10, dispatches: 60, hostUs: 500, scheduleUs: 50 },
    ]);
    expect(pooled).toEqual({ busyShare: 0.5, dispatchesPerQuery: 3, hostUsPerQuery: 20, scheduleUsPerQuery: 2 });
  });

  it('says nothing of a system that counts nothing', () => {
    const nothing = { busyShare: null, dispatchesPerQuery: null, hostUsPerQuery: null, scheduleUsPerQuery: null };
    expect(poolLoad([])).toEqual(nothing);
  });
});
