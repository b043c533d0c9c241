import type { Accuracy } from './accuracy.js';
import type { ProductPrecision } from './compile/kernel.js';
import type { DataType, TensorData } from './graph/dtype.js';
import type { Tensor } from './graph/tensor.js';

/** A declared input or output. A symbolic dimension is its name. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly (number | string)[];
}

/** Weights and products of fewer bits than float32, and what that costs. */
export interface PrecisionSummary {
  /** Numbers of weights stored as float16, and as int8. */
  readonly float16: number;
  readonly int8: number;
  /** Device memory in bytes that they take, and that they would take more as float32. */
  readonly storedBytes: number;
  readonly savedBytes: number;
  /** As what matrix products multiply. */
  readonly products: ProductPrecision;
  /** How far outputs are from those of float32. Absent where nothing is rounded. */
  readonly accuracy?: Accuracy | { readonly notMeasured: string };
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
  /** GPU dispatches of one wave, whatever its number of rows. */
  readonly dispatches: number;
  /** Where the plan runs and by which kernels. */
  readonly placement: string;
  /** Nodes folded at load, that never reach the device. */
  readonly foldedNodes: number;
  readonly parameters: number;
  readonly precision: PrecisionSummary;
  readonly memory: {
    readonly weightBytes: number;
    readonly arenaBytes: number;
    readonly stagingBytes: number;
  };
  /** Most rows that one wave of this model carries; larger queries run in chunks. Absent where rows cannot be split. */
  readonly rowsPerWave?: number;
  /** What makes rows depend on each other, so that queries cannot share waves; absent where nothing does. */
  readonly rowsMixedBy?: string;
  readonly notices: readonly string[];
}

/** An input to `run`: a Tensor, or its dims and elements with the type taken from the model. */
export type TensorInput = Tensor | { readonly dims: readonly number[]; readonly data: TensorData };

export interface RunOptions {
  /** Names of the outputs wanted. Default: all. */
  readonly outputs?: readonly string[];
  /** How long the answer is of use, in milliseconds from the call. Default: for ever. */
  readonly deadlineMs?: number;
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
   *   outside its table; DEADLINE_EXCEEDED where the deadline passed before the device had room; OVERLOADED, CLOSED,
   *   DEVICE_LOST.
   */
  run(inputs: Readonly<Record<string, TensorInput>>, options?: RunOptions): Promise<Record<string, Tensor>>;
  summary(): Promise<ModelSummary>;
  /** Frees the model's device memory once the queries in flight are answered. Later runs reject with CLOSED. */
  dispose(): Promise<void>;
}
