/**
 * Shapes of the four models. Widths of a multi-layer perceptron list the layers' outputs, the last one included; what
 * goes into the first layer follows from the rest. Every model ends in one sigmoid.
 */
export interface ZooConfigs {
  readonly wnd: WndConfig;
  readonly din: DinConfig;
  readonly dlrm: DlrmConfig;
  readonly bst: BstConfig;
}

export type ZooName = keyof ZooConfigs;

/** Names in the order they are listed to users. */
export const zooNames = ['wnd', 'din', 'dlrm', 'bst'] as const satisfies readonly ZooName[];

interface Sourced {
  /** Where the widths come from, in a few words; docs/models.md has the rest. */
  readonly source: string;
}

/** Wide & Deep: a linear model over ids and dense features beside a perceptron over their embeddings. */
export interface WndConfig extends Sourced {
  readonly dense: number;
  /** Rows of each feature's pair of tables: `dim` wide for the deep side, 1 wide for the linear side. */
  readonly tableRows: readonly number[];
  readonly dim: number;
  readonly deep: readonly number[];
}

/** DLRM with dot interaction: pairwise products of the embeddings and the bottom perceptron's output. */
export interface DlrmConfig extends Sourced {
  readonly dense: number;
  readonly tableRows: readonly number[];
  readonly dim: number;
  /** The last width is `dim`. */
  readonly bottom: readonly number[];
  readonly top: readonly number[];
}

/** Deep Interest Network: attention of the candidate over the user's history, by a perceptron. */
export interface DinConfig extends Sourced {
  readonly itemRows: number;
  readonly categoryRows: number;
  /** Of an item's embedding and of a category's; the two together are a key of the attention. */
  readonly dim: number;
  readonly history: number;
  readonly profileRows: readonly number[];
  readonly profileDim: number;
  readonly attention: readonly number[];
  readonly top: readonly number[];
  /** Between the layers of both perceptrons. */
  readonly activation: 'Relu' | 'Sigmoid';
  /** Divide the attention scores by the square root of the key's width before the softmax. */
  readonly scaledScores: boolean;
  /** A square linear layer on the attended history. */
  readonly historyLayer: boolean;
  /** A learnt number for each item, added to the logit. */
  readonly itemBias: boolean;
}

/** Behavior Sequence Transformer: one transformer block over the history and the candidate. */
export interface BstConfig extends Sourced {
  readonly itemRows: number;
  readonly dim: number;
  /** Items of the history; the candidate makes the sequence one longer. */
  readonly history: number;
  readonly heads: number;
  /** Hidden width of the block's feed-forward layer. */
  readonly feedForward: number;
  readonly profileRows: readonly number[];
  readonly profileDim: number;
  readonly top: readonly number[];
}
