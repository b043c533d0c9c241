import { seriesLabel, type ConcurrencyFigures, type ConcurrencyRun } from '../common/records.js';
import { ratio } from '../common/statistics.js';

export interface NamedRun {
  /** File it came from, for messages. */
  readonly file: string;
  readonly run: ConcurrencyRun;
}

/**
 * Runs of several systems as one, each figure with its mean over that of the series `base`.
 * @throws Error where runs differ in what they ran, or none has the base.
 */
export function compareRuns(runs: readonly NamedRun[], base: string): ConcurrencyRun {
  const [first, ...others] = runs as readonly [NamedRun, ...NamedRun[]];
  for (const { file, run } of others) {
    for (const key of ['rows', 'scale'] as const) {
      if (run[key] !== first.run[key]) {
        throw new Error(`${file}: ${key} ${run[key]}, but ${first.file} has ${first.run[key]}: they do not compare`);
      }
    }
  }
  const figures = runs.flatMap(({ run }) => run.figures);
  const known = [...new Set(figures.map(seriesLabel))];
  if (!known.includes(base)) throw new Error(`no figures of '${base}'; there are ${known.join(', ')}`);
  const adapters = [...new Set(runs.map(({ run }) => run.device.adapter))];
  return {
    ...first.run,
    command: runs.map(({ run }) => run.command).join('; '),
    device: adapters.length === 1 ? first.run.device : { adapter: adapters.join(' and '), driver: '', origin: '' },
    figures: inOrder(figures).map((f) => {
      const other = figures.find((g) => seriesLabel(g) === base && g.model === f.model && g.clients === f.clients);
      return { ...f, meanRatios: { [base]: ratio(f.meanMs, other?.meanMs) } };
    }),
  };
}

/** By model and number of clients, so that what compares stands together; both in the order they first came in. */
function inOrder(figures: readonly ConcurrencyFigures[]): readonly ConcurrencyFigures[] {
  const groups = new Map<string, ConcurrencyFigures[]>();
  for (const model of new Set(figures.map((f) => f.model))) {
    for (const clients of new Set(figures.map((f) => f.clients))) groups.set(`${model} ${clients}`, []);
  }
  for (const f of figures) groups.get(`${f.model} ${f.clients}`)!.push(f);
  return [...groups.values()].flat();
}
