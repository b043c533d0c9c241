import { equal, shapesEqual, type Dim } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { MODULATED_MATMUL } from '../operators/matmul/modulated.js';
import type { Known, ValueType } from '../operators/operator.js';
import { findOperator } from '../operators/registry.js';
import { needed, type AnalyzedGraph, type AnalyzedNode } from './analyze.js';
import { contextOf } from './graph-edits.js';
import { RENAMING } from './simplify.js';

/** What a part of the concatenation is made of: the target q, a key k, or both. */
type Role = 'q' | 'k' | 'q-k' | 'k-q' | 'q*k';

/** A layer over the last axis of a concatenation of [q, k, q - k, q * k], in any order and number. */
interface PairLayer {
  readonly product: AnalyzedNode;
  /** The target: [batch, width], or [batch, 1, width]. */
  readonly q: string;
  /** The keys: [batch, length, width]. */
  readonly k: string;
  readonly roles: readonly Role[];
  /** [roles * width, columns]. */
  readonly weight: Tensor;
  readonly isTransposed: boolean;
  /** C of a Gemm. */
  readonly bias: string | undefined;
}

/** How much of a part's weight goes to each of the three products, and in which. */
const SHARES: Readonly<Record<Role, { readonly q: number; readonly k: number; readonly both: number }>> = {
  q: { q: 1, k: 0, both: 0 },
  k: { q: 0, k: 1, both: 0 },
  'q-k': { q: 1, k: -1, both: 0 },
  'k-q': { q: -1, k: 1, both: 0 },
  'q*k': { q: 0, k: 0, both: 1 },
};

class Finder {
  readonly #analyzed: AnalyzedGraph;
  readonly #producers: ReadonlyMap<string, AnalyzedNode>;

  constructor(analyzed: AnalyzedGraph) {
    this.#analyzed = analyzed;
    this.#producers = new Map(analyzed.nodes.flatMap((n) => n.node.outputs.map((name) => [name, n])));
  }

