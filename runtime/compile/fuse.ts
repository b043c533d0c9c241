import { equal, shapesEqual } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { NodeContext } from '../operators/operator.js';
import { ELEMENTWISE, type ElementwiseEntry } from '../operators/elementwise/table.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';

/** What a matrix product does to its result before storing it. */
export interface Epilogue {
  /** A unary function of the elements, and the node it came from. */
  readonly activation?: { readonly entry: ElementwiseEntry; readonly context: NodeContext };
}

const PRODUCTS = new Set(['MatMul', 'Gemm']);
const ACTIVATIONS = new Map(
  ELEMENTWISE.filter((e) => e.inputs === 1 && e.result === 'same' && e.wgsl.f32 !== undefined).map((e) => [e.type, e]),
);

/** Builds `next` out of a product and the node that alone reads its result, or says that it does not fit. */
type Fusion = (product: AnalyzedNode, reader: AnalyzedNode, analyzed: AnalyzedGraph) => AnalyzedNode | undefined;

function rebuilt(
  product: AnalyzedNode,
  reader: AnalyzedNode,
  inputs: readonly string[],
  analyzed: AnalyzedGraph,
): AnalyzedNode {
  const node: Node = { ...product.node, inputs, outputs: reader.node.outputs };
  const at = <T>(map: ReadonlyMap<string, T>): (T | undefined)[] => inputs.map((name) => map.get(name));
  return {
    ...product,
    node,
    context: new NodeContext(node, at(analyzed.types), at(analyzed.known)),
    outputs: reader.outputs,
  };
}

/** MatMul + Add: the other addend, a bias or a residual, is added to the sum while it is in registers. */
const addBias: Fusion = (product, reader, analyzed) => {
  if (product.node.op !== 'MatMul' || product.node.inputs.length > 2 || product.epilogue || reader.node.op !== 'Add')
    return undefined;
  if (!shapesEqual(product.outputs[0]!.shape, reader.outputs[0]!.shape)) return undefined;
  const [result] = product.node.outputs;
  const addend = reader.node.inputs.find((name) => name !== result);
  if (addend === undefined) return undefined;
  const { shape } = analyzed.types.get(addend)!;
  // A scalar's worth or a vector along the columns; a residual of the same shape. Anything else keeps its own kernel.
  const columns = product.outputs[0]!.shape.at(-1)!;
  const fits = shapesEqual(shape, reader.outputs[0]!.shape) || (shape.length === 1 && equal(shape[0]!, columns));
  return fits ? rebuilt(product, reader, [...product.node.inputs, addend], analyzed) : undefined;
};

/** A product and a function of its elements. */
const activate: Fusion = (product, reader, analyzed) => {
  const entry = ACTIVATIONS.get(reader.node.op);
  if (!entry || product.epilogue?.activation) return undefined;
  return {
    ...rebuilt(product, reader, product.node.inputs, analyzed),
    epilogue: { activation: { entry, context: reader.context } },
  };
};

/**
 * Lets matrix products finish their results: bias or residual, then activation, with no kernel and no pass over memory
 * of their own. A fused node stands where the last of its parts stood, so that what it reads is there.
 */
export function fuseEpilogues(analyzed: AnalyzedGraph): AnalyzedGraph {
  const readers = new Map<string, number>();
  const count = (name: string): void => void readers.set(name, (readers.get(name) ?? 0) + 1);
  for (const { node } of analyzed.nodes) for (const name of node.inputs) count(name);
  for (const { name } of analyzed.graph.outputs) count(name);

  const nodes: (AnalyzedNode | undefined)[] = [];
  /** Products by their result, where one other node alone reads it. */
  const open = new Map<string, number>();
  for (const reader of analyzed.nodes) {
    const source = reader.node.inputs.find((name) => open.has(name));
    const at = source === undefined ? undefined : open.get(source)!;
    const fused =
      at === undefined ? undefined : (addBias(nodes[at]!, reader, analyzed) ?? activate(nodes[at]!, reader, analyzed));
    if (fused) nodes[at!] = undefined;
    const placed = fused ?? reader;
    const index = nodes.push(placed) - 1;
    const [result] = placed.node.outputs;
    if (PRODUCTS.has(placed.node.op) && result !== undefined && readers.get(result) === 1) open.set(result, index);
  }
  return { ...analyzed, nodes: nodes.filter((n) => n !== undefined) };
}
