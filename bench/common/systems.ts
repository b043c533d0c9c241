import type { DeviceRecord } from './records.js';
import type { Query } from './queries.js';

/** `rejected`: turned away because of load or its deadline. Any other failure rejects the promise and ends the run. */
export type Outcome = 'answered' | 'rejected';

/** A query that a system has taken in: what is done once for a query and not for each run of it is done. */
export interface PreparedQuery {
  readonly rows: number;
  run(): Promise<Outcome>;
}

/** Models on a system's device. */
export interface LoadedModels {
  prepare(query: Query): PreparedQuery;
  release(): Promise<void>;
}

/** Counters of a system at one moment. */
export interface SystemReport {
  /** 0 to 1, since the report before. */
  readonly busyShare: number;
  /** Since the system was opened. */
  readonly queries: number;
  readonly dispatches: number;
  readonly hostUsPerQuery: number;
}

/** Something that answers queries: Braid under one policy, or a peer. */
export interface System {
  /** `braid`, `onnxruntime`. */
  readonly name: string;
  /** What tells it from others of its name: a policy, an execution provider. */
  readonly variant: string;
  readonly device: DeviceRecord;
  load(models: readonly string[], scale: string): Promise<LoadedModels>;
  /** Undefined where the system counts nothing. */
  report(): Promise<SystemReport | undefined>;
  close(): Promise<void>;
}
