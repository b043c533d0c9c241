import type { Node } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';
import { NodeContext } from '../operators/operator.js';
import type { AnalyzedGraph } from './analyze.js';

/** A node that a pass made, with what is known of its inputs. */
export function contextOf(node: Node, { types, known }: Pick<AnalyzedGraph, 'types' | 'known'>): NodeContext {
  const at = <T>(map: ReadonlyMap<string, T>): (T | undefined)[] => node.inputs.map((name) => map.get(name));
  return new NodeContext(node, at(types), at(known));
}

/** How many nodes read each value; an output of the graph counts as one that does. */
export function countReaders({ nodes, graph }: Pick<AnalyzedGraph, 'nodes' | 'graph'>): Map<string, number> {
  const readers = new Map<string, number>();
  const count = (name: string): void => void readers.set(name, (readers.get(name) ?? 0) + 1);
  for (const { node } of nodes) for (const name of new Set(node.inputs)) count(name);
  for (const { name } of graph.outputs) count(name);
  return readers;
}

/** The constant that a pass makes of what its kernel reads: numbers, or words of whatever the kernel takes them for. */
export function parameters(data: Float32Array | Uint32Array): Tensor {
  return { dtype: data instanceof Float32Array ? 'float32' : 'uint32', dims: [data.length], data };
}
