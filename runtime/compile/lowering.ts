import type { NodeContext, ValueType } from '../operators/operator.js';
import type { Epilogue } from './fuse.js';
import type { Step } from './kernel.js';
import type { View } from './view.js';
import type { DataType } from '../graph/dtype.js';
import type { Dim } from '../graph/dim.js';
import type { Tensor } from '../graph/tensor.js';

/** What an operator's `lower` works with: the views of its inputs, and where its outputs go. */
export interface Lowering {
  readonly context: NodeContext;
  readonly outputs: readonly ValueType[];
  /** The input's view; constants become weights on first use. */
  view(index: number): View;
  optional(index: number): View | undefined;
  /**
   * Where output `index` is to be written. Not always dense: the output may lie inside the result of a Concat, so that
   * the concatenation costs nothing.
   */
  output(index: number): View;
  /** Declares that output `index` is a window on memory that is there already. */
  alias(index: number, view: View): void;
  /** A dense copy where `view` has gaps or repeats, `view` itself where it has none. */
  dense(view: View): View;
  /** What the node has to do to its result, or a chain does at all; see compile/fuse.ts and compile/chains.ts. */
  readonly epilogue: Epilogue | undefined;
  /** Scratch memory that lives between the steps of this node. */
  scratch(name: string, dtype: DataType, shape: readonly Dim[]): View;
  /** A constant made by the operator itself. */
  constant(name: string, value: Tensor): View;
  /**
   * The parts of a lookup table: input `index` cut along its leading dimension where it is a constant larger than one
   * binding of the device, otherwise a single part.
   */
  parts(index: number): readonly TablePart[];
  /** The symbol that counts the rows of a batch, where the model has one; that of queries where the node runs once each. */
  readonly rows: Dim | undefined;
  /**
   * Registers a lookup whose indices (input `indices`) the kernel checks against `size`; returns the code that its error
   * records carry.
   */
  check(
    lookup: Omit<Lookup, 'source' | 'inputs' | 'offset' | 'table' | 'perQuery'> & {
      readonly indices: number;
      readonly table: number;
    },
  ): number;
  emit(step: Omit<Step, 'node'>): void;
}

/** Rows [first, first + count) of a table. */
export interface TablePart {
  readonly view: View;
  readonly first: number;
  readonly count: Dim;
}

/** What the host needs to explain an index that is out of range. */
export interface Lookup {
  /** What the indices come from, as a message names it: graph inputs, or the node where they are constants. */
  readonly source: string;
  /** Those graph inputs. */
  readonly inputs: readonly string[];
  /** Where a row's first index lies in a row of that input, in elements. */
  readonly offset: Dim;
  /** Whether the indices are shared by the rows of a query: what records call a row is then a query. */
  readonly perQuery: boolean;
  /** Name of the table. */
  readonly table: string;
  /** Size of the axis that is indexed. */
  readonly size: Dim;
  /** Whether negative values are errors too, as of offsets and lengths. */
  readonly fromZero?: boolean;
  /** Runs of output that one index makes; records count runs. */
  readonly runsPerIndex: Dim;
  /** Number of indices; where they are repeated over leading dimensions of the table, so are their positions. */
  readonly count: Dim;
  /** Runs of output that a row of a record stands for. */
  readonly rowRuns: Dim;
}
