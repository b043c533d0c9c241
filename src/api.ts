import type { Model } from '../runtime/api.js';
import type { Precision } from '../runtime/compile/precision.js';
import type { Graph } from '../runtime/graph/graph.js';
import type { ProductPrecision } from '../runtime/compile/kernel.js';
import type { LoadReport } from '../runtime/schedule/report.js';

export type { ProductPrecision } from '../runtime/compile/kernel.js';
export type { PolicyName, ScheduleOptions } from '../runtime/schedule/policy.js';
export type { LoadReport } from '../runtime/schedule/report.js';
export type { Precision } from '../runtime/compile/precision.js';
export type { Model, ModelSummary, PrecisionSummary, RunOptions, TensorInput, TensorSpec } from '../runtime/api.js';

/** Where a model comes from. `graph` works only where the engine runs in this thread. */
export type ModelSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly name?: string }
  | {
      readonly kind: 'zoo';
      readonly model: string;
      readonly scale?: string;
      /** Share what describes the user, where the model tells users from candidates: DIN and BST do. */
      readonly shared?: boolean;
    }
  | { readonly kind: 'graph'; readonly graph: Graph };

export interface LoadOptions {
  /** Name of the model in messages, metrics and metadata. Default: the file's name without its extension. */
  readonly name?: string;
  /**
   * `lift`: every input's fixed leading dimension (1, or the batch it was exported with) becomes a free number of rows.
   * `auto` (default): leading dimensions that are symbolic are rows, fixed ones stay fixed.
   */
  readonly rows?: 'auto' | 'lift';
  /**
   * Names of inputs that all rows of a query share, such as a user's history beside N candidates. A query gives one row
   * of each; what depends on them alone is computed once a query, instead of once a row.
   */
  readonly shared?: readonly string[];
  /**
   * As what weights are stored on the device: `tables` (of embeddings) as float32, float16 or int8, `weights` (matrices) as
   * float32 or float16. Kernels compute in float32 whatever it is. Default: float16 where that loses nothing, as in a
   * half-precision model, otherwise float32. What fewer bits cost is in `summary().precision` and in the notices.
   */
  readonly precision?: Precision;
  /**
   * `float16`, `tf32`: matrix products multiply in that and sum in float32, where the device has matrix units that do: WebGPU
   * may have some of the former, CUDA has both. Inputs of products in float16 beyond 65504
   * overflow. Where it has none, products stay in float32 and a notice says so. Default: `float32`.
   */
  readonly products?: ProductPrecision;
  /** Called as loading proceeds, for progress display. */
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** What a model's load is told, apart from who listens. */
export type LoadSettings = Omit<LoadOptions, 'onProgress'>;

export interface LoadProgress {
  readonly stage: 'read' | 'compile' | 'upload' | 'pipelines';
  /** Units done and in all, where the stage can count them. */
  readonly done: number;
  readonly total: number;
}

export interface DeviceInfo {
  /** `webgpu`, or `cuda` with the addon. */
  readonly backend: string;
  /** Adapter's own description, such as `NVIDIA H100 80GB HBM3` or `SwiftShader`. */
  readonly adapter: string;
  readonly vendor: string;
  readonly driver: string;
  /** True where the adapter is a software implementation. */
  readonly software: boolean;
  /** How the adapter was found: `hardware`, `lavapipe`, `swiftshader (chromium)`, `swiftshader (npm)`. */
  readonly origin: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

/** Memory of an engine's for the inputs of queries. */
export interface LentMemory {
  /** As many bytes as were asked for; they begin at a multiple of 4,096 of their buffer, and hold what was there before. */
  readonly bytes: Uint8Array;
  /** Gives it back. No query whose inputs lie in it may be without its answer, and nothing may write to it from then on. */
  release(): void;
}

/** One device and the models on it. */
export interface Engine {
  readonly device: DeviceInfo;
  /**
   * Lends memory for a query's inputs: arrays that are made on it go to the device with fewer copies on the host than arrays
   * of the caller's. The backend `cuda` reads it by itself; `webgpu` copies it once, from this thread or from the engine's.
   *
   *     const memory = engine.lend(8 * 256 + 4 * 256 * 13);
   *     const ids = new BigInt64Array(memory.bytes.buffer, memory.bytes.byteOffset, 256);
   *
   * It may be used for one query after another, and costs nothing to lend again.
   * @param bytes at least 0.
   */
  lend(bytes: number): LentMemory;
  load(source: ModelSource, options?: LoadOptions): Promise<Model>;
  /** What the load monitor knows: lanes, busy share, what waits, host time a query, memory. */
  loadReport(): Promise<LoadReport>;
  /** Answers what is in flight, frees the device and ends the worker thread. Idempotent. */
  close(): Promise<void>;
}
