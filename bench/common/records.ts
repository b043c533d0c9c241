/** The files that benchmarks write and reports read. */
import { readFile, writeFile } from 'node:fs/promises';
import { basename, relative } from 'node:path';
import type { LatencySummary } from './statistics.js';

export interface DeviceRecord {
  readonly adapter: string;
  readonly driver: string;
  /** How the device was found. */
  readonly origin: string;
}

interface RunRecord {
  readonly date: string;
  readonly command: string;
  readonly device: DeviceRecord;
  /** Rows of a query: a number, or `mlperf`. */
  readonly rows: string;
  readonly scale: string;
}

/** Who was measured. */
export interface Series {
  readonly system: string;
  readonly variant: string;
}

/** What a system's own counters add to what a client sees. */
export interface DeviceLoad {
  readonly busyShare: number | null;
  readonly dispatchesPerQuery: number | null;
  readonly hostUsPerQuery: number | null;
  readonly scheduleUsPerQuery: number | null;
}

export interface ConcurrencyFigures extends Series, LatencySummary, DeviceLoad {
  /** A model of the zoo, or `mix`. */
  readonly model: string;
  readonly clients: number;
  readonly queries: number;
  readonly rejected: number;
  readonly queriesPerSecond: number;
  readonly rowsPerSecond: number;
  /** A mix's mean favours its quickest model, whose clients ask most often. */
  readonly meanMsByModel: Readonly<Record<string, number | null>>;
  /** Mean latency over that of other series at the same model and number of clients, by their names. */
  readonly meanRatios: Readonly<Record<string, number | null>>;
}

export interface ConcurrencyRun extends RunRecord {
  readonly bench: 'concurrency';
  readonly figures: readonly ConcurrencyFigures[];
}

/** Queries by when they were due. */
export interface TrafficBin {
  /** Middle of the bin. */
  readonly atSeconds: number;
  /** What the curve asks for there, queries a second. */
  readonly rate: number;
  readonly offered: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly withinSla: number | null;
}

export interface TrafficFigures extends Series, LatencySummary, DeviceLoad {
  readonly model: string;
  readonly curve: string;
  /** Mean over the curve, queries a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly offered: number;
  readonly rejected: number;
  /** Share of offered queries answered within the SLA; a rejected one is not. */
  readonly withinSla: number;
  /** How late queries were sent: the load generator's own share of the latency. */
  readonly sendLagP99Ms: number | null;
  readonly bins: readonly TrafficBin[];
}

export interface Probe {
  readonly rate: number;
  readonly offered: number;
  readonly withinSla: number;
  readonly p99Ms: number | null;
}

export interface SearchFigures extends Series {
  readonly model: string;
  readonly curve: string;
  /** The highest rate tried at which 99 % of the queries met the SLA; null where none did. */
  readonly maxRate: number | null;
  readonly probes: readonly Probe[];
}

export interface TrafficRun extends RunRecord {
  readonly bench: 'traffic';
  readonly slaMs: number;
  readonly deadlineMs: number | null;
  readonly figures: readonly TrafficFigures[];
  readonly searches: readonly SearchFigures[];
}

export type Run = ConcurrencyRun | TrafficRun;

export function seriesLabel({ system, variant }: Series): string {
  return `${system} ${variant}`;
}

/** The command that is running, with paths as seen from the working directory. */
export function commandLine(argv: readonly string[] = process.argv): string {
  const [node, script, ...rest] = argv;
  return [basename(node!), relative(process.cwd(), script!), ...rest].join(' ');
}

export async function writeRun(file: string, run: Run): Promise<void> {
  await writeFile(file, `${JSON.stringify(run, undefined, 2)}\n`);
}

export async function readRun(file: string): Promise<Run> {
  const run = JSON.parse(await readFile(file, 'utf8')) as Partial<Run>;
  if ((run.bench !== 'concurrency' && run.bench !== 'traffic') || !Array.isArray(run.figures)) {
    throw new Error(`${file}: expected a file that bench/concurrency, bench/traffic or bench/peers wrote`);
  }
  return run as Run;
}
