import { describe, expect, it } from 'vitest';
import type { ConcurrencyFigures, ConcurrencyRun } from '../../bench/common/records.js';
import { concurrencyTable } from '../../bench/concurrency/table.js';
import { compareRuns } from '../../bench/peers/compare.js';

function figures(system: string, variant: string, clients: number, meanMs: number | null): ConcurrencyFigures {
  return {
    system,
    variant,
    model: 'wnd',
    clients,
    queries: 10,
    rejected: 0,
    meanMs,
    p50Ms: meanMs,
    p95Ms: meanMs,
    p99Ms: meanMs,
    queriesPerSecond: 1,
    rowsPerSecond: 256,
    meanMsByModel: { wnd: meanMs },
    busyShare: null,
    dispatchesPerQuery: null,
    hostUsPerQuery: null,
    scheduleUsPerQuery: null,
    meanRatios: {},
  };
}

function run(adapter: string, of: readonly ConcurrencyFigures[], rows = '256'): ConcurrencyRun {
  const device = { adapter, driver: '1', origin: 'hardware' };
  return { bench: 'concurrency', date: '', command: adapter, device, rows, scale: 'bench', figures: of };
}

const braid = run('GPU', [figures('braid', 'recos', 1, 2), figures('braid', 'recos', 8, 4)]);
const peer = run('GPU', [figures('pytorch', 'eager', 1, 3), figures('pytorch', 'eager', 30, 9)]);

describe('comparing with peers', () => {
  it('sets figures of the same clients beside each other, with ratios', () => {
    const compared = compareRuns(
      [
        { file: 'a', run: braid },
        { file: 'b', run: peer },
      ],
      'braid recos',
    );
    expect(compared.figures.map(({ clients, system, meanRatios }) => [clients, system, meanRatios])).toEqual([
      [1, 'braid', { 'braid recos': 1 }],
      [1, 'pytorch', { 'braid recos': 1.5 }],
      [8, 'braid', { 'braid recos': 1 }],
      [30, 'pytorch', { 'braid recos': null }],
    ]);
    expect(compared.device.driver).toBe('1');
    const { columns, rows } = concurrencyTable(compared.figures);
    expect(columns.at(-1)!.title).toBe('mean / braid recos');
    expect(rows.map((row) => row.at(-1))).toEqual(['1.00', '1.50', '1.00', '-']);
  });

  it('names both devices where they differ', () => {
    const other = run('CPU', [figures('onnxruntime', 'cpu', 1, 5)]);
    const compared = compareRuns(
      [
        { file: 'a', run: braid },
        { file: 'b', run: other },
      ],
      'onnxruntime cpu',
    );
    expect(compared.device.adapter).toBe('GPU and CPU');
  });

  it('refuses runs of different queries, and a base that nobody ran', () => {
    const other = run('GPU', [], 'mlperf');
    const named = { file: 'a.json', run: braid };
    expect(() => compareRuns([named, { file: 'b.json', run: other }], 'braid recos')).toThrow(
      'b.json: rows mlperf, but a.json has 256',
    );
    expect(() => compareRuns([named], 'braid batch')).toThrow("no figures of 'braid batch'; there are braid recos");
  });
});
