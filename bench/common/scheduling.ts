/**
 * Scheduling as benchmarks ask for it. `Engine` may know less than this file says: an engine without `loadReport` is
 * measured all the same, and its figures leave out what only a report can tell.
 */
import { openEngine, type Engine, type EngineOptions, type RunOptions } from '../../src/index.js';

export const policyNames = ['query', 'multistream', 'batch', 'recos'] as const;

export type PolicyName = (typeof policyNames)[number];

export interface ScheduleOptions {
  readonly policy?: PolicyName;
  readonly maxBatchRows?: number;
  readonly queueDelayMs?: number;
}

export interface LoadReport {
  readonly policy: string;
  /** 0 to 1, since the report before. */
  readonly busyShare: number;
  /** Waves, queries and dispatches since the engine was opened. */
  readonly waves: number;
  readonly queries: number;
  readonly dispatches: number;
  readonly hostUsPerQuery: number;
}

export interface ScheduledEngineOptions extends EngineOptions {
  readonly schedule?: ScheduleOptions;
  /** File to write a trace of the schedule to. */
  readonly trace?: string;
}

export type ScheduledEngine = Engine & { loadReport?(): Promise<LoadReport> };

export type ScheduledRunOptions = RunOptions & { readonly deadlineMs?: number };

export function openScheduled(options: ScheduledEngineOptions): Promise<ScheduledEngine> {
  return openEngine(options);
}
