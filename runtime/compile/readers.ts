import type { AnalyzedGraph } from './analyze.js';

/** How many nodes read each value; an output of the graph counts as one that does. */
export function countReaders({ nodes, graph }: Pick<AnalyzedGraph, 'nodes' | 'graph'>): Map<string, number> {
  const readers = new Map<string, number>();
  const count = (name: string): void => void readers.set(name, (readers.get(name) ?? 0) + 1);
  for (const { node } of nodes) for (const name of new Set(node.inputs)) count(name);
  for (const { name } of graph.outputs) count(name);
  return readers;
}
