import { equal, shapesEqual, type Dim } from '../graph/dim.js';
import type { Graph, Node } from '../graph/graph.js';
import { tensorOf, type Tensor } from '../graph/tensor.js';
import { Attributes } from '../operators/attributes.js';
import { valuesRead } from '../operators/composite.js';
import type { AnalyzedGraph } from './analyze.js';
import { pairProducts } from './split-layer.js';

/** `count` rows of the weight matrix from `first` on, taken `sign` times, that a product multiplies a value with. */
interface Block {
  readonly first: number;
  readonly count: number;
  readonly sign: 1 | -1;
}

/** A product of a value with a constant matrix, and the bias that is added to it. */
interface Product {
  readonly x: string;
  /** [k, n] */
  readonly weight: { readonly k: number; readonly n: number; at(row: number, column: number): number };
  readonly bias: string | undefined;
  /** The last of the nodes that it stands for, and its result. */
  readonly root: Node;
}

/** Bytes that move in the time of an operation, on the devices that matter: one in eight. */
const OPERATIONS_PER_BYTE = 8;

/**
 * Whether leaving `saved` of the rows of a weight of `n` columns to the queries pays: every row of the batch saves their
 * operations, and the copy of what they multiply; it reads, writes and adds what comes of them instead.
 */
function pays(saved: number, n: number): boolean {
  const operations = 2 * saved * n;
  const bytes = 4 * (3 * n - 2 * saved);
  return saved > 0 && operations >= OPERATIONS_PER_BYTE * bytes;
}

/** Takes products of rows apart into what rows and what queries compute. */
class Splitter {
  readonly #source: AnalyzedGraph;
  readonly #shared: ReadonlySet<string>;
  readonly #producers = new Map<string, Node>();
  readonly #readers = new Map<string, Node[]>();
  readonly #constants: Map<string, Tensor>;
  /** Layers of attention to a target, for which there is a kernel that reads keys once and multiplies nothing twice. */
  readonly #pairs: ReadonlySet<Node>;

  constructor(source: AnalyzedGraph, shared: ReadonlySet<string>) {
    const { graph } = source;
    this.#source = source;
    this.#shared = shared;
    this.#constants = new Map(graph.constants);
    this.#pairs = pairProducts(source);
    for (const node of graph.nodes) {
      for (const name of node.outputs) this.#producers.set(name, node);
      for (const name of valuesRead(node)) this.#readers.set(name, [...(this.#readers.get(name) ?? []), node]);
    }
  }

  run(): Graph {
    const { graph } = this.#source;
    const replaced = new Map<Node, readonly Node[]>();
    for (const node of graph.nodes) {
      const product = this.#productOf(node);
      const parts = product && this.#split(product);
      if (!parts) continue;
      replaced.set(node, []);
      replaced.set(product.root, parts);
    }
    if (replaced.size === 0) return graph;
    return { ...graph, constants: this.#constants, nodes: graph.nodes.flatMap((n) => replaced.get(n) ?? [n]) };
  }

  #shape(name: string): readonly Dim[] | undefined {
    return this.#source.types.get(name)?.shape;
  }

