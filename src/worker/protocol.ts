import type { DataType } from '../../runtime/graph/dtype.js';
import type { ErrorCode } from '../../runtime/errors.js';
import type {
  DeviceInfo,
  LoadProgress,
  LoadReport,
  ModelSource,
  ModelSummary,
  ProductPrecision,
  RunOptions,
  TensorSpec,
} from '../api.js';
import type { LocalEngineSettings } from '../local-engine.js';

/** A tensor on its way between threads: a window on memory that is shared (inputs) or transferred (outputs). */
export interface WireTensor {
  readonly dtype: DataType | undefined;
  readonly dims: readonly number[];
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly length: number;
  /** The array type's own element type where the caller named no dtype: told by its constructor's name. */
  readonly array: string;
}

export type WorkerSettings = LocalEngineSettings;

/** What the engine's thread is asked to do; `id` returns with the answer. */
export type Request =
  | {
      readonly kind: 'load';
      readonly id: number;
      readonly source: ModelSource;
      readonly name?: string;
      readonly rows?: 'auto' | 'lift';
      readonly shared?: readonly string[];
      readonly products?: ProductPrecision;
    }
  | {
      readonly kind: 'run';
      readonly id: number;
      readonly model: number;
      readonly inputs: readonly (readonly [name: string, tensor: WireTensor])[];
      readonly options: RunOptions;
    }
  | { readonly kind: 'summary'; readonly id: number; readonly model: number }
  | { readonly kind: 'loadReport'; readonly id: number }
  | { readonly kind: 'dispose'; readonly id: number; readonly model: number }
  | { readonly kind: 'close'; readonly id: number };

export interface LoadedModel {
  readonly model: number;
  readonly name: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly notices: readonly string[];
}

export type Answer =
  | LoadedModel
  | readonly (readonly [name: string, tensor: WireTensor])[]
  | ModelSummary
  | LoadReport
  | undefined;

/** What the engine's thread says. */
export type Reply =
  | { readonly kind: 'open'; readonly device: DeviceInfo }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: LoadProgress }
  | { readonly kind: 'answer'; readonly id: number; readonly value: Answer }
  | { readonly kind: 'error'; readonly id: number; readonly code: ErrorCode; readonly message: string };
