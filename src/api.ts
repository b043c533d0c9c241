import type { DataType, TensorData } from '../runtime/graph/dtype.js';
import type { Graph } from '../runtime/graph/graph.js';
import type { Tensor } from '../runtime/graph/tensor.js';

/** Where a model comes from. `graph` works only where the engine runs in this thread. */
export type ModelSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly name?: string }
  | { readonly kind: 'zoo'; readonly model: string; readonly scale?: string }
  | { readonly kind: 'graph'; readonly graph: Graph };

export interface LoadOptions {
  /** Name of the model in messages, metrics and metadata. Default: the file's name without its extension. */
  readonly name?: string;
  /**
   * `lift`: every input's fixed leading dimension (1, or the batch it was exported with) becomes a free number of rows.
   * `auto` (default): leading dimensions that are symbolic are rows, fixed ones stay fixed.
   */
  readonly rows?: 'auto' | 'lift';
  /** Called as loading proceeds, for progress display. */
  readonly onProgress?: (progress: LoadProgress) => void;
}

export interface LoadProgress {
  readonly stage: 'read' | 'compile' | 'upload' | 'pipelines';
  /** Units done and in all, where the stage can count them. */
  readonly done: number;
  readonly total: number;
}

/** A declared input or output. A symbolic dimension is its name. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly (number | string)[];
}

export interface DeviceInfo {
  /** `webgpu` today; `cuda` with the addon. */
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

/** What `braid inspect` prints. */
export interface ModelSummary {
  readonly name: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Operator types of the imported graph with their number of nodes. */
  readonly operators: Readonly<Record<string, number>>;
  /** The plan as text lines, one a step: kernel, operands, where it runs. */
  readonly plan: readonly string[];
  /** Nodes folded at load, that never reach the device. */
  readonly foldedNodes: number;
  readonly parameters: number;
  readonly memory: {
    readonly weightBytes: number;
    readonly arenaBytes: number;
    readonly stagingBytes: number;
  };
  /** Most rows that one wave of this model carries; larger queries run in chunks. Absent where rows cannot be split. */
  readonly rowsPerWave?: number;
  readonly notices: readonly string[];
}

/** An input to `run`: a Tensor, or its dims and elements with the type taken from the model. */
export type TensorInput = Tensor | { readonly dims: readonly number[]; readonly data: TensorData };

export interface RunOptions {
  /** Names of the outputs wanted. Default: all. */
  readonly outputs?: readonly string[];
}

/** A loaded model. Any number of `run` calls may be in flight at once. */
export interface Model {
  readonly name: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly notices: readonly string[];
  /**
   * Runs one query.
   * @param inputs by name; each `data` is the typed array of the input's type (BigInt64Array for int64, raw 16-bit words
   *   in Uint16Array for float16, 0 or 1 bytes in Uint8Array for bool). The arrays may be reused once the promise settles.
   * @returns the outputs by name.
   * @throws BraidError INPUT_* that names the input, what was found and what was expected; INDEX_OUT_OF_RANGE for an id
   *   outside its table; OVERLOADED, CLOSED, DEVICE_LOST.
   */
  run(inputs: Readonly<Record<string, TensorInput>>, options?: RunOptions): Promise<Record<string, Tensor>>;
  summary(): Promise<ModelSummary>;
  /** Frees the model's device memory once the queries in flight are answered. Later runs reject with CLOSED. */
  dispose(): Promise<void>;
}

/** One device and the models on it. */
export interface Engine {
  readonly device: DeviceInfo;
  load(source: ModelSource, options?: LoadOptions): Promise<Model>;
  /** Answers what is in flight, frees the device and ends the worker thread. Idempotent. */
  close(): Promise<void>;
}
