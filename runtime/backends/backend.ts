import type { Bound, DeviceCaps } from '../compile/kernel.js';
import type { Plan } from '../compile/plan.js';
import type { Bindings } from '../graph/dim.js';
import type { TensorData } from '../graph/dtype.js';
import type { BraidError } from '../errors.js';

/** One query's part of a wave. */
export interface WaveQuery {
  /** Rows of this query; 0 where the plan has no row symbol. */
  readonly rows: number;
  /** Where these rows begin in the query they are a chunk of; 0 for a whole query. Errors name rows of the query. */
  readonly firstRow: number;
  /** Elements of every input, in the order of the plan's inputs. */
  readonly inputs: readonly TensorData[];
}

/**
 * Queries that run together. Their rows are concatenated in order; a plan that is not concatenable gets waves of one
 * query. `bindings` holds every symbol, the row symbol being the sum. Inputs that a query's rows share are concatenated
 * too, one a query.
 */
export interface Wave {
  readonly bindings: Bindings;
  readonly queries: readonly WaveQuery[];
}

/** A query's answer: its outputs in the order of the plan's, or what was wrong with its data. */
export type QueryResult = { readonly outputs: readonly TensorData[] } | { readonly error: BraidError };

export interface ExecutableMemory {
  readonly weightBytes: number;
  readonly arenaBytes: number;
  readonly stagingBytes: number;
}

/** Device memory in bytes: what waves may take, and what is taken. Weights count apart: a model either fits or not. */
export interface DeviceMemoryReport {
  /** For what lives on the device within waves: arenas, inputs, error records. */
  readonly budgetBytes: number;
  readonly usedBytes: number;
  /** For staging and read-back of the waves in flight. */
  readonly stagingBudgetBytes: number;
  readonly stagingBytes: number;
  readonly weightBytes: number;
}

/** What the device took for one dispatch of a wave, beside what it had to do. */
export interface DispatchTime {
  readonly program: string;
  /** Steps that share the dispatch. */
  readonly steps: number;
  readonly detail: string;
  readonly bound: Bound;
  readonly operations: number;
  readonly bytes: number;
  readonly durationUs: number;
}

/** What of the device's time a wave reports. `wave` costs a few microseconds, `dispatches` a pass a dispatch. */
export type Timing = 'none' | 'wave' | 'dispatches';

/** A wave that is over. Moments are in milliseconds of performance.now(). */
export interface WaveOutcome {
  /** One a query, in order. */
  readonly results: readonly QueryResult[];
  /** When the host began to stage the inputs, had submitted everything, and had the results mapped. */
  readonly begunAt: number;
  readonly submittedAt: number;
  readonly doneAt: number;
  /** Host time spent on the results once they were there, in microseconds. */
  readonly readbackUs: number;
  readonly uploadBytes: number;
  readonly readbackBytes: number;
  readonly dispatchCount: number;
  /** By the device's own clock, where it was asked and has one. */
  readonly deviceUs?: number;
  /** Where `dispatches` was asked and the device has a clock. */
  readonly dispatches?: readonly DispatchTime[];
}

/** A wave of one plan, as part of a submission. */
export interface Part {
  readonly executable: Executable;
  readonly wave: Wave;
  readonly timing: Timing;
  /** What of the device's time it is believed to take, in microseconds, where that is known. */
  readonly expectedUs?: number;
}

/** What became of a part. Parts of a submission share its moments; of what failed, no query has an answer. */
export type PartOutcome = WaveOutcome | { readonly error: BraidError };

/** A plan made ready for a device: weights uploaded, pipelines and bindings made. */
export interface Executable {
  readonly memory: ExecutableMemory;
  /** Most dispatches of a wave. */
  readonly dispatches: number;
  /** Where its steps run and by which kernels, in words. */
  readonly placement: string;
  /** Most rows a wave may carry under these bindings (the row symbol is ignored). Infinity where rows cannot be cut. */
  rowsPerWave(bindings: Bindings): number;
  /**
   * Runs a wave in a submission of its own. Waves complete in the order they were submitted; at most
   * Backend.wavesInFlight at a time.
   * @param onSubmitted called once the device has the wave, with the moment.
   * @throws BraidError DEVICE_LOST, OVERLOADED; then no query of the wave has an answer.
   */
  submit(wave: Wave, timing?: Timing, onSubmitted?: (at: number) => void): Promise<WaveOutcome>;
  /** Frees the weights. No wave may be in flight. */
  release(): void;
}

/** A device that plans run on. Owns all device memory. */
export interface Backend {
  readonly caps: DeviceCaps;
  /** Largest buffer binding; tables beyond it are cut when the plan is compiled. */
  readonly maxBindingBytes: number;
  /** Submissions that may be staged, running or read back at once. */
  readonly wavesInFlight: number;
  /** Whether waves in flight run side by side (streams) or one after another (one queue). */
  readonly concurrentWaves: boolean;
  readonly memory: DeviceMemoryReport;
  /** What a wave in flight takes of the staging budget, as large as the largest that a loaded model makes. */
  readonly waveBytes: number;
  /** Whether waves of different plans gain by one submission: they share its fixed costs, and end together. */
  readonly joinsPlans: boolean;
  /**
   * Runs waves of different plans, in order. Never rejects: each part has an outcome, and none is harmed by another's error
   * but one of the device.
   * @param onSubmitted called once the device has the waves, with the moment.
   */
  submit(parts: readonly Part[], onSubmitted?: (at: number) => void): Promise<readonly PartOutcome[]>;
  /** Uploads weights and makes pipelines; `onProgress` counts units of that work. */
  prepare(
    plan: Plan,
    onProgress?: (stage: 'upload' | 'pipelines', done: number, total: number) => void,
  ): Promise<Executable>;
  /**
   * Lets the device read `memory` by itself, so that inputs that lie in it are not copied to staging memory first. Where it
   * cannot, or the method is missing, they are copied as others are. The memory is held until it is disowned.
   */
  adopt?(memory: SharedArrayBuffer): void;
  /** Ends that. No query with inputs in it may be under way. */
  disown?(memory: SharedArrayBuffer): void;
  close(): void;
}
