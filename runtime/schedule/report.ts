import type { DeviceMemoryReport } from '../backends/backend.js';
import type { Bound } from '../compile/kernel.js';
import type { TensorMemory } from '../memory/tensors.js';
import type { LaneLoad } from './monitor.js';
import type { PolicyName } from './policy.js';

/** What the cost model expects of a model's waves. */
export interface ModelCost {
  readonly model: string;
  readonly bound: Bound;
  /** At some numbers of rows, in microseconds. */
  readonly waves: readonly { readonly rows: number; readonly deviceUs: number; readonly hostUs: number }[];
}

/** What the load monitor knows; counts and totals are since the engine was opened. */
export interface LoadReport {
  readonly policy: PolicyName;
  readonly waiting: { readonly queries: number; readonly rows: number };
  readonly lanes: readonly LaneLoad[];
  /** Share of the last half second or so in which the device had work, by the host's clock; 0 to 1. */
  readonly busyShare: number;
  /** Milliseconds in which the device had work, of how many. */
  readonly busyMs: number;
  readonly elapsedMs: number;
  readonly waves: number;
  readonly queries: number;
  readonly rows: number;
  readonly dispatches: number;
  /** Host time spent on deciding what runs, in microseconds a query. */
  readonly scheduleUsPerQuery: number;
  /** As before, with staging, recording, submitting and reading back. */
  readonly hostUsPerQuery: number;
  readonly memory: DeviceMemoryReport;
  /** Leases of the staging budget. */
  readonly staging: TensorMemory;
  readonly models: readonly ModelCost[];
}

/** What several schedulers know, of devices that share what they run on: lanes one after another, counts and memory added up. */
export function joinReports(reports: readonly LoadReport[]): LoadReport {
  const [first] = reports;
  if (reports.length === 1) return first!;
  const sum = (of: (report: LoadReport) => number): number => reports.reduce((n, report) => n + of(report), 0);
  const most = (of: (report: LoadReport) => number): number => Math.max(...reports.map(of));
  const queries = sum((r) => r.queries);
  const each = (of: (report: LoadReport) => number): number =>
    queries === 0 ? 0 : sum((r) => of(r) * r.queries) / queries;
  return {
    policy: first!.policy,
    waiting: { queries: sum((r) => r.waiting.queries), rows: sum((r) => r.waiting.rows) },
    lanes: reports.flatMap((r) => r.lanes).map((lane, index) => ({ ...lane, lane: index })),
    busyShare: most((r) => r.busyShare),
    busyMs: most((r) => r.busyMs),
    elapsedMs: most((r) => r.elapsedMs),
    waves: sum((r) => r.waves),
    queries,
    rows: sum((r) => r.rows),
    dispatches: sum((r) => r.dispatches),
    scheduleUsPerQuery: each((r) => r.scheduleUsPerQuery),
    hostUsPerQuery: each((r) => r.hostUsPerQuery),
    memory: {
      budgetBytes: sum((r) => r.memory.budgetBytes),
      usedBytes: sum((r) => r.memory.usedBytes),
      stagingBudgetBytes: sum((r) => r.memory.stagingBudgetBytes),
      stagingBytes: sum((r) => r.memory.stagingBytes),
      weightBytes: sum((r) => r.memory.weightBytes),
    },
    staging: {
      budgetBytes: sum((r) => r.staging.budgetBytes),
      leasedBytes: sum((r) => r.staging.leasedBytes),
      pendingBytes: sum((r) => r.staging.pendingBytes),
      peakBytes: sum((r) => r.staging.peakBytes),
      fragmentation: most((r) => r.staging.fragmentation),
    },
    models: reports.flatMap((r) => r.models),
  };
}
