import { GraphBuilder } from '../../runtime/graph/builder.js';
import type { Attribute, Graph, ValueInfo } from '../../runtime/graph/graph.js';
import { sizeOf, tensorOf } from '../../runtime/graph/tensor.js';
import { Random, uniformArray } from './random.js';

/** Name of the symbolic leading dimension of every input and output. */
export const ROWS = 'batch';

export type Activation = 'Relu' | 'LeakyRelu' | 'Sigmoid';

/** How the values of an input are drawn by `zooInputs`. */
export type InputValues =
  | { readonly kind: 'unit' }
  /** Ids; column `i` (of the last dimension, row by row) lies below `limits[i % limits.length]`. */
  | { readonly kind: 'ids'; readonly limits: readonly number[] }
  /** Ids of a history: as `ids`, then 0 after the row's length. */
  | { readonly kind: 'history'; readonly limits: readonly number[] }
  /** 1 up to the row's history length, then 0. */
  | { readonly kind: 'mask' };

export interface ZooInput extends ValueInfo {
  readonly shape: readonly [typeof ROWS, ...number[]];
  readonly values: InputValues;
  /** Whether it describes the user, for whom all rows of a query are: such inputs can be shared. */
  readonly ofUser?: true;
}

// ONNX keeps attributes in float32: rounded here, a graph is the same before and after a file.
/** Slope that LeakyRelu keeps below 0: PyTorch's default, and ONNX's. */
const LEAKY_SLOPE = Math.fround(0.01);
/** Added to the variance in layer normalization: PyTorch's default. */
const NORM_EPSILON = Math.fround(1e-5);

/**
 * A GraphBuilder that makes the seeded weights a layer needs. Names of weights follow PyTorch: `top.0.weight` is
 * [outputs, inputs] for Gemm; `attention.0.kernel` is [inputs, outputs] for MatMul, as exporters transpose it.
 *
 * With `measure` no weight is made: only their number is counted.
 */
export class LayerBuilder {
  readonly #builder: GraphBuilder;
  readonly #seed: number;
  readonly #measure: boolean;
  #parameters = 0;

  constructor(name: string, options: { seed: number; measure?: boolean }) {
    this.#builder = new GraphBuilder(name);
    this.#seed = options.seed;
    this.#measure = options.measure ?? false;
  }

  /** Weights so far, in elements. */
  get parameters(): number {
    return this.#parameters;
  }

  build(): Graph {
    return this.#builder.build();
  }

  inputs(inputs: readonly ZooInput[]): void {
    for (const { name, dtype, shape } of inputs) this.#builder.input(name, dtype, shape);
  }

  op(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.#builder.op(op, inputs, attributes);
  }

  /** The model's one output: the sigmoid of `logit`, [batch, 1]. */
  probability(logit: string): void {
    this.#builder.op('Sigmoid', [logit], {}, { outputs: ['out'] });
    this.#builder.output('out', 'float32', [ROWS, 1]);
  }

