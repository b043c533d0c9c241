import type { DataType } from './dtype.js';
import type { Tensor } from './tensor.js';

/** A dimension as a model declares it: a size, or the name of a symbol (`batch`). An unnamed one is `null`. */
export type DeclaredDim = number | string | null;

/** The declared type of a graph input or output. `shape` is absent where the model does not say. */
export interface ValueInfo {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape?: readonly DeclaredDim[];
}

/** A node attribute. ONNX INT and FLOAT are both `number`; ints beyond 2^53 do not occur in attributes that matter. */
export type Attribute = number | string | readonly number[] | readonly string[] | Tensor | Graph;

/** One operator call. An absent optional input or output is the empty string, as in ONNX. */
export interface Node {
  readonly name: string;
  readonly op: string;
  /** '' is the ONNX domain. */
  readonly domain: string;
  /** Version of the domain's operator set that this node is written against. */
  readonly opset: number;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** An imported model: operators in topological order and the values between them, with ONNX semantics. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly nodes: readonly Node[];
  /** Weights and other constants by value name. Never also listed in `inputs`. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /** What the importer changed or wants the user to know (float64 narrowed, say). */
  readonly notices: readonly string[];
}