  #tensor(name: string | undefined): Tensor | undefined {
    const known = name === undefined ? undefined : this.#source.known.get(name);
    return known?.kind === 'tensor' && known.tensor.dtype === 'float32' ? known.tensor : undefined;
  }

  #productOf(node: Node): Product | undefined {
    if (this.#pairs.has(node) || node.domain !== '' || (node.op !== 'MatMul' && node.op !== 'Gemm')) return undefined;
    const [x, w, c] = node.inputs as [string, string, string?];
    const tensor = this.#tensor(w);
    if (tensor?.dims.length !== 2 || this.#tensor(x) || this.#shared.has(x)) return undefined;
    const { data, dims } = tensor;
    const [first, second] = dims as [number, number];
    if (node.op === 'MatMul') {
      const weight = { k: first, n: second, at: (r: number, j: number) => Number(data[r * second + j]) };
      return { x, weight, ...this.#biasOf(node) };
    }
    const attributes = new Attributes(node);
    const plain = ['alpha', 'beta'].every((name) => attributes.number(name, 1) === 1);
    const bias = c ? this.#tensor(c) : undefined;
    if (!plain || attributes.number('transA', 0) !== 0 || (c && bias?.dims.length !== 1)) return undefined;
    const transposed = attributes.number('transB', 0) !== 0;
    const weight = transposed
      ? { k: second, n: first, at: (r: number, j: number) => Number(data[j * second + r]) }
      : { k: first, n: second, at: (r: number, j: number) => Number(data[r * second + j]) };
    return { x, weight, bias: c || undefined, root: node };
  }

  /** The bias that alone reads a product, if that is what comes next. */
  #biasOf(product: Node): Pick<Product, 'bias' | 'root'> {
    const [result] = product.outputs as [string];
    const [reader, ...others] = this.#readers.get(result) ?? [];
    const isOutput = this.#source.graph.outputs.some((o) => o.name === result);
    if (reader?.op === 'Add' && others.length === 0 && !isOutput) {
      const addend = reader.inputs.find((name) => name !== result);
      if (this.#tensor(addend)?.dims.length === 1) return { bias: addend, root: reader };
    }
    return { bias: undefined, root: product };
  }

  /**
   * Adds the blocks of the weight that each value in `name` is multiplied with to `terms`: parts of a concatenation, and
   * both sides of a sum or difference where one of them is not computed for every place.
   */
  #collect(name: string, block: Block, lead: readonly Dim[], terms: Map<string, Block[]>): void {
    const node = this.#producers.get(name);
    const shape = this.#shape(name)!;
    const less = (value: string): boolean => {
      const s = this.#shape(value);
      return s !== undefined && (this.#shared.has(value) || !shapesEqual(s.slice(0, -1), lead));
    };
    const wide = (value: string): boolean => {
      const s = this.#shape(value);
      return s !== undefined && s.length >= 2 && equal(s.at(-1)!, block.count);
    };
    if (node && node.domain === '' && !this.#shared.has(name)) {
      const [a, b] = node.inputs as [string, string];
      if (node.op === 'Concat' && [-1, shape.length - 1].includes(new Attributes(node).number('axis', 0))) {
        let { first } = block;
        for (const part of node.inputs) {
          const count = this.#shape(part)!.at(-1) as number;
          this.#collect(part, { ...block, first, count }, lead, terms);
          first += count;
        }
        return;
      }
      if (node.op === 'Expand' && wide(a)) return this.#collect(a, block, lead, terms);
      if ((node.op === 'Add' || node.op === 'Sub') && wide(a) && wide(b) && (less(a) || less(b))) {
        this.#collect(a, block, lead, terms);
        const sign = node.op === 'Add' ? block.sign : (-block.sign as 1 | -1);
        return this.#collect(b, { ...block, sign }, lead, terms);
      }
    }
    terms.set(name, [...(terms.get(name) ?? []), block]);
  }

  #split(product: Product): Node[] | undefined {
    const { x, weight, bias, root } = product;
    const shape = this.#shape(x)!;
    const lead = shape.slice(0, -1);
    if (shape.length < 2 || shape.at(-1) !== weight.k) return undefined;
    const terms = new Map<string, Block[]>();
    this.#collect(x, { first: 0, count: weight.k, sign: 1 }, lead, terms);
    const shared = [...terms.keys()].filter((name) => this.#shared.has(name));
    const rows = [...terms.keys()].filter((name) => !this.#shared.has(name));
    const every = rows.filter((name) => shapesEqual(this.#shape(name)!.slice(0, -1), lead));
    const width = every.reduce((sum, name) => sum + terms.get(name)![0]!.count, 0);
    if (shared.length === 0 || !pays(weight.k - width, weight.n)) return undefined;

    const nodes: Node[] = [];
    const add = (op: string, inputs: readonly string[], attributes: Node['attributes'] = {}): string => {
      const name = `${root.name}/${op}${nodes.length}`;
      nodes.push({ ...root, name, op, inputs, outputs: [`${name}:0`], attributes });
      return `${name}:0`;
    };
    const sum = (values: readonly string[]): string => values.reduce((a, b) => add('Add', [a, b]));
    const productOf = (names: readonly string[]): string => {
      const value = names.length === 1 ? names[0]! : add('Concat', names, { axis: -1 });
      const name = `${root.name}/weight${nodes.length}`;
      this.#constants.set(
        name,
        stacked(
          product,
          names.map((n) => terms.get(n)!),
        ),
      );
      return add('MatMul', [value, name]);
    };
    const products = (names: readonly string[]): string[] => this.#alike(names).map((group) => productOf(group));
    // The bias goes where it costs least: to what queries compute.
    const once = sum([...products(shared), ...(bias ? [bias] : [])]);
    // What a row computes fewer times than it has places joins that before the large product, which then adds both.
    const rest = sum([once, ...products(rows.filter((name) => !every.includes(name)))]);
    if (every.length > 0) sum([productOf(every), rest]);
    const last = nodes.pop()!;
    return [...nodes, { ...last, outputs: root.outputs }];
  }

  /** Names grouped by the shape in front of the last dimension: those that can be concatenated. */
  #alike(names: readonly string[]): string[][] {
    const groups = new Map<string, string[]>();
    for (const name of names) {
      const key = this.#shape(name)!.slice(0, -1).map(String).join();
      groups.set(key, [...(groups.get(key) ?? []), name]);
    }
    return [...groups.values()];
  }
}

/** The weights of several values below each other, each the sum of its blocks. */
function stacked({ weight }: Product, values: readonly (readonly Block[])[]): Tensor {
  const { n } = weight;
  const k = values.reduce((sum, [block]) => sum + block!.count, 0);
  const data = new Float64Array(k * n);
  let row = 0;
  for (const blocks of values) {
    const { count } = blocks[0]!;
    for (let r = 0; r < count; r++, row++) {
      for (let j = 0; j < n; j++) {
        for (const { first, sign } of blocks) data[row * n + j]! += sign * weight.at(first + r, j);
      }
    }
  }
  return tensorOf('float32', [k, n], data);
}

/**
 * Takes matrix products apart whose rows are made of what queries share and what they do not:
 * `concat(k, q - k, x) W` is `k (W1 - W2) + q W2 + x W3`. The first product then runs once a query, the second once a row,
 * and only the third for every place of a row's sequence. This is the layer where a ranker joins user and candidate.
 */
export function splitProducts(source: AnalyzedGraph, shared: ReadonlySet<string>): Graph {
  return new Splitter(source, shared).run();
}
