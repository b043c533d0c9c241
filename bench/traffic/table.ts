import { columns, fixed, percent, type Table } from '../common/format.js';
import { seriesLabel, type SearchFigures, type TrafficFigures } from '../common/records.js';

const LATENCIES = ['mean ms', 'p50', 'p95', 'p99', 'within SLA', 'send lag p99'];
const LOADS = ['busy', 'dispatches/query', 'host us/query', 'schedule us/query'];

export function trafficTable(figures: readonly TrafficFigures[]): Table {
  return {
    columns: columns(['model', 'curve', 'system'], ['rate/s', 'queries', 'rejected', ...LATENCIES, ...LOADS]),
    rows: figures.map((f) => [
      f.model,
      f.curve,
      seriesLabel(f),
      fixed(f.rate, 1),
      String(f.offered),
      String(f.rejected),
      fixed(f.meanMs, 3),
      fixed(f.p50Ms, 3),
      fixed(f.p95Ms, 3),
      fixed(f.p99Ms, 3),
      percent(f.withinSla),
      fixed(f.sendLagP99Ms, 3),
      percent(f.busyShare),
      fixed(f.dispatchesPerQuery, 2),
      fixed(f.hostUsPerQuery, 1),
      fixed(f.scheduleUsPerQuery, 1),
    ]),
  };
}

export function searchTable(searches: readonly SearchFigures[]): Table {
  return {
    columns: columns(['model', 'curve', 'system'], ['highest rate/s', 'within SLA there', 'p99 ms there', 'probes']),
    rows: searches.map((s) => {
      const best = s.probes.find(({ rate }) => rate === s.maxRate);
      return [
        s.model,
        s.curve,
        seriesLabel(s),
        fixed(s.maxRate, 1),
        percent(best?.withinSla ?? null),
        fixed(best?.p99Ms ?? null, 3),
        String(s.probes.length),
      ];
    }),
  };
}
