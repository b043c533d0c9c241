import { BraidError } from '../../errors.js';
import type { DataType } from '../../graph/dtype.js';
import type { Graph, Node } from '../../graph/graph.js';
import { tensorOf, toFloat64, type Tensor } from '../../graph/tensor.js';
import { ReferenceContext, type ReferenceTensor } from '../../operators/operator.js';
import { findOperator, missingReason } from '../../operators/registry.js';
import { nodeLabel } from '../../operators/attributes.js';

export function toReference(t: Tensor): ReferenceTensor {
  return { dtype: t.dtype, dims: t.dims, data: toFloat64(t) };
}

export function fromReference(t: ReferenceTensor, dtype: DataType = t.dtype): Tensor {
  return tensorOf(dtype, t.dims, t.data);
}

/** Runs one node in float64. */
export function evaluateNode(node: Node, inputs: readonly (ReferenceTensor | undefined)[]): readonly ReferenceTensor[] {
  const operator = findOperator(node);
  if (!operator) throw new BraidError('MODEL_UNSUPPORTED', `${nodeLabel(node)}: ${missingReason(node)}`);
  return operator.reference(new ReferenceContext(node, inputs));
}

/**
 * Runs a graph in float64: the oracle of the tests. Slow, and exact up to double precision (integers up to 2^53).
 * @returns the graph's outputs by name.
 */
export function evaluateGraph(graph: Graph, inputs: ReadonlyMap<string, Tensor>): Map<string, ReferenceTensor> {
  const values = new Map<string, ReferenceTensor>();
  for (const [name, t] of [...graph.constants, ...inputs]) values.set(name, toReference(t));
  for (const node of graph.nodes) {
    const results = evaluateNode(
      node,
      node.inputs.map((name) => (name === '' ? undefined : values.get(name))),
    );
    node.outputs.forEach((name, i) => {
      if (name !== '' && results[i]) values.set(name, results[i]);
    });
  }
  return new Map(graph.outputs.map(({ name }) => [name, values.get(name)!]));
}
