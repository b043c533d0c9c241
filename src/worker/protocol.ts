import type { PoolNews } from '../lending.js';
import type { DataType } from '../../runtime/graph/dtype.js';
import type { ErrorCode } from '../../runtime/errors.js';
import type {
  DeviceInfo,
  LoadProgress,
  LoadReport,
  LoadSettings,
  ModelSource,
  ModelSummary,
  RunOptions,
  TensorSpec,
} from '../api.js';
import type { LocalEngineSettings } from '../local-engine.js';

/** Shared memory by the number that the client gave it, memory that crosses itself, or none where the data is no array. */
export type WireMemory = number | ArrayBufferLike | undefined;

/** A tensor on its way between threads. Tuples: objects cost the structured clone several times as much. */
export type WireTensor = readonly [
  /** Index among the model's inputs or outputs; a name that is none of them as it is. */
  name: number | string,
  /** Undefined where the caller named none. */
  dtype: DataType | undefined,
  /** Index among the array types; the name of a type that is none of them as it is. */
  array: number | string,
  dims: readonly number[],
  memory: WireMemory,
  byteOffset: number,
  length: number,
];

export type WireQuery = readonly [
  id: number,
  model: number,
  options: RunOptions | undefined,
  /** Shared memory of the client that holds its inputs, and takes its outputs where they fit. */
  memory: number | undefined,
  inputs: readonly WireTensor[],
];

export type WireAnswer =
  | readonly [id: number, outputs: readonly WireTensor[]]
  | readonly [id: number, code: ErrorCode, message: string];

export type WorkerSettings = LocalEngineSettings;

/** What the engine's thread is asked to do; an `id` returns with the answer. */
export type Request =
  | {
      readonly kind: 'load';
      readonly id: number;
      readonly source: ModelSource;
      readonly settings: LoadSettings;
    }
  /** Queries that started in one turn, with what their thread does not know yet. */
  | ({ readonly kind: 'run'; readonly queries: readonly WireQuery[] } & PoolNews)
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

export type Answer = LoadedModel | ModelSummary | LoadReport | undefined;

/** What the engine's thread says. */
export type Reply =
  | { readonly kind: 'open'; readonly device: DeviceInfo }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: LoadProgress }
  /** Queries that were answered in one turn. */
  | { readonly kind: 'ran'; readonly answers: readonly WireAnswer[] }
  | { readonly kind: 'answer'; readonly id: number; readonly value: Answer }
  | { readonly kind: 'error'; readonly id: number; readonly code: ErrorCode; readonly message: string };
