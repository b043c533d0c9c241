import type { Executable, QueryResult, WaveQuery } from '../backends/backend.js';
import type { Plan } from '../compile/plan.js';
import type { Bindings } from '../graph/dim.js';
import type { CostModel } from './cost.js';

/** A plan on a device, as the scheduler sees it. */
export interface Target {
  readonly plan: Plan;
  readonly executable: Executable;
  readonly cost: CostModel;
}

/** A query, or a chunk of one, that waits for a wave. */
export interface Pending extends WaveQuery {
  readonly target: Target;
  readonly bindings: Bindings;
  /** Most rows of a wave of these sizes. Asked for when the query came, so that a refusal reaches its caller. */
  readonly rowsPerWave: number;
  /** When it came, in milliseconds of performance.now(). */
  readonly arrivedAt: number;
  /** When its answer is of no use any more; Infinity where its caller named no deadline. */
  readonly deadlineAt: number;
  settle(result: QueryResult): void;
}
