import { shapesEqual } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { toFloat64 } from '../graph/tensor.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { SHORT_ATTENTION } from '../operators/attention/short.js';
import { needed, type AnalyzedGraph, type AnalyzedNode } from './analyze.js';
import { contextOf, countReaders } from './graph-edits.js';

/** Most keys for which a query goes by itself, and most features: they are registers of its invocation. */
const MOST_KEYS = 128;
const MOST_FEATURES = 64;

/** A factor that a value is multiplied by, and the value without it. */
interface Scaled {
  readonly name: string;
  readonly scale: number;
}

class Finder {
  readonly #analyzed: AnalyzedGraph;
  readonly #producers: ReadonlyMap<string, AnalyzedNode>;
  readonly #readers: ReadonlyMap<string, number>;
  readonly #readerOf: ReadonlyMap<string, AnalyzedNode>;

  constructor(analyzed: AnalyzedGraph) {
    this.#analyzed = analyzed;
    this.#producers = new Map(analyzed.nodes.flatMap((n) => n.node.outputs.map((name) => [name, n])));
    this.#readers = countReaders(analyzed);
    this.#readerOf = new Map(analyzed.nodes.flatMap((n) => n.node.inputs.map((name) => [name, n])));
  }

  /** The nodes of an attention that ends in the product `last`, as one; in the place of the last of them. */
  find(last: AnalyzedNode): { readonly end: AnalyzedNode; readonly fused: AnalyzedNode } | undefined {
    const { node } = last;
    if (node.op !== 'MatMul') return undefined;
    const softmax = this.#alone(node.inputs[0]!);
    if (softmax?.node.op !== 'Softmax' || !this.#alongLast(softmax)) return undefined;
    const [scores, mask] = this.#unmasked(softmax.node.inputs[0]!) ?? [];
    if (scores === undefined) return undefined;
    const outer = this.#unscaled(scores, true);
    const product = this.#alone(outer.name);
    if (product?.node.op !== 'MatMul') return undefined;
    const [q, k] = product.node.inputs.map((name) => this.#unscaled(name, false)) as [Scaled, Scaled];
    const v = node.inputs[1]!;
    if (!this.#fits([q.name, k.name, v, ...(mask === undefined ? [] : [mask])])) return undefined;

    const transpose = this.#soleReader(node.outputs[0]!);
    const perm = transpose?.node.op === 'Transpose' ? transpose.node.attributes['perm'] : undefined;
    const isMoved = Array.isArray(perm) && perm.at(-1) === perm.length - 1;
    const end = isMoved ? transpose! : last;
    const fusedNode: Node = {
      name: node.name,
      op: SHORT_ATTENTION.type,
      domain: BRAID_DOMAIN,
      opset: 1,
      inputs: [q.name, k.name, v, ...(mask === undefined ? [] : [mask])],
      outputs: end.node.outputs,
      attributes: { scale: outer.scale * q.scale * k.scale, perm: isMoved ? perm : [] },
    };
    const context = contextOf(fusedNode, this.#analyzed);
    return { end, fused: { node: fusedNode, operator: SHORT_ATTENTION, context, outputs: end.outputs } };
  }

  /** Producer of a value that one node alone reads. */
  #alone(name: string): AnalyzedNode | undefined {
    return this.#readers.get(name) === 1 ? this.#producers.get(name) : undefined;
  }

  #soleReader(name: string): AnalyzedNode | undefined {
    return this.#readers.get(name) === 1 ? this.#readerOf.get(name) : undefined;
  }

  #alongLast({ context }: AnalyzedNode): boolean {
    const rank = context.input(0).shape.length;
    return context.axis(context.attributes.number('axis', context.node.opset < 13 ? 1 : -1), rank) === rank - 1;
  }

  /** A value that is added to the scores before the softmax; the product is on the other side. */
  #unmasked(name: string): readonly [scores: string, mask?: string] | undefined {
    const producer = this.#alone(name);
    if (producer?.node.op !== 'Add') return [name];
    const [a, b] = producer.node.inputs as [string, string];
    const isScores = (value: string): boolean => this.#alone(this.#unscaled(value, true).name)?.node.op === 'MatMul';
    const [scores, mask] = isScores(a) ? [a, b] : isScores(b) ? [b, a] : [];
    if (scores === undefined || mask === undefined) return undefined;
    const { shape } = this.#analyzed.types.get(scores)!;
    return shapesEqual(shape, producer.outputs[0]!.shape) ? [scores, mask] : undefined;
  }

  /** `name` without the constant that it is multiplied or divided by; what is between has to be read by none other where `alone`. */
  #unscaled(name: string, alone: boolean): Scaled {
    const producer = alone ? this.#alone(name) : this.#producers.get(name);
    const [a, b] = producer?.node.inputs ?? [];
    const unchanged = { name, scale: 1 };
    if (producer?.node.op !== 'Mul' && producer?.node.op !== 'Div') return unchanged;
    const isDivision = producer.node.op === 'Div';
    const right = this.#scalar(b!);
    if (right !== undefined) return { name: a!, scale: isDivision ? 1 / right : right };
    const left = isDivision ? undefined : this.#scalar(a!);
    return left === undefined ? unchanged : { name: b!, scale: left };
  }

  #scalar(name: string): number | undefined {
    const value = this.#analyzed.known.get(name);
    if (value?.kind !== 'tensor' || value.tensor.data.length !== 1 || value.tensor.dims.length > 1) return undefined;
    return toFloat64(value.tensor)[0];
  }

  /** Ranks of at least 3 that agree, few keys and features, floats all. */
  #fits(names: readonly string[]): boolean {
    const [q, k, v] = names.map((name) => this.#analyzed.types.get(name)!);
    const few = (dim: unknown, most: number): boolean => typeof dim === 'number' && dim >= 1 && dim <= most;
    return (
      names.every((name) => this.#analyzed.types.get(name)!.dtype === 'float32') &&
      q!.shape.length >= 3 &&
      q!.shape.length === k!.shape.length &&
      q!.shape.length === v!.shape.length &&
      few(k!.shape.at(-1), MOST_KEYS) &&
      few(q!.shape.at(-1), MOST_FEATURES) &&
      few(v!.shape.at(-1), MOST_FEATURES)
    );
  }
}

/**
 * Attention over short sequences in one kernel: MatMul, a scale on either side of it, an added mask, Softmax, MatMul, and
 * the Transpose that joins the heads. The scores never lie in memory.
 */
export function fuseShortAttention(analyzed: AnalyzedGraph): AnalyzedGraph {
  const finder = new Finder(analyzed);
  const ends = new Map<AnalyzedNode, AnalyzedNode>();
  for (const node of analyzed.nodes) {
    const found = finder.find(node);
    if (found) ends.set(found.end, found.fused);
  }
  if (ends.size === 0) return analyzed;
  const nodes = analyzed.nodes.map((node) => ends.get(node) ?? node);
  return { ...analyzed, nodes: needed(analyzed.graph, nodes, analyzed.known) };
}
