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
