import { allocate, type TensorData } from '../graph/dtype.js';
import type { Node } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';
import type { Known, ValueType } from '../operators/operator.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';
import { contextOf, countReaders } from './graph-edits.js';
import { productsOf, type KernelTarget } from './kernel.js';

/** Columns below which a product has kernels of its own, that read a weight column by column. */
const FEWEST_COLUMNS = 8;

function turned({ dtype, dims, data }: Tensor): Tensor {
  const [rows, columns] = dims as [number, number];
  const result = allocate(dtype, data.length) as TensorData;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j]!;
  return { dtype, dims: [columns, rows], data: result };
}

/**
 * Stores the weights of layers that exporters write as [columns, k] as [k, columns]: kernels of a GPU read four columns of
 * one k at a time, and need not turn them. Matrix units of TF32 read them as they are; those of float16 too where columns do
 * not come in eights and lines along k do.
 */
export function turnWeights(analyzed: AnalyzedGraph, target: KernelTarget): AnalyzedGraph {
  const inHalves = productsOf(target) === 'float16';
  if (target.software || (target.products !== 'float32' && !inHalves)) return analyzed;
  const readers = countReaders(analyzed);
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  const nodes = analyzed.nodes.map((made): AnalyzedNode => {
    const { node, context } = made;
    const isTurned = node.op === 'Gemm' && node.domain === '' && context.attributes.number('transB', 0) !== 0;
    const name = node.inputs[1]!;
    const tensor = isTurned && readers.get(name) === 1 ? context.tensor(1) : undefined;
    const isWide = tensor && tensor.dims[0]! % 4 === 0 && tensor.dims[0]! >= FEWEST_COLUMNS;
    if (
      !isWide ||
      (inHalves && tensor.dims[1]! % 8 === 0 && tensor.dims[0]! % 8 !== 0) ||
      node.inputs.indexOf(name) !== node.inputs.lastIndexOf(name)
    )
      return made;
    const weight = turned(tensor);
    types.set(name, { ...types.get(name)!, shape: weight.dims });
    known.set(name, { kind: 'tensor', tensor: weight });
    const plain: Node = { ...node, attributes: { ...node.attributes, transB: 0 } };
    return { ...made, node: plain, context: contextOf(plain, { types, known }) };
  });
  return { ...analyzed, types, known, nodes };
}
