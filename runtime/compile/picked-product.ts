import { equal, shapesEqual, type Dim } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { toFloat64 } from '../graph/tensor.js';
import { NOWHERE } from '../../shaders/matmul_parts.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { PICKED_MATMUL } from '../operators/matmul/picked.js';
import type { Known, ValueType } from '../operators/operator.js';
import { needed, type AnalyzedGraph, type AnalyzedNode } from './analyze.js';
import { contextOf, countReaders } from './graph-edits.js';
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

/** What `gather` picks from products of rows x columns, as indices of them flattened. */
function indicesOf(
  { node, context }: AnalyzedNode,
  batch: Dim,
  [rows, columns]: readonly [number, number],
  inColumns: boolean,
): readonly number[] | undefined {
  const { shape } = context.input(0);
  const indices = context.tensor(1);
  if (!indices) return undefined;
  const values = [...toFloat64(indices)];
  if (node.op === 'Gather') {
    const expected = inColumns ? [rows * columns, batch] : [batch, rows * columns];
    const isAlong = context.attributes.number('axis', 0) === (inColumns ? 0 : 1);
    return isAlong && indices.dims.length === 1 && shapesEqual(shape, expected) ? values : undefined;
  }
  const arePairs =
    indices.dims.length === 2 && indices.dims[1] === 2 && context.attributes.number('batch_dims', 0) === 0;
  if (!inColumns || !arePairs || !shapesEqual(shape, [rows, columns, batch])) return undefined;
  const positive = (index: number, size: number): number => (index < 0 ? index + size : index);
  return Array.from({ length: indices.dims[0]! }, (_, i) => {
    const [row, column] = [positive(values[2 * i]!, rows), positive(values[2 * i + 1]!, columns)];
    return column < columns ? row * columns + column : -1 - rows * columns;
  });
}

/**
 * Elements of small products that a constant Gather picks from them flattened, such as the pairs below the diagonal of
 * DLRM's interaction: the product stores those alone, where they go. PyTorch's exports turn the batch to the back first, and
 * gather pairs of indices or positions from the front.
 */
export function pickProducts(analyzed: AnalyzedGraph): AnalyzedGraph {
  const producers = new Map(analyzed.nodes.flatMap((n) => n.node.outputs.map((name) => [name, n] as const)));
  const readers = countReaders(analyzed);
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  let found = false;

  /** The product whose elements `name` has, in lines of a batch or, behind a Transpose of it, in columns. */
  const productOf = (name: string): { readonly product: AnalyzedNode; readonly inColumns: boolean } | undefined => {
    let value = name;
    let inColumns = false;
    for (;;) {
      const producer = readers.get(value) === 1 ? producers.get(value) : undefined;
      const perm = producer?.node.attributes['perm'];
      if (producer?.node.op === 'MatMul') return { product: producer, inColumns };
      const isTurn = producer?.node.op === 'Transpose' && !inColumns && String(perm) === '1,2,0';
      if (isTurn) inColumns = true;
      else if (!producer || !RENAMING.has(producer.node.op)) return undefined;
      value = producer.node.inputs[0]!;
    }
  };
  const picked = (gather: AnalyzedNode): AnalyzedNode | undefined => {
    const { node, outputs } = gather;
    const source = node.op === 'Gather' || node.op === 'GatherND' ? productOf(node.inputs[0]!) : undefined;
    if (!source) return undefined;
    const { product, inColumns } = source;
    const [a, b] = [product.context.input(0), product.context.input(1)];
    const [batch, rows, columns] = product.outputs[0]!.shape;
    const isSmall = [rows, columns].every((d) => typeof d === 'number' && d > 0 && d <= MOST);
    const isBatch = a.shape.length === 3 && b.shape.length === 3 && equal(a.shape[0]!, b.shape[0]!);
    if (!isSmall || !isBatch || a.dtype !== 'float32') return undefined;
    const dims = [rows as number, columns as number] as const;
    const indices = indicesOf(gather, batch!, dims, inColumns);
    const places = indices && placesOf(indices, dims[0] * dims[1]);
    if (!places) return undefined;
    const name = `${node.name}/places`;
    types.set(name, { dtype: 'uint32', shape: dims });
    known.set(name, { kind: 'tensor', tensor: { dtype: 'uint32', dims, data: places } });
    const inputs = [...product.node.inputs, name];
    const attributes = { columns: Number(inColumns) };
    const fused: Node = { ...node, op: PICKED_MATMUL.type, domain: BRAID_DOMAIN, opset: 1, inputs, attributes };
    found = true;
    return { node: fused, operator: PICKED_MATMUL, context: contextOf(fused, { types, known }), outputs };
  };

  const nodes = analyzed.nodes.map((node) => picked(node) ?? node);
  return found ? { ...analyzed, types, known, nodes: needed(analyzed.graph, nodes, known) } : analyzed;
}
