import { toFloat64 } from '../graph/tensor.js';
import type { Chain, Source } from '../operators/elementwise/chain.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';
import type { Epilogue } from './fuse.js';
import { countReaders } from './graph-edits.js';

/** Input of a product that is added to it. */
const ADDEND = 2;

/** A product with a constant matrix, and what it does to its results. */
export interface Linear {
  readonly node: AnalyzedNode;
  readonly k: number;
  readonly n: number;
  /** [k, n], row-major; made when asked for. */
  weight(): Float64Array;
  /** A constant line that is added to all rows. */
  readonly bias: Float64Array | undefined;
  readonly chain: Chain;
  /** Whether it reads nothing else: it can stand before another layer. */
  readonly isPlain: boolean;
  /** Whether the result still has a line of n for each line of k. */
  readonly keepsLines: boolean;
}

export function epilogueOf({ epilogue, outputs }: AnalyzedNode): Epilogue {
  return epilogue ?? { chain: [], inner: outputs[0]!.shape, shapes: new Map() };
}

export function isInput(source: Source): source is { readonly input: number } {
  return typeof source === 'object' && 'input' in source;
}

/** Linear layers of a graph whose products have taken what follows them, and how they follow each other. */
export class LinearLayers {
  readonly #analyzed: AnalyzedGraph;
  readonly #producers: ReadonlyMap<string, AnalyzedNode>;
  readonly #readerOf: ReadonlyMap<string, AnalyzedNode>;
  readonly #readers: ReadonlyMap<string, number>;
  readonly #found = new Map<AnalyzedNode, Linear | undefined>();

  constructor(analyzed: AnalyzedGraph) {
    this.#analyzed = analyzed;
    this.#producers = new Map(analyzed.nodes.flatMap((n) => n.node.outputs.map((name) => [name, n])));
    this.#readerOf = new Map(analyzed.nodes.flatMap((n) => n.node.inputs.map((name) => [name, n])));
    this.#readers = countReaders(analyzed);
  }

  of(node: AnalyzedNode): Linear | undefined {
    if (!this.#found.has(node)) this.#found.set(node, this.#linearOf(node));
    return this.#found.get(node);
  }

  /** The layer whose result is what `linear` multiplies, where nothing else reads it. */
  before({ node, k }: Linear): Linear | undefined {
    const [name, ...others] = node.node.inputs as [string, ...string[]];
    const producer = others.includes(name) ? undefined : this.sole(name);
    const linear = producer && this.of(producer);
    return linear?.isPlain && linear.keepsLines && linear.n === k ? linear : undefined;
  }

  producer(name: string): AnalyzedNode | undefined {
    return this.#producers.get(name);
  }

  /** What makes a value that one node alone reads. */
  sole(name: string): AnalyzedNode | undefined {
    return this.#readers.get(name) === 1 ? this.#producers.get(name) : undefined;
  }

  /** The node that alone reads the first result of `node`. */
  reader({ node }: AnalyzedNode): AnalyzedNode | undefined {
    const [name] = node.outputs as [string];
    return this.#readers.get(name) === 1 ? this.#readerOf.get(name) : undefined;
  }

  /** A constant of n columns that is the same for all rows. */
  line(name: string, n: number): Float64Array | undefined {
    const known = this.#analyzed.known.get(name);
    if (known?.kind !== 'tensor' || known.tensor.dtype !== 'float32') return undefined;
    const { dims } = known.tensor;
    if (!dims.slice(0, -1).every((d) => d === 1)) return undefined;
    const values = toFloat64(known.tensor);
    if (values.length === n) return values;
    return values.length === 1 ? new Float64Array(n).fill(values[0]!) : undefined;
  }

  #linearOf(node: AnalyzedNode): Linear | undefined {
    const { op, inputs, domain } = node.node;
    const isGemm = op === 'Gemm';
    if ((op !== 'MatMul' && !isGemm) || domain !== '') return undefined;
    const { attributes } = node.context;
    const tensor = node.context.tensor(1);
    const x = node.context.input(0);
    if (!tensor || tensor.dims.length !== 2 || tensor.dtype !== 'float32' || x.dtype !== 'float32') return undefined;
    if (x.shape.length < 2 || this.#analyzed.known.has(inputs[0]!)) return undefined;
    if (isGemm && attributes.number('transA', 0) !== 0) return undefined;
    const isTransposed = isGemm && attributes.number('transB', 0) !== 0;
    const [k, n] = isTransposed ? [tensor.dims[1]!, tensor.dims[0]!] : [tensor.dims[0]!, tensor.dims[1]!];
    if (k === 0 || n === 0) return undefined;
    const epilogue = epilogueOf(node);
    const alpha = isGemm ? attributes.number('alpha', 1) : 1;
    const beta = isGemm && !epilogue.shapes.has(ADDEND) ? attributes.number('beta', 1) : 1;
    const addend = inputs[ADDEND] || undefined;
    const bias = addend === undefined ? undefined : this.line(addend, n);
    if (addend !== undefined && !bias && !epilogue.shapes.has(ADDEND)) return undefined;
    return {
      node,
      k,
      n,
      weight() {
        const values = toFloat64(tensor);
        const weight = new Float64Array(k * n);
        for (let i = 0; i < k; i++)
          for (let j = 0; j < n; j++) weight[i * n + j] = alpha * values[isTransposed ? j * k + i : i * n + j]!;
        return weight;
      },
      bias: bias?.map((v) => beta * v),
      chain: epilogue.chain,
      isPlain: !epilogue.chain.some((l) => l.sources.some(isInput)) && (addend === undefined || bias !== undefined),
      keepsLines: node.outputs[0]!.shape.at(-1) === n,
    };
  }
}
