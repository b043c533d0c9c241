import { interactionNeeds, interactionPlace, interactionTiles } from '../../shaders/interaction.js';
import { NOWHERE } from '../../shaders/matmul_parts.js';
import { equal, shapesEqual } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { toFloat64 } from '../graph/tensor.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { INTERACTION } from '../operators/interaction/index.js';
import { PICKED_MATMUL } from '../operators/matmul/picked.js';
import type { Known, ValueType } from '../operators/operator.js';
import { needed, type AnalyzedGraph, type AnalyzedNode } from './analyze.js';
import { contextOf, countReaders } from './graph-edits.js';
import type { DeviceCaps } from './kernel.js';
import { RENAMING } from './simplify.js';

/** Where results of an interaction go: to the value `end` makes, pairs from column `pairs`, and vectors beside them. */
interface Destination {
  readonly end: AnalyzedNode;
  readonly pairs: number;
  readonly copies: readonly { readonly vector: number; readonly to: number }[];
}

class Finder {
  readonly #analyzed: AnalyzedGraph;
  readonly #producers: ReadonlyMap<string, AnalyzedNode>;
  readonly #readerOf: ReadonlyMap<string, AnalyzedNode>;
  readonly #readers: ReadonlyMap<string, number>;

  constructor(analyzed: AnalyzedGraph) {
    this.#analyzed = analyzed;
    this.#producers = new Map(analyzed.nodes.flatMap((n) => n.node.outputs.map((name) => [name, n])));
    this.#readerOf = new Map(analyzed.nodes.flatMap((n) => n.node.inputs.map((name) => [name, n])));
    this.#readers = countReaders(analyzed);
  }

  /** The vectors whose products among themselves `picked` picks from. */
  vectors({ node }: AnalyzedNode): string | undefined {
    if (node.op !== PICKED_MATMUL.type) return undefined;
    const [a, b] = node.inputs.map((name) => this.#unturned(name)) as [Turned, Turned];
    return a.name === b.name && a.turned !== b.turned ? a.name : undefined;
  }

  /** What alone reads the pairs: a concatenation with some of the vectors, a Transpose, or the pairs as they are. */
  destination(picked: AnalyzedNode, vectors: string): Destination | undefined {
    let end = this.#renamed(picked);
    if (picked.context.attributes.number('columns', 0) !== 0) {
      const turn = this.#soleReader(end);
      if (turn?.node.op !== 'Transpose' || String(turn.node.attributes['perm']) !== '1,0') return undefined;
      end = this.#renamed(turn);
    }
    const concat = this.#soleReader(end);
    const axis = concat?.node.op === 'Concat' ? concat.context.attributes.number('axis', 0) : 0;
    if (!concat || (axis !== 1 && axis !== -1)) return { end, pairs: 0, copies: [] };
    const parts = this.#partsOf(vectors);
    const copies: { vector: number; to: number }[] = [];
    let pairs = -1;
    let column = 0;
    for (const [i, name] of concat.node.inputs.entries()) {
      const width = concat.context.input(i).shape[1];
      if (typeof width !== 'number') return { end, pairs: 0, copies: [] };
      const vector = parts.indexOf(this.#unnamed(name));
      if (name === end.node.outputs[0] && pairs < 0) pairs = column;
      else if (vector >= 0) copies.push({ vector, to: column });
      else return { end, pairs: 0, copies: [] };
      column += width;
    }
    return { end: concat, pairs, copies };
  }

  /** The values that are concatenated to the vectors, one each, in order; none where they are made otherwise. */
  #partsOf(vectors: string): string[] {
    const concat = this.#producers.get(this.#unnamed(vectors));
    if (concat?.node.op !== 'Concat') return [];
    const [, count, width] = this.#analyzed.types.get(vectors)!.shape;
    const isVector = (name: string): boolean => {
      const { shape } = this.#analyzed.types.get(name)!;
      return shape.length >= 2 && shape.slice(1, -1).every((d) => d === 1) && equal(shape.at(-1)!, width!);
    };
    const axis = concat.context.attributes.number('axis', 0);
    return axis !== 0 && concat.node.inputs.length === count && concat.node.inputs.every(isVector)
      ? concat.node.inputs.map((name) => this.#unnamed(name))
      : [];
  }

  /** The last of the nodes that only rename the result and leave its shape. */
  #renamed(node: AnalyzedNode): AnalyzedNode {
    const reader = this.#soleReader(node);
    const isSame =
      reader && RENAMING.has(reader.node.op) && shapesEqual(reader.outputs[0]!.shape, node.outputs[0]!.shape);
    return isSame ? this.#renamed(reader) : node;
  }

  #soleReader({ node }: AnalyzedNode): AnalyzedNode | undefined {
    const [name] = node.outputs as [string];
    return this.#readers.get(name) === 1 ? this.#readerOf.get(name) : undefined;
  }