  /** A weight spread evenly over [centre - bound, centre + bound). */
  weight(name: string, dims: readonly number[], bound: number, centre = 0): string {
    const size = sizeOf(dims);
    this.#parameters += size;
    if (this.#measure) return name;
    const data = uniformArray(new Random(this.#seed, name), size, bound, centre);
    return this.#builder.constant(name, { dtype: 'float32', dims, data });
  }

  scalar(name: string, value: number): string {
    return this.#builder.constant(name, tensorOf('float32', [], [value]));
  }

  /** An int64 vector: axes, a shape, indices. */
  ints(name: string, values: readonly number[]): string {
    return this.#builder.constant(name, tensorOf('int64', [values.length], values));
  }

  /**
   * An embedding table. The spread makes the dot product of two of its rows vary by about 1 whatever the width, so that
   * products of embeddings (DLRM, attention) neither vanish nor saturate what follows.
   */
  table(name: string, rows: number, dim: number): string {
    return this.weight(`${name}.weight`, [rows, dim], Math.sqrt(3 / Math.sqrt(dim)));
  }

  lookup(table: string, ids: string): string {
    return this.op('Gather', [table, ids], { axis: 0 });
  }

  /** The columns of a [batch, count] matrix of ids, each as [batch]. */
  columns(ids: string, count: number): string[] {
    return Array.from({ length: count }, (_, i) => {
      const at = this.#builder.constant(`${ids}.column.${i}`, tensorOf('int64', [], [i]));
      return this.op('Gather', [ids, at], { axis: 1 });
    });
  }

  /** Looks each column of ids up in a table of its own. Returns one [batch, dim] value a column. */
  lookupEach(name: string, columns: readonly string[], tableRows: readonly number[], dim: number): string[] {
    return columns.map((ids, i) => this.lookup(this.table(`${name}.${i}`, tableRows[i]!, dim), ids));
  }

  concat(values: readonly string[], axis: number): string {
    return this.op('Concat', values, { axis });
  }

  /** A linear layer over the rows of a matrix. */
  linear(name: string, x: string, inputs: number, outputs: number, next?: Activation): string {
    const weight = this.weight(`${name}.weight`, [outputs, inputs], layerBound(inputs, outputs, next));
    return this.op('Gemm', [x, weight, this.#bias(name, inputs, outputs)], { transB: 1 });
  }

  /** A linear layer over the last dimension of a sequence: exporters write MatMul and Add, as Gemm is for matrices. */
  linearSequence(name: string, x: string, inputs: number, outputs: number, next?: Activation): string {
    const kernel = this.weight(`${name}.kernel`, [inputs, outputs], layerBound(inputs, outputs, next));
    return this.op('Add', [this.op('MatMul', [x, kernel]), this.#bias(name, inputs, outputs)]);
  }

  activate(x: string, activation: Activation): string {
    return this.op(activation, [x], activation === 'LeakyRelu' ? { alpha: LEAKY_SLOPE } : {});
  }

  /** Linear layers with `activation` between them, and after the last one where `activateLast`. */
  mlp(
    name: string,
    x: string,
    inputs: number,
    widths: readonly number[],
    activation: Activation,
    options: { activateLast?: boolean; sequence?: boolean } = {},
  ): string {
    let [value, width] = [x, inputs];
    for (const [i, outputs] of widths.entries()) {
      const next = i < widths.length - 1 || options.activateLast ? activation : undefined;
      const layer = options.sequence ? this.linearSequence.bind(this) : this.linear.bind(this);
      value = layer(`${name}.${i}`, value, width, outputs, next);
      if (next) value = this.activate(value, next);
      width = outputs;
    }
    return value;
  }

  /** Layer normalization over the last dimension. Scale and shift vary a little, so that mixing them up shows. */
  layerNorm(name: string, x: string, dim: number): string {
    const scale = this.weight(`${name}.weight`, [dim], 0.2, 1);
    const shift = this.weight(`${name}.bias`, [dim], 0.1);
    return this.op('LayerNormalization', [x, scale, shift], { axis: -1, epsilon: NORM_EPSILON });
  }

  /** PyTorch's own bound for biases. */
  #bias(name: string, inputs: number, outputs: number): string {
    return this.weight(`${name}.bias`, [outputs], 1 / Math.sqrt(inputs));
  }
}

/**
 * Half-width of a layer's weights: He for rectifiers, four times Glorot before a sigmoid (Glorot and Bengio 2010),
 * Glorot where nothing follows. Signals then keep their size from layer to layer.
 */
function layerBound(inputs: number, outputs: number, next: Activation | undefined): number {
  const glorot = Math.sqrt(6 / (inputs + outputs));
  if (next === undefined) return glorot;
  return next === 'Sigmoid' ? 4 * glorot : Math.sqrt(6 / inputs);
}
