import type { LoadMonitor } from './monitor.js';
import type { Pool, PoolGroup } from './pool.js';

export const POLICY_NAMES = ['recos', 'query', 'multistream', 'batch'] as const;
export type PolicyName = (typeof POLICY_NAMES)[number];

export interface ScheduleOptions {
  /**
   * `recos` (default): whatever waits joins the next wave, cut so that staging and device overlap. For comparison: `query`,
   * one query at a time; `multistream`, a lane a query; `batch`, a dynamic batcher of a largest size and a delay.
   */
  readonly policy?: PolicyName;
  /** Most rows of a wave. Default: what the model's arena carries. */
  readonly maxBatchRows?: number;
  /**
   * How long the first query of a wave waits for company while the device is free, in milliseconds. Default 0; 1 for
   * `batch`.
   */
  readonly queueDelayMs?: number;
  /** Queries that may wait; one more is refused with OVERLOADED. Default 16384. */
  readonly maxQueue?: number;
}

/** What a policy decides on. */
export interface Situation {
  /** Milliseconds of performance.now(). */
  readonly now: number;
  readonly pool: Pool;
  readonly load: LoadMonitor;
  /** Whether the device computes on the host's cores: staging beside it then gains nothing. */
  readonly software: boolean;
  /** Whether waves of different plans gain by one submission. */
  readonly joinsPlans: boolean;
}

/** A wave to make: of which group, how much of it. */
export interface NextWave {
  readonly group: PoolGroup;
  readonly maxRows: number;
  readonly maxQueries: number;
}

/**
 * What to do now: make waves, at least one, each of another plan, for one submission; ask again at a moment; or nothing
 * until something arrives or ends.
 */
export type Decision = readonly NextWave[] | { readonly waitUntil: number } | undefined;

export interface Policy {
  readonly name: PolicyName;
  /** Called with at least one query waiting and room for one more submission. */
  next(situation: Situation): Decision;
}
