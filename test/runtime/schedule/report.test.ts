import { describe, expect, it } from 'vitest';
import { joinReports, type LoadReport } from '../../../runtime/schedule/report.js';

function reportOf(queries: number, busyShare: number, hostUsPerQuery: number): LoadReport {
  const lane = { lane: 0, waves: queries, outstandingUs: 0, bound: undefined };
  return {
    policy: 'recos',
    waiting: { queries: 1, rows: 2 },
    lanes: [lane, { ...lane, lane: 1 }],
    busyShare,
    busyMs: 10 * busyShare,
    elapsedMs: 10,
    waves: queries,
    queries,
    rows: 3 * queries,
    dispatches: 4 * queries,
    scheduleUsPerQuery: 1,
    hostUsPerQuery,
    memory: { budgetBytes: 100, usedBytes: 10, stagingBudgetBytes: 50, stagingBytes: 5, weightBytes: 7 },
    staging: { budgetBytes: 50, leasedBytes: 4, pendingBytes: 3, peakBytes: 9, fragmentation: busyShare },
    models: [{ model: `m${queries}`, bound: 'memory', waves: [] }],
  };
}

describe('joinReports', () => {
  it('adds counts and memory up, and weighs what is a query', () => {
    const joined = joinReports([reportOf(3, 0.2, 10), reportOf(1, 0.6, 30)]);
    expect(joined).toMatchObject({ policy: 'recos', queries: 4, waves: 4, rows: 12, dispatches: 16, busyShare: 0.6 });
    expect(joined.waiting).toEqual({ queries: 2, rows: 4 });
    expect(joined.lanes.map(({ lane, waves }) => [lane, waves])).toEqual([
      [0, 3],
      [1, 3],
      [2, 1],
      [3, 1],
    ]);
    expect([joined.scheduleUsPerQuery, joined.hostUsPerQuery]).toEqual([1, 15]);
    expect(joined.memory).toEqual({
      budgetBytes: 200,
      usedBytes: 20,
      stagingBudgetBytes: 100,
      stagingBytes: 10,
      weightBytes: 14,
    });
    expect(joined.staging).toEqual({
      budgetBytes: 100,
      leasedBytes: 8,
      pendingBytes: 6,
      peakBytes: 18,
      fragmentation: 0.6,
    });
    expect(joined.models.map(({ model }) => model)).toEqual(['m3', 'm1']);
  });

  it('leaves one as it is, and has no time a query without queries', () => {
    const one = reportOf(3, 0.2, 10);
    expect(joinReports([one])).toBe(one);
    expect(joinReports([reportOf(0, 0, 10), reportOf(0, 0, 10)]).hostUsPerQuery).toBe(0);
  });
});