  /** The value that `name` is another shape of. */
  #unnamed(name: string): string {
    const producer = this.#producers.get(name);
    return producer && RENAMING.has(producer.node.op) ? this.#unnamed(producer.node.inputs[0]!) : name;
  }

  #unturned(name: string): Turned {
    const producer = this.#producers.get(name);
    const isTurn = producer?.node.op === 'Transpose' && String(producer.node.attributes['perm']) === '0,2,1';
    return isTurn ? { name: producer.node.inputs[0]!, turned: true } : { name, turned: false };
  }
}

interface Turned {
  readonly name: string;
  readonly turned: boolean;
}

/** Where each element of the tiles goes, from `places` of [vectors, vectors]; undefined where two share one. */
function tilePlaces(places: Float64Array, vectors: number, first: number): Uint32Array | undefined {
  const result = new Uint32Array(16 * interactionTiles(vectors)).fill(NOWHERE);
  for (const [i, place] of places.entries()) {
    if (place === NOWHERE) continue;
    const { tile, at } = interactionPlace(Math.floor(i / vectors), i % vectors, vectors);
    if (result[16 * tile + at] !== NOWHERE) return undefined;
    result[16 * tile + at] = first + place;
  }
  return result;
}

/**
 * The pairwise interaction of a row's vectors: products of all pairs, of which a constant picks some, and their
 * concatenation with some of the vectors, as one kernel that reads the vectors once. Not on a software adapter, which
 * computes products by rows and columns faster.
 */
export function fuseInteractions(analyzed: AnalyzedGraph, caps: DeviceCaps): AnalyzedGraph {
  if (caps.software) return analyzed;
  const finder = new Finder(analyzed);
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  const ends = new Map<AnalyzedNode, AnalyzedNode>();
  for (const picked of analyzed.nodes) {
    const source = finder.vectors(picked);
    const [, vectors, width] = source === undefined ? [] : types.get(source)!.shape;
    if (source === undefined || typeof vectors !== 'number' || typeof width !== 'number') continue;
    const destination = finder.destination(picked, source);
    const columns = destination?.end.outputs[0]!.shape[1];
    if (!destination || typeof columns !== 'number') continue;
    const { threads, bytes } = interactionNeeds({ vectors, width, columns });
    if (threads > caps.maxWorkgroupInvocations || bytes > caps.maxWorkgroupBytes) continue;
    const data = tilePlaces(toFloat64(picked.context.tensor(2)!), vectors, destination.pairs);
    if (!data) continue;
    const { end, copies } = destination;
    const name = `${picked.node.name}/tiles`;
    types.set(name, { dtype: 'uint32', shape: [data.length] });
    known.set(name, { kind: 'tensor', tensor: { dtype: 'uint32', dims: [data.length], data } });
    const node: Node = {
      name: picked.node.name,
      op: INTERACTION.type,
      domain: BRAID_DOMAIN,
      opset: 1,
      inputs: [source, name],
      outputs: end.node.outputs,
      attributes: { from: copies.map((c) => c.vector), to: copies.map((c) => c.to) },
    };
    const context = contextOf(node, { types, known });
    ends.set(end, { node, operator: INTERACTION, context, outputs: end.outputs });
  }
  if (ends.size === 0) return analyzed;
  const nodes = analyzed.nodes.map((node) => ends.get(node) ?? node);
  return { ...analyzed, types, known, nodes: needed(analyzed.graph, nodes, known) };
}
