import { columns, fixed, percent, type Table } from '../common/format.js';
import { seriesLabel, type ConcurrencyFigures } from '../common/records.js';

/** Figures as a table, with a column for each series that means are compared with. */
export function concurrencyTable(figures: readonly ConcurrencyFigures[]): Table {
  const baselines = [...new Set(figures.flatMap(({ meanRatios }) => Object.keys(meanRatios)))];
  const mixed = figures.some(({ meanMsByModel }) => Object.keys(meanMsByModel).length > 1);
  const numbers = [
    'clients',
    'queries',
    'mean ms',
    'p50',
    'p95',
    'p99',
    'queries/s',
    'rows/s',
    'busy',
    'dispatches/query',
    'host us/query',
    'schedule us/query',
    ...baselines.map((baseline) => `mean / ${baseline}`),
  ];
  return {
    columns: [...columns(['model', 'system'], numbers), ...(mixed ? columns(['mean ms by model'], []) : [])],
    rows: figures.map((f) => [
      f.model,
      seriesLabel(f),
      String(f.clients),
      f.rejected === 0 ? String(f.queries) : `${f.queries} (${f.rejected} rejected)`,
      fixed(f.meanMs, 3),
      fixed(f.p50Ms, 3),
      fixed(f.p95Ms, 3),
      fixed(f.p99Ms, 3),
      fixed(f.queriesPerSecond, f.queriesPerSecond < 100 ? 1 : 0),
      fixed(f.rowsPerSecond, 0),
      percent(f.busyShare),
      fixed(f.dispatchesPerQuery, 2),
      fixed(f.hostUsPerQuery, 1),
      fixed(f.scheduleUsPerQuery, 1),
      ...baselines.map((baseline) => fixed(f.meanRatios[baseline] ?? null, 2)),
      ...(mixed ? [byModel(f)] : []),
    ]),
  };
}

function byModel({ meanMsByModel }: ConcurrencyFigures): string {
  const means = Object.entries(meanMsByModel);
  // Of one model it would be the mean again.
  if (means.length === 1) return '';
  return means.map(([model, meanMs]) => `${model} ${fixed(meanMs, 2)}`).join(', ');
}
