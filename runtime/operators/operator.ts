import { BraidError } from '../errors.js';
import type { Dim } from '../graph/dim.js';
import type { DataType } from '../graph/dtype.js';
import type { Node } from '../graph/graph.js';
import { toFloat64, type Tensor } from '../graph/tensor.js';
import type { Lowering } from '../compile/lowering.js';
import { Attributes, nodeLabel } from './attributes.js';
import type { ArithmeticType } from './elementwise/types.js';

/** Element type and shape of a value. The rank is always known. */
export interface ValueType {
  readonly dtype: DataType;
  readonly shape: readonly Dim[];
}

/** An integer tensor known at load whose elements may be symbolic, such as the output of Shape. */
export interface SymbolicTensor {
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly elements: readonly Dim[];
}

/** What is known of a value at load: everything (`tensor`), or its elements up to symbols (`symbolic`). */
export type Known =
  | { readonly kind: 'tensor'; readonly tensor: Tensor }
  | { readonly kind: 'symbolic'; readonly value: SymbolicTensor };

/** A node with what is known of its inputs; what shape rules and folding see. */
export class NodeContext {
  readonly node: Node;
  readonly attributes: Attributes;
  readonly #types: readonly (ValueType | undefined)[];
  readonly #known: readonly (Known | undefined)[];

  constructor(node: Node, types: readonly (ValueType | undefined)[], known: readonly (Known | undefined)[]) {
    this.node = node;
    this.attributes = new Attributes(node);
    this.#types = types;
    this.#known = known;
  }

  get inputCount(): number {
    return this.#types.length;
  }

  /** Type of a required input. */
  input(index: number): ValueType {
    const type = this.#types[index];
    if (!type) throw this.invalid(`input ${index} is missing`);
    return type;
  }

  optional(index: number): ValueType | undefined {
    return this.#types[index];
  }

  known(index: number): Known | undefined {
    return this.#known[index];
  }

  /** The input's value, where it is a constant without symbols. */
  tensor(index: number): Tensor | undefined {
    const known = this.#known[index];
    return known?.kind === 'tensor' ? known.tensor : undefined;
  }

  /** The input's elements as integers that may be symbolic, where they are known at load. */
  elements(index: number): readonly Dim[] | undefined {
    const known = this.#known[index];
    if (!known) return undefined;
    return known.kind === 'symbolic' ? known.value.elements : [...toFloat64(known.tensor)];
  }

  /** The elements of an input that has to be known at load. */
  requiredElements(index: number, what: string): readonly Dim[] {
    const elements = this.elements(index);
    if (!elements)
      throw this.unsupported(
        `${what} (input ${index}, '${this.node.inputs[index]}') is computed from data; it has to be known at load`,
      );
    return elements;
  }

  /** As requiredElements, for values that may not depend on symbols either. */
  requiredInts(index: number, what: string): readonly number[] {
    return this.requiredElements(index, what).map((e) => {
      if (typeof e !== 'number') throw this.unsupported(`${what} depends on dimension '${e}'; it has to be a constant`);
      return e;
    });
  }

  /** `axis` counted from the front, checked against `rank`. */
  axis(axis: number, rank: number): number {
    const positive = axis < 0 ? axis + rank : axis;
    if (positive < 0 || positive >= rank) throw this.invalid(`axis ${axis} is outside rank ${rank}`);
    return positive;
  }

  invalid(problem: string): BraidError {
    return new BraidError('MODEL_INVALID', `${nodeLabel(this.node)}: ${problem}`);
  }

  unsupported(problem: string): BraidError {
    return new BraidError('MODEL_UNSUPPORTED', `${nodeLabel(this.node)}: ${problem}`);
  }
}

/** A tensor of the float64 reference. Integers are exact up to 2^53; bool is 0 or 1. */
export interface ReferenceTensor {
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

/** What a reference implementation sees: its inputs, and the same node as shape rules see it. */
export class ReferenceContext {
  readonly inputs: readonly (ReferenceTensor | undefined)[];
  /** The node with concrete shapes and values, so that shape rules serve the reference too. */
  readonly shapes: NodeContext;

  constructor(node: Node, inputs: readonly (ReferenceTensor | undefined)[]) {
    this.inputs = inputs;
    this.shapes = new NodeContext(
      node,
      inputs.map((t) => t && { dtype: t.dtype, shape: t.dims }),
      inputs.map((t) => t && { kind: 'tensor', tensor: { dtype: 'float64', dims: t.dims, data: t.data } }),
    );
  }

  get node(): Node {
    return this.shapes.node;
  }

  get attributes(): Attributes {
    return this.shapes.attributes;
  }

  /** A required input. */
  input(index: number): ReferenceTensor {
    const value = this.inputs[index];
    if (!value) throw this.shapes.invalid(`input ${index} is missing`);
    return value;
  }
}

/**
 * How an operator treats the rows of a batch, that is the leading dimension of its row-carrying operands:
 * `parallel` computes each row from that row alone, `mixing` does not.
 */
export type RowBehaviour = 'parallel' | 'mixing';

/** A node whose values have passed the shape test of compile/rows.ts; what is left is what shapes do not show. */
export interface RowContext {
  readonly context: NodeContext;
  /** Whether the leading dimension of input `index` is a multiple of the row symbol. */
  carriesRows(index: number): boolean;
  /** The dimension of input `index` that is a multiple of the row symbol; undefined where it has no rows. */
  rowAxis(index: number): number | undefined;
  /** As rowAxis, of the first output. */
  readonly outputAxis: number | undefined;
  readonly outputRank: number;
}

/**
 * A kind of node: everything Braid knows of it, in one place. Registered in registry.ts.
 * Semantics are those of the ONNX operator of the same name.
 */
export interface Operator {
  readonly type: string;
  /** Absent for the ONNX domain. */
  readonly domain?: string;
  /** First and last version of the ONNX operator set whose semantics are covered. */
  readonly opsets: readonly [first: number, last: number];
  /** What the kernels compute with. Default: every type. */
  readonly types?: readonly ArithmeticType[];
  /** Whether results are windows on the memory of inputs, so that nothing runs. Default: never. */
  readonly aliases?: 'always' | 'sometimes';
  /** What a user of the operator has to know beyond its ONNX definition; for docs/operators.md. */
  readonly note?: string;
  /** Types of the outputs. Throws MODEL_INVALID or MODEL_UNSUPPORTED naming the node. */
  infer(context: NodeContext): readonly ValueType[];
  /** Values of the outputs where they follow from symbolic inputs or from types alone. Constants fold by `reference`. */
  fold?(context: NodeContext, outputs: readonly ValueType[]): readonly (Known | undefined)[];
  /** Float64 semantics, the oracle of the tests. Never fast. */
  reference(context: ReferenceContext): readonly ReferenceTensor[];
  /** What shapes do not show of how rows are treated; see operators/rows.ts. */
  rows(context: RowContext): RowBehaviour;
  /**
   * Asked in place of `rows` where an operand or the result has its rows in another dimension than the leading one:
   * whether rows stay apart. Absent: they do not.
   */
  keepsRows?(context: RowContext): boolean;
  /** Emits kernel steps, or views, for the outputs. Absent where the operator must fold at load. */
  lower?(lowering: Lowering): void;
}
