/** What the charts of a report show, as Vega-Lite specifications. */
import type { TopLevelSpec } from 'vega-lite';
import { seriesLabel, type ConcurrencyFigures, type SearchFigures, type TrafficFigures } from '../common/records.js';

const WIDTH = 220;
const HEIGHT = 200;

/** Of the figures that a chart of concurrency can show. */
type ConcurrencyMeasure = 'meanMs' | 'p99Ms' | 'queriesPerSecond';

const series = { field: 'series', type: 'nominal', title: null } as const;

function base(values: readonly object[]) {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    data: { values: [...values] },
    config: { font: 'sans-serif', range: { category: { scheme: 'tableau10' } } },
  } satisfies Partial<TopLevelSpec> & object;
}

/** A panel a model, in the order of the run. */
function models(values: readonly { readonly model: string }[]) {
  const sort = [...new Set(values.map(({ model }) => model))];
  return { column: { field: 'model', type: 'nominal' as const, title: null, sort } };
}

/** A measure by number of clients: a panel a model, a line a series. */
export function clientsChart(
  figures: readonly ConcurrencyFigures[],
  measure: ConcurrencyMeasure,
  title: string,
): TopLevelSpec {
  const values = figures.map((f) => ({
    model: f.model,
    clients: f.clients,
    series: seriesLabel(f),
    value: f[measure],
  }));
  const levels = [...new Set(figures.map(({ clients }) => clients))];
  return {
    ...base(values),
    facet: models(figures),
    spec: {
      width: WIDTH,
      height: HEIGHT,
      mark: { type: 'line', point: true },
      encoding: {
        x: { field: 'clients', type: 'quantitative', title: 'clients', axis: { values: levels } },
        y: { field: 'value', type: 'quantitative', title },
        color: series,
      },
    },
    // Models differ by an order of magnitude.
    resolve: { scale: { y: 'independent' } },
  };
}

/** Latency by when queries were due, over the rate at which they came. The figures are of one model and one curve. */
export function trafficChart(figures: readonly TrafficFigures[], slaMs: number): TopLevelSpec {
  const latencies = figures.flatMap((f) =>
    f.bins.flatMap(({ atSeconds, p50Ms, p99Ms }) => [
      { series: seriesLabel(f), quantile: 'p50', atSeconds, ms: p50Ms },
      { series: seriesLabel(f), quantile: 'p99', atSeconds, ms: p99Ms },
    ]),
  );
  const rates = figures[0]!.bins.map(({ atSeconds, rate }) => ({ atSeconds, rate }));
  const width = 2 * WIDTH;
  const x = { field: 'atSeconds', type: 'quantitative', title: 'arrival, seconds from the start' } as const;
  return {
    ...base(latencies),
    vconcat: [
      {
        width,
        height: HEIGHT,
        layer: [
          {
            mark: { type: 'line' },
            encoding: {
              x: { ...x, title: null },
              y: { field: 'ms', type: 'quantitative', title: 'latency, ms', scale: { type: 'log' } },
              color: series,
              strokeDash: { field: 'quantile', type: 'nominal', title: null, sort: ['p99', 'p50'] },
            },
          },
          { mark: { type: 'rule', strokeDash: [2, 2] }, encoding: { y: { datum: slaMs } } },
        ],
      },
      {
        width,
        height: HEIGHT / 3,
        data: { values: rates },
        mark: { type: 'area', interpolate: 'step', color: '#bbb' },
        encoding: { x, y: { field: 'rate', type: 'quantitative', title: 'queries/s' } },
      },
    ],
  };
}

/** Share of queries within the SLA: a panel a model, a group of bars a curve. */
export function slaChart(figures: readonly TrafficFigures[]): TopLevelSpec {
  const values = figures.map((f) => ({ model: f.model, curve: f.curve, series: seriesLabel(f), share: f.withinSla }));
  return barChart(values, 'share', 'within the SLA', { format: '%', domain: [0, 1] });
}

/** Highest rate within the SLA, likewise. */
export function searchChart(searches: readonly SearchFigures[]): TopLevelSpec {
  const values = searches.map((s) => ({ model: s.model, curve: s.curve, series: seriesLabel(s), rate: s.maxRate }));
  return barChart(values, 'rate', 'highest queries/s', {});
}

function barChart(
  values: readonly { readonly model: string }[],
  field: string,
  title: string,
  axis: { format?: string; domain?: [number, number] },
): TopLevelSpec {
  return {
    ...base(values),
    facet: models(values),
    spec: {
      width: WIDTH,
      height: HEIGHT,
      mark: 'bar',
      encoding: {
        x: { field: 'curve', type: 'nominal', title: null, sort: null, axis: { labelAngle: 0 } },
        xOffset: { field: 'series' },
        y: {
          field,
          type: 'quantitative',
          title,
          ...(axis.format === undefined ? {} : { axis: { format: axis.format } }),
          ...(axis.domain === undefined ? {} : { scale: { domain: axis.domain } }),
        },
        color: series,
      },
    },
    resolve: { scale: { y: 'independent' } },
  };
}
