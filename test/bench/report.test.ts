import { describe, expect, it } from 'vitest';
import type { ConcurrencyFigures, ConcurrencyRun, TrafficFigures, TrafficRun } from '../../bench/common/records.js';
import { escapeHtml } from '../../bench/report/html.js';
import { renderReport } from '../../bench/report/index.js';

const run = {
  date: '2026-11-24T10:20:30.000Z',
  command: 'node main.js --models "<all>"',
  device: { adapter: 'Some adapter', driver: '1.2', origin: 'hardware' },
  rows: 'mlperf',
  scale: 'tiny',
};
const latency = { meanMs: 2, p50Ms: 1.5, p95Ms: 3, p99Ms: 4 };
const load = { busyShare: 0.75, dispatchesPerQuery: 2.5, hostUsPerQuery: null, scheduleUsPerQuery: 4 };

function concurrency(variant: string, clients: number): ConcurrencyFigures {
  return {
    system: 'braid',
    variant,
    model: 'wnd',
    clients,
    queries: 100,
    rejected: 0,
    ...latency,
    ...load,
    queriesPerSecond: 500,
    rowsPerSecond: 135_000,
    meanMsByModel: { wnd: 2 },
    meanRatios: { query: 0.5 },
  };
}

const traffic: TrafficFigures = {
  system: 'braid',
  variant: 'recos',
  model: 'mix',
  curve: 'pulse',
  rate: 10,
  seconds: 2,
  offered: 20,
  rejected: 1,
  withinSla: 0.9,
  sendLagP99Ms: 0.2,
  ...latency,
  ...load,
  bins: [
    { atSeconds: 0.5, rate: 5, offered: 10, p50Ms: 1, p99Ms: 2, withinSla: 1 },
    { atSeconds: 1.5, rate: 15, offered: 0, p50Ms: null, p99Ms: null, withinSla: null },
  ],
};

const runs: readonly [ConcurrencyRun, TrafficRun] = [
  { ...run, bench: 'concurrency', figures: [concurrency('query', 1), concurrency('recos', 8)] },
  {
    ...run,
    bench: 'traffic',
    slaMs: 10,
    deadlineMs: null,
    figures: [traffic],
    searches: [{ system: 'braid', variant: 'recos', model: 'mix', curve: 'pulse', maxRate: 40, probes: [] }],
  },
];

describe('the report', () => {
  it('draws its charts and stands alone', async () => {
    const html = await renderReport(runs);
    // Three of concurrency; latency, SLA and search of traffic.
    expect(html.match(/<svg/g)).toHaveLength(6);
    expect(html).not.toMatch(/NaN|undefined|<script|<link|(?:src|href)="http/);
    // Nothing but the names of SVG's namespaces has an address.
    expect(html.replaceAll(/xmlns(?::\w+)?="[^"]*"/g, '')).not.toContain('http');
  });

  it('says what ran, on what and when, and holds the figures', async () => {
    const html = await renderReport(runs);
    expect(html).toContain(escapeHtml(run.command));
    expect(html).toContain('Some adapter driver 1.2 (hardware)');
    expect(html).toContain('2026-11-24 10:20');
    expect(html).toContain('braid recos');
    expect(html).toContain('135000');
    expect(html).toContain('90.0 %');
  });

  it('escapes what it did not write', () => {
    expect(escapeHtml('<a href="x">&</a>')).toBe('&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;');
  });
});
