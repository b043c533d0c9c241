import type { Graph } from '../../../runtime/graph/graph.js';
import type { Tensor } from '../../../runtime/graph/tensor.js';
import type { ZooName } from '../../../src/zoo/index.js';

/**
 * The four models in float64, row by row, written from their definitions: it reads the weights of a built graph by
 * name and follows none of its nodes, so a graph that is wired wrong disagrees with it.
 */
export function referenceZoo(model: ZooName, graph: Graph, inputs: Readonly<Record<string, Tensor>>): Float64Array {
  return Float64Array.from(referenceLogits(model, graph, inputs), sigmoid);
}

/** What goes into the last sigmoid, one number a row. */
export function referenceLogits(model: ZooName, graph: Graph, inputs: Readonly<Record<string, Tensor>>): Float64Array {
  const rows = Object.values(inputs)[0]!.dims[0]!;
  const score = MODELS[model](new Weights(graph), new Inputs(inputs));
  return Float64Array.from({ length: rows }, (_, row) => score(row));
}

type Score = (row: number) => number;
type Activate = (x: number) => number;

const MODELS: Record<ZooName, (weights: Weights, inputs: Inputs) => Score> = { wnd, dlrm, din, bst };

class Weights {
  readonly #graph: Graph;

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  has(name: string): boolean {
    return this.#graph.constants.has(name);
  }

  uses(op: string): boolean {
    return this.#graph.nodes.some((node) => node.op === op);
  }

  get(name: string): { dims: readonly number[]; data: Float32Array } {
    const found = this.#graph.constants.get(name);
    if (!(found?.data instanceof Float32Array)) throw new Error(`no float32 weight '${name}'`);
    return { dims: found.dims, data: found.data };
  }

  count(prefix: string, suffix: string): number {
    let count = 0;
    while (this.has(`${prefix}.${count}.${suffix}`)) count++;
    return count;
  }

  row(table: string, id: number): number[] {
    const { dims, data } = this.get(`${table}.weight`);
    const [rows, dim] = [dims[0]!, dims[1]!];
    if (!(id >= 0 && id < rows)) throw new Error(`id ${id} is outside '${table}' of ${rows} rows`);
    return Array.from(data.subarray(id * dim, (id + 1) * dim));
  }

  rows(prefix: string, ids: readonly number[]): number[] {
    return ids.flatMap((id, i) => this.row(`${prefix}.${i}`, id));
  }

  /** `weight` is [outputs, inputs], `kernel` [inputs, outputs]. */
  linear(name: string, x: readonly number[]): number[] {
    const transposed = this.has(`${name}.kernel`);
    const { dims, data } = this.get(transposed ? `${name}.kernel` : `${name}.weight`);
    const bias = this.get(`${name}.bias`).data;
    const [inputs, outputs] = transposed ? [dims[0]!, dims[1]!] : [dims[1]!, dims[0]!];
    if (x.length !== inputs) throw new Error(`'${name}' takes ${inputs} numbers, found ${x.length}`);
    const out: number[] = [];
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o]!;
      for (let i = 0; i < inputs; i++) sum += x[i]! * data[transposed ? i * outputs + o : o * inputs + i]!;
      out.push(sum);
    }
    return out;
  }

  mlp(name: string, x: readonly number[], activate: Activate, activateLast = false): number[] {
    const layers = Math.max(this.count(name, 'weight'), this.count(name, 'kernel'));
    let value = [...x];
    for (let i = 0; i < layers; i++) {
      value = this.linear(`${name}.${i}`, value);
      if (i < layers - 1 || activateLast) value = value.map(activate);
    }
    return value;
  }

  layerNorm(name: string, x: readonly number[]): number[] {
    const [scale, shift] = [this.get(`${name}.weight`).data, this.get(`${name}.bias`).data];
    const mean = sum(x) / x.length;
    const variance = sum(x.map((v) => (v - mean) ** 2)) / x.length;
    return x.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * scale[i]! + shift[i]!);
  }
}

class Inputs {
  readonly #tensors: Readonly<Record<string, Tensor>>;

  constructor(tensors: Readonly<Record<string, Tensor>>) {
    this.#tensors = tensors;
  }

  /** All numbers of one row. */
  row(name: string, row: number): number[] {
    const tensor = this.#tensors[name];
    if (!tensor) throw new Error(`no input '${name}'`);
    const width = tensor.data.length / tensor.dims[0]!;
    return Array.from(tensor.data.subarray(row * width, (row + 1) * width), Number);
  }
}

