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

/** What a system has counted since it was opened. */
export interface Counters {
  readonly elapsedMs: number;
  /** In which the device had work. */
  readonly busyMs: number;
  readonly queries: number;
  readonly dispatches: number;
  /** Host time on the way of queries, without the caller's own. */
  readonly hostUs: number;
  /** Its share that went into deciding what runs. */
  readonly scheduleUs: number;
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
  counters(): Promise<Counters | undefined>;
  close(): Promise<void>;
}
