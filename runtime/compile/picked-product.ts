import { equal, shapesEqual } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { toFloat64 } from '../graph/tensor.js';
import { NOWHERE } from '../../shaders/matmul_parts.js';
import { PICKED_MATMUL } from '../operators/matmul/picked.js';
import { NodeContext, type Known, type ValueType } from '../operators/operator.js';
import { needed, type AnalyzedGraph, type AnalyzedNode } from './analyze.js';
import { countReaders } from './readers.js';
import { RENAMING } from './simplify.js';

/** Most rows and columns of a product that is picked from: a tile takes them all. */
const MOST = 32;

/** Where each element of rows x columns goes, NOWHERE for those that no index picks; undefined where one goes twice. */
function placesOf(indices: readonly number[], size: number): Uint32Array | undefined {
  const places = new Uint32Array(size).fill(NOWHERE);
  for (const [place, index] of indices.entries()) {
    const at = index < 0 ? index + size : index;
    if (at < 0 || at >= size || places[at] !== NOWHERE) return undefined;
    places[at] = place;
  }
  return places;
}

/**
 * Elements of small products that a constant Gather picks from them flattened, such as the pairs below the diagonal of
 * DLRM's interaction: the product stores those alone, where they go.
 */
export function pickProducts(analyzed: AnalyzedGraph): AnalyzedGraph {
  const producers = new Map(analyzed.nodes.flatMap((n) => n.node.outputs.map((name) => [name, n] as const)));
  const readers = countReaders(analyzed);
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  let found = false;

  const productOf = (name: string): AnalyzedNode | undefined => {
    let value = name;
    for (;;) {
      const producer = readers.get(value) === 1 ? producers.get(value) : undefined;
      if (!producer || !RENAMING.has(producer.node.op)) return producer?.node.op === 'MatMul' ? producer : undefined;
      value = producer.node.inputs[0]!;
    }
  };
  const picked = (gather: AnalyzedNode): AnalyzedNode | undefined => {
    const { node, context, outputs } = gather;
    if (node.op !== 'Gather' || context.input(0).shape.length !== 2 || context.attributes.number('axis', 0) !== 1)
      return undefined;
    const indices = context.tensor(1);
    const product = productOf(node.inputs[0]!);
    if (indices?.dims.length !== 1 || !product) return undefined;
    const [a, b] = [product.context.input(0), product.context.input(1)];
    const [batch, rows, columns] = product.outputs[0]!.shape;
    const isSmall = [rows, columns].every((d) => typeof d === 'number' && d > 0 && d <= MOST);
    const isBatch =
      a.shape.length === 3 && b.shape.length === 3 && shapesEqual(a.shape.slice(0, 1), b.shape.slice(0, 1));
    if (!isSmall || !isBatch || !equal(batch!, context.input(0).shape[0]!) || a.dtype !== 'float32') return undefined;
    const places = placesOf([...toFloat64(indices)], (rows as number) * (columns as number));
    if (!places) return undefined;
    const name = `${node.name}/places`;
    const dims = [rows as number, columns as number];
    types.set(name, { dtype: 'uint32', shape: dims });
    known.set(name, { kind: 'tensor', tensor: { dtype: 'uint32', dims, data: places } });
    const inputs = [...product.node.inputs, name];
    const fused: Node = { ...node, op: PICKED_MATMUL.type, domain: 'braid', opset: 1, inputs, attributes: {} };
    const at = <T>(map: ReadonlyMap<string, T>): (T | undefined)[] => inputs.map((i) => map.get(i));
    found = true;
    return { node: fused, operator: PICKED_MATMUL, context: new NodeContext(fused, at(types), at(known)), outputs };
  };

  const nodes = analyzed.nodes.map((node) => picked(node) ?? node);
  return found ? { ...analyzed, types, known, nodes: needed(analyzed.graph, nodes, known) } : analyzed;
}