function wnd(weights: Weights, inputs: Inputs): Score {
  return (row) => {
    const [dense, ids] = [inputs.row('dense', row), inputs.row('sparse', row)];
    const deep = weights.mlp('deep', [...weights.rows('deep_table', ids), ...dense], relu);
    return deep[0]! + sum(weights.rows('wide_table', ids)) + weights.linear('wide', dense)[0]!;
  };
}

function dlrm(weights: Weights, inputs: Inputs): Score {
  return (row) => {
    const bottom = weights.mlp('bottom', inputs.row('dense', row), relu, true);
    const vectors = [bottom, ...inputs.row('sparse', row).map((id, i) => weights.row(`table.${i}`, id))];
    const pairs = vectors.flatMap((a, i) => vectors.slice(0, i).map((b) => dot(a, b)));
    return weights.mlp('top', [...bottom, ...pairs], relu)[0]!;
  };
}

function din(weights: Weights, inputs: Inputs): Score {
  const activate = weights.uses('Relu') ? relu : sigmoid;
  return (row) => {
    const [items, categories] = [inputs.row('hist_item', row), inputs.row('hist_cat', row)];
    const embed = (id: number, category: number): number[] =>
      weights.row('item', id).concat(weights.row('category', category));
    const keys = items.map((id, i) => embed(id, categories[i]!));
    const item = inputs.row('item', row)[0]!;
    const query = embed(item, inputs.row('cat', row)[0]!);
    const divisor = weights.has('attention.divisor') ? Math.sqrt(query.length) : 1;
    const mask = inputs.row('hist_mask', row);
    const scores = keys.map((key, i) => {
      const pair = [...query, ...key, ...query.map((q, j) => q - key[j]!), ...query.map((q, j) => q * key[j]!)];
      const score = weights.mlp('attention', pair, activate)[0]!;
      return (mask[i]! > 0 ? score : -6e4) / divisor;
    });
    const attended = weightedSum(softmax(scores), keys);
    const history = weights.has('history.weight') ? weights.linear('history', attended) : attended;
    const profile = weights.rows('profile', inputs.row('profile', row));
    const logit = weights.mlp('top', [...history, ...query, ...profile], activate)[0]!;
    return weights.has('item_bias.weight') ? logit + weights.row('item_bias', item)[0]! : logit;
  };
}

function bst(weights: Weights, inputs: Inputs): Score {
  return (row) => {
    const ids = [...inputs.row('hist_item', row), ...inputs.row('item', row)];
    const x = ids.map((id, i) => addVectors(weights.row('item', id), weights.row('position', i)));
    const attended = selfAttention(weights, x).map((a, i) => weights.layerNorm('norm_1', addVectors(x[i]!, a)));
    const block = attended.map((a) =>
      weights.layerNorm('norm_2', addVectors(a, weights.mlp('feed_forward', a, leakyRelu))),
    );
    const profile = weights.rows('profile', inputs.row('profile', row));
    return weights.mlp('top', [...block.flat(), ...profile], leakyRelu)[0]!;
  };
}

function selfAttention(weights: Weights, x: readonly number[][]): number[][] {
  const project = (name: string): number[][] => x.map((v) => weights.linear(`attention.${name}`, v));
  const [query, key, value] = [project('query'), project('key'), project('value')];
  const width = headWidth(weights);
  const heads = x[0]!.length / width;
  return x.map((_, at) => {
    const mixed = Array.from({ length: heads }, (_, head) => {
      const part = (v: readonly number[]): number[] => v.slice(head * width, (head + 1) * width);
      const scores = key.map((k) => dot(part(query[at]!), part(k)) / Math.sqrt(width));
      return weightedSum(softmax(scores), value.map(part));
    });
    return weights.linear('attention.output', mixed.flat());
  });
}

/** The number of heads shows in no weight's shape; the divisor of the scores is the square root of a head's width. */
function headWidth(weights: Weights): number {
  return Math.round(weights.get('attention.divisor').data[0]! ** 2);
}

function relu(x: number): number {
  return Math.max(x, 0);
}

function leakyRelu(x: number): number {
  return x < 0 ? 0.01 * x : x;
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function sum(x: readonly number[]): number {
  return x.reduce((total, v) => total + v, 0);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return sum(a.map((v, i) => v * b[i]!));
}

function addVectors(a: readonly number[], b: readonly number[]): number[] {
  return a.map((v, i) => v + b[i]!);
}

function softmax(x: readonly number[]): number[] {
  const peak = Math.max(...x);
  const powers = x.map((v) => Math.exp(v - peak));
  const total = sum(powers);
  return powers.map((p) => p / total);
}

function weightedSum(weights: readonly number[], vectors: readonly number[][]): number[] {
  return vectors[0]!.map((_, d) => sum(vectors.map((v, i) => v[d]! * weights[i]!)));
}
