/** What a report says about a run, in HTML. */
import { deviceLine } from '../common/format.js';
import type { ConcurrencyRun, Run, TrafficFigures, TrafficRun } from '../common/records.js';
import { concurrencyTable } from '../concurrency/table.js';
import { searchTable, trafficTable } from '../traffic/table.js';
import { clientsChart, searchChart, slaChart, trafficChart } from './charts.js';
import { escapeHtml, figure, htmlTable } from './html.js';
import { toSvg } from './svg.js';

export async function runSection(run: Run): Promise<string> {
  const parts = run.bench === 'concurrency' ? await concurrencyParts(run) : await trafficParts(run);
  return `<section>\n${[heading(run), ...parts].join('\n')}\n</section>`;
}

function heading(run: Run): string {
  const title = run.bench === 'concurrency' ? 'Concurrent clients, closed loop' : 'Traffic, open loop';
  return `<h2>${title}</h2>
<p>${escapeHtml(deviceLine(run.device))}, ${escapeHtml(run.date.slice(0, 16).replace('T', ' '))} UTC,
${escapeHtml(run.rows)} rows a query, models at scale ${escapeHtml(run.scale)}</p>
<p><code>${escapeHtml(run.command)}</code></p>`;
}

async function concurrencyParts({ figures }: ConcurrencyRun): Promise<readonly string[]> {
  return [
    figure('Mean latency by number of clients', await toSvg(clientsChart(figures, 'meanMs', 'mean, ms'))),
    figure(
      '99th percentile of the latency by number of clients',
      await toSvg(clientsChart(figures, 'p99Ms', 'p99, ms')),
    ),
    figure('Throughput by number of clients', await toSvg(clientsChart(figures, 'queriesPerSecond', 'queries/s'))),
    htmlTable(concurrencyTable(figures)),
  ];
}

async function trafficParts({ figures, searches, slaMs, deadlineMs }: TrafficRun): Promise<readonly string[]> {
  const deadline = deadlineMs === null ? '' : `, queries are sent with a deadline of ${deadlineMs} ms`;
  const parts = [`<p>The SLA is ${slaMs} ms${deadline}. Latency counts from when a query was due.</p>`];
  for (const group of byModelAndCurve(figures)) {
    const { model, curve } = group[0]!;
    const caption = `${model}, ${curve}: latency by arrival, the SLA dotted, and the rate of arrivals`;
    parts.push(figure(caption, await toSvg(trafficChart(group, slaMs))));
  }
  parts.push(
    figure('Share of queries within the SLA', await toSvg(slaChart(figures))),
    htmlTable(trafficTable(figures)),
  );
  if (searches.length > 0) {
    parts.push(
      figure('Highest rate at which 99 % of the queries met the SLA', await toSvg(searchChart(searches))),
      htmlTable(searchTable(searches)),
    );
  }
  return parts;
}

function byModelAndCurve(figures: readonly TrafficFigures[]): readonly (readonly TrafficFigures[])[] {
  const groups = new Map<string, TrafficFigures[]>();
  for (const f of figures) {
    const key = `${f.model} ${f.curve}`;
    groups.set(key, [...(groups.get(key) ?? []), f]);
  }
  return [...groups.values()];
}
