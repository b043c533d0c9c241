import { shapesEqual, type Dim } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import type { Chain, Source } from '../operators/elementwise/chain.js';
import { MODULATED_MATMUL } from '../operators/matmul/modulated.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';
import { chainOf, type NamedChain } from './chains.js';
import { contextOf, countReaders } from './graph-edits.js';
import { RENAMING } from './simplify.js';
import { broadcastView, denseView, reshapeView, type Storage } from './view.js';

/** What a node does to its result before storing it. */
export interface Epilogue {
  /** Functions of the elements; empty where there is nothing to do but an addition or a new name. */
  readonly chain: Chain;
  /** The result's shape before it was renamed. */
  readonly inner: readonly Dim[];
  /** What inputs that fusion added are broadcast to, before the result is renamed; by their position. */
  readonly shapes: ReadonlyMap<number, readonly Dim[]>;
}

const PRODUCTS = new Set(['MatMul', 'Gemm', MODULATED_MATMUL.type]);
/** Input 2 of a product is what is added to it; what its functions read comes behind. */
const ADDEND = 2;
/** Inputs that a product may have: a stage of an adapter binds at least 8 buffers, one of them the output. */
const MOST_INPUTS = 6;

function rebuilt(
  product: AnalyzedNode,
  reader: AnalyzedNode,
  inputs: readonly string[],
  epilogue: Epilogue,
  analyzed: AnalyzedGraph,
): AnalyzedNode {
  const node: Node = { ...product.node, inputs, outputs: reader.node.outputs };
  return { ...product, node, context: contextOf(node, analyzed), outputs: reader.outputs, epilogue };
}

function epilogueOf({ epilogue, outputs }: AnalyzedNode): Epilogue {
  return epilogue ?? { chain: [], inner: outputs[0]!.shape, shapes: new Map() };
}

/**
 * Whether an operand goes along the columns, or has the shape of the result `outer`; in the shape of the product too.
 * Any other would keep the kernel from taking leading dimensions and rows together.
 */
function fitsProduct(shape: readonly Dim[], outer: readonly Dim[], inner: readonly Dim[]): boolean {
  if (!shapesEqual(shape, outer) && !shape.slice(0, -1).every((d) => d === 1)) return false;
  const storage: Storage = { id: 0, kind: 'temp', type: 'f32', size: 0, name: '' };
  return reshapeView(broadcastView(denseView(storage, 'float32', shape), outer), inner) !== undefined;
}

/** The first link of a chain that only adds a value to the result: a bias, or a residual. */
function addendOf({ inputs, chain }: NamedChain, result: string): string | undefined {
  const [first, ...rest] = chain;
  const isResult = (source: Source): boolean =>
    typeof source === 'object' && 'input' in source && inputs[source.input] === result;
  if (first?.does.name !== 'Add' || first.does.result !== 'f32' || rest.some((l) => l.sources.some(isResult)))
    return undefined;
  const other = first.sources.find((source) => !isResult(source));
  return other !== undefined && typeof other === 'object' && 'input' in other && first.sources.some(isResult)
    ? inputs[other.input]
    : undefined;
}

/** Lets the product compute the elementwise node, or chain, that alone reads its result. */
function finish(product: AnalyzedNode, reader: AnalyzedNode, analyzed: AnalyzedGraph): AnalyzedNode | undefined {
  const named = chainOf(reader, analyzed);
  const result = product.node.outputs[0]!;
  const [before, after] = [product.outputs[0]!, reader.outputs[0]!];
  if (!named || named.chain.at(-1)!.does.result !== 'f32' || !shapesEqual(before.shape, after.shape)) return undefined;
  const { chain, shapes, inner } = epilogueOf(product);
  const others = named.inputs.filter((name) => name !== result);
  const shapeOf = (name: string): readonly Dim[] => analyzed.types.get(name)!.shape;
  if (!others.every((name) => fitsProduct(shapeOf(name), after.shape, inner))) return undefined;

  const inputs = [...product.node.inputs];
  while (inputs.length <= ADDEND) inputs.push('');
  const grown = new Map(shapes);
  const positions = new Map<string, number>();
  const take = (name: string, at: number): void => {
    inputs[at] = name;
    positions.set(name, at);
    grown.set(at, after.shape);
  };
  const addend = inputs[ADDEND] === '' && chain.length === 0 ? addendOf(named, result) : undefined;
  const rest = addend === undefined ? named.chain : named.chain.slice(1);
  if (addend !== undefined) take(addend, ADDEND);
  for (const name of others) {
    const isRead = rest.some((l) =>
      l.sources.some((s) => typeof s === 'object' && 'input' in s && named.inputs[s.input] === name),
    );
    if (isRead) take(name, inputs.length);
  }
  if (inputs.length > MOST_INPUTS) return undefined;
  const shift = chain.length - (named.chain.length - rest.length);
  const last: Source = chain.length === 0 ? 'result' : { link: chain.length - 1 };
  const moved = (source: Source): Source => {
    if (source === 'result' || 'constant' in source) return source;
    // The addition is no link any more: what read it reads the result.
    if ('link' in source) return addend !== undefined && source.link === 0 ? 'result' : { link: source.link + shift };
    const name = named.inputs[source.input]!;
    return name === result ? last : { input: positions.get(name)! };
  };
  const links = rest.map((link) => ({ ...link, sources: link.sources.map(moved) }));
  return rebuilt(product, reader, inputs, { chain: [...chain, ...links], inner, shapes: grown }, analyzed);
}

/** Lets the product write its result in the shape that a Reshape gives it. */
function rename(product: AnalyzedNode, reader: AnalyzedNode, analyzed: AnalyzedGraph): AnalyzedNode | undefined {
  const isRenaming = RENAMING.has(reader.node.op) && reader.node.inputs[0] === product.node.outputs[0];
  return isRenaming ? rebuilt(product, reader, product.node.inputs, epilogueOf(product), analyzed) : undefined;
}

/**
 * Lets matrix products finish their results: bias or residual, then functions of the elements and of other values, with
 * no kernel and no pass over memory of their own. A fused node stands where the last of its parts stood, so that what it
 * reads is there. Of several products whose results meet, the deepest finishes: the others run beside its inputs.
 */
export function fuseEpilogues(analyzed: AnalyzedGraph): AnalyzedGraph {
  const readers = countReaders(analyzed);
  const depths = new Map<string, number>();
  const nodes: (AnalyzedNode | undefined)[] = [];
  /** Products by their result, where one other node alone reads it. */
  const open = new Map<string, number>();
  for (const reader of analyzed.nodes) {
    const depth = 1 + Math.max(0, ...reader.node.inputs.map((name) => depths.get(name) ?? 0));
    for (const name of reader.node.outputs) depths.set(name, depth);
    const sources = [...new Set(reader.node.inputs)]
      .filter((name) => open.has(name))
      .sort((a, b) => depths.get(b)! - depths.get(a)!);
    let placed = reader;
    for (const source of sources) {
      const at = open.get(source)!;
      const product = nodes[at]!;
      const fused = rename(product, reader, analyzed) ?? finish(product, reader, analyzed);
      if (!fused) continue;
      nodes[at] = undefined;
      placed = fused;
      break;
    }
    const index = nodes.push(placed) - 1;
    const [result] = placed.node.outputs;
    if (PRODUCTS.has(placed.node.op) && result !== undefined && readers.get(result) === 1) open.set(result, index);
  }
  return { ...analyzed, nodes: nodes.filter((n) => n !== undefined) };
}