  find(product: AnalyzedNode): PairLayer | undefined {
    const [x, w] = product.node.inputs as [string, string];
    const isGemm = product.node.op === 'Gemm';
    if (!isGemm && product.node.op !== 'MatMul') return undefined;
    const { attributes } = product.context;
    const isPlain = ['alpha', 'beta'].every((name) => attributes.number(name, 1) === 1);
    if (isGemm && (!isPlain || attributes.number('transA', 0) !== 0)) return undefined;
    const known = this.#analyzed.known.get(w);
    if (known?.kind !== 'tensor' || known.tensor.dims.length !== 2 || known.tensor.dtype !== 'float32')
      return undefined;
    const concat = this.#behindNames(x);
    if (concat?.node.op !== 'Concat') return undefined;
    const { shape } = concat.outputs[0]!;
    const rank = shape.length;
    const axis = concat.context.attributes.number('axis', 0);
    // The names between must leave the last axis alone.
    if (rank !== 3 || ![2, -1].includes(axis) || !equal(this.#shape(x).at(-1)!, shape[2]!)) return undefined;
    const parts = this.#parts(concat.node.inputs, shape);
    const isTransposed = isGemm && attributes.number('transB', 0) !== 0;
    const bias = isGemm ? product.node.inputs[2] : undefined;
    // A bias along the rows has no place in a line a row.
    if (bias !== undefined && bias !== '' && this.#shape(bias).length > 1) return undefined;
    return parts && { product, ...parts, weight: known.tensor, isTransposed, bias: bias === '' ? undefined : bias };
  }

  #shape(name: string): readonly Dim[] {
    return this.#analyzed.types.get(name)!.shape;
  }

  #behindNames(name: string): AnalyzedNode | undefined {
    let producer = this.#producers.get(name);
    while (producer && RENAMING.has(producer.node.op)) producer = this.#producers.get(producer.node.inputs[0]!);
    return producer;
  }

  /** What is repeated along the keys in the value `name` of `shape`; undefined where it is not a repetition. */
  #repeated(name: string, shape: readonly Dim[]): string | undefined {
    const [batch, , width] = shape as [Dim, Dim, Dim];
    const own = this.#shape(name);
    if (shapesEqual(own, [batch, 1, width])) return name;
    const producer = this.#producers.get(name);
    if (!producer || !shapesEqual(own, shape)) return undefined;
    const source = producer.node.inputs[0]!;
    if (producer.node.op === 'Expand' || producer.node.op === 'Tile')
      return shapesEqual(this.#shape(source), [batch, 1, width]) ? source : undefined;
    // TensorFlow's way: [batch, width] tiled to [batch, length * width], then reshaped.
    if (producer.node.op !== 'Reshape') return undefined;
    const tile = this.#producers.get(source);
    const tiled = tile?.node.op === 'Tile' ? tile.node.inputs[0]! : undefined;
    const isLine = tiled !== undefined && shapesEqual(this.#shape(tiled), [batch, width]);
    return isLine && this.#shape(source).length === 2 && equal(this.#shape(source)[0]!, batch) ? tiled : undefined;
  }

  /** The target before it was given its axis of 1, so that it has one name. */
  #plain(target: string | undefined, [batch, , width]: readonly Dim[]): string | undefined {
    let name = target;
    for (;;) {
      const producer = name === undefined ? undefined : this.#producers.get(name);
      if (!producer || !RENAMING.has(producer.node.op)) return name;
      const source = producer.node.inputs[0]!;
      const isLine = [
        [batch!, width!],
        [batch!, 1, width!],
      ].some((s) => shapesEqual(s, this.#shape(source)));
      if (!isLine) return name;
      name = source;
    }
  }

  #parts(names: readonly string[], whole: readonly Dim[]): Pick<PairLayer, 'q' | 'k' | 'roles'> | undefined {
    const shape = [whole[0]!, whole[1]!, this.#shape(names[0]!).at(-1)!];
    const targets = new Set<string>();
    const keys = new Set<string>();
    const side = (name: string): 'q' | 'k' => {
      const target = this.#plain(this.#repeated(name, shape), shape);
      (target === undefined ? keys : targets).add(target ?? name);
      return target === undefined ? 'k' : 'q';
    };
    const roles = names.map((name): Role | undefined => {
      if (!shapesEqual(this.#shape(name), shape)) return undefined;
      const producer = this.#producers.get(name);
      const op = producer?.node.op;
      if (op !== 'Sub' && op !== 'Mul') return side(name);
      const sides = producer!.node.inputs.map(side).join('');
      if (op === 'Mul') return sides === 'qk' || sides === 'kq' ? 'q*k' : undefined;
      return sides === 'qk' ? 'q-k' : sides === 'kq' ? 'k-q' : undefined;
    });
    const [q, k] = [[...targets][0], [...keys][0]];
    const isPair = targets.size === 1 && keys.size === 1 && shapesEqual(this.#shape(k!), shape);
    // Without a part of both, there is nothing to save but a copy of q.
    const saves = roles.some((role) => role !== undefined && role.length > 1) || roles.includes('q');
    return isPair && saves && roles.every((role) => role !== undefined)
      ? { q: q!, k: k!, roles: roles as Role[] }
      : undefined;
  }
}

/** The products that splitLayers takes apart: passes before it leave them whole. */
export function pairProducts(analyzed: AnalyzedGraph): Set<Node> {
  const finder = new Finder(analyzed);
  return new Set(analyzed.nodes.filter((n) => finder.find(n)).map((n) => n.node));
}

/** The sum of the parts of the weight, each as often as `share` says; [width, columns]. */
function weighted({ weight, roles, isTransposed }: PairLayer, share: (role: Role) => number): Float32Array {
  const [rows, columns] = isTransposed ? [weight.dims[1]!, weight.dims[0]!] : [weight.dims[0]!, weight.dims[1]!];
  const width = rows / roles.length;
  const from = weight.data as Float32Array;
  const sum = new Float64Array(width * columns);
  for (const [part, role] of roles.entries()) {
    const factor = share(role);
    if (factor === 0) continue;
    for (let i = 0; i < width; i++) {
      const row = part * width + i;
      for (let j = 0; j < columns; j++)
        sum[i * columns + j]! += factor * from[isTransposed ? j * rows + row : row * columns + j]!;
    }
  }
  return Float32Array.from(sum);
}

/** Adds to a graph that is rebuilt: values with their types, constants, and nodes. */
class Builder {
  readonly types: Map<string, ValueType>;
  readonly known: Map<string, Known>;
  readonly nodes: AnalyzedNode[] = [];

  constructor({ types, known }: AnalyzedGraph) {
    this.types = new Map(types);
    this.known = new Map(known);
  }

  constant(name: string, dims: readonly number[], data: Float32Array): string {
    this.types.set(name, { dtype: 'float32', shape: dims });
    this.known.set(name, { kind: 'tensor', tensor: { dtype: 'float32', dims, data } });
    return name;
  }

  /** A node of an ONNX operator with one output, which it returns. */
  add(op: string, name: string, opset: number, inputs: readonly string[]): string {
    const node: Node = { name, op, domain: '', opset, inputs, outputs: [name], attributes: {} };
    const operator = findOperator(node)!;
    const context = contextOf(node, this);
    const outputs = operator.infer(context);
    this.types.set(name, outputs[0]!);
    this.nodes.push({ node, operator, context, outputs });
    return name;
  }
}

function split(layer: PairLayer, builder: Builder): void {
  const { product, q, k, roles } = layer;
  const { name, opset, outputs } = product.node;
  const shape = builder.types.get(k)!.shape;
  const share = (of: 'q' | 'k' | 'both'): Float32Array => weighted(layer, (role) => SHARES[role][of]);
  const ofTarget = share('q');
  const width = layer.weight.dims[layer.isTransposed ? 1 : 0]! / roles.length;
  const columns = ofTarget.length / width;
  const [keys, both] = [share('k'), share('both')];
  const stacked = new Float32Array(2 * keys.length);
  stacked.set(keys);
  stacked.set(both, keys.length);

  const line = builder.add('MatMul', `${name}/target`, opset, [
    q,
    builder.constant(`${name}/target weight`, [width, columns], ofTarget),
  ]);
  const addend = layer.bias === undefined ? line : builder.add('Add', `${name}/target bias`, opset, [line, layer.bias]);
  const weights = builder.constant(`${name}/key weights`, [2, width, columns], stacked);
  const node: Node = {
    name,
    op: MODULATED_MATMUL.type,
    domain: BRAID_DOMAIN,
    opset: 1,
    inputs: [k, weights, addend, q],
    outputs,
    attributes: {},
  };
  builder.nodes.push({
    node,
    operator: MODULATED_MATMUL,
    context: contextOf(node, builder),
    outputs: product.outputs,
    epilogue: { chain: [], inner: [...shape.slice(0, 2), columns], shapes: new Map() },
  });
}

/**
 * The layer with which attention to a target begins: a product over [q, k, q - k, q * k], q being the target of a row and
 * k each of its behaviours. Split by parts of the weight it is
 *
 *     q (Wq + Wd)  +  k (Wk - Wd + diag(q) Wp)
 *
 * the first once a row, the second a product of a quarter of the width, and no concatenation in memory.
 */
export function splitLayers(analyzed: AnalyzedGraph): AnalyzedGraph {
  const finder = new Finder(analyzed);
  const builder = new Builder(analyzed);
  let found = false;
  for (const node of analyzed.nodes) {
    const layer = finder.find(node);
    if (layer) split(layer, builder);
    else builder.nodes.push(node);
    found ||= layer !== undefined;
  }
  if (!found) return analyzed;
  const { types, known } = builder;
  return { ...analyzed, types, known, nodes: needed(analyzed.graph, builder.nodes, known) };
}
