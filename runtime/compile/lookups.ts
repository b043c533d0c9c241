import { shapesEqual } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { LOOKUP } from '../operators/gather/lookup.js';
import { deviceType } from './view.js';
import { needed, type AnalyzedGraph, type AnalyzedNode } from './analyze.js';
import { contextOf, countReaders } from './graph-edits.js';

/** Whether `node` looks indices up in the rows of a constant. */
function isLookup({ node, context }: AnalyzedNode): boolean {
  const axis = node.op === 'Gather' ? context.attributes.number('axis', 0) : -1;
  return axis === 0 && node.domain === '' && context.tensor(0) !== undefined && context.input(1).shape.length > 0;
}

/**
 * Lookups of concatenated indices become lookups of each of them, which write their part of the result: the
 * concatenation vanishes. A constant that is added, such as embeddings of positions, is added as rows are copied.
 */
export function fuseLookups(analyzed: AnalyzedGraph): AnalyzedGraph {
  const producers = new Map(analyzed.nodes.flatMap((n) => n.node.outputs.map((name) => [name, n] as const)));
  const readers = countReaders(analyzed);
  const readerOf = new Map(analyzed.nodes.flatMap((n) => n.node.inputs.map((name) => [name, n] as const)));
  const ends = new Map<AnalyzedNode, AnalyzedNode>();

  /** The node that alone reads the rows and adds a constant to them. */
  const additionOf = (lookup: AnalyzedNode): { end: AnalyzedNode; addend: string } | undefined => {
    const [name] = lookup.node.outputs as [string];
    const { dtype, shape } = lookup.outputs[0]!;
    const end = readers.get(name) === 1 ? readerOf.get(name) : undefined;
    if (end?.node.op !== 'Add' || deviceType(dtype) !== 'f32' || !shapesEqual(end.outputs[0]!.shape, shape))
      return undefined;
    const addend = end.node.inputs.find((input) => input !== name);
    return addend !== undefined && analyzed.known.get(addend)?.kind === 'tensor' ? { end, addend } : undefined;
  };
  for (const lookup of analyzed.nodes) {
    if (!isLookup(lookup)) continue;
    const [table, indices] = lookup.node.inputs as [string, string];
    const concat = producers.get(indices);
    const isJoined = concat?.node.op === 'Concat' && concat.node.inputs.every((name) => !analyzed.known.has(name));
    const added = additionOf(lookup);
    if (!isJoined && !added) continue;
    const { rank, axis } = isJoined
      ? { rank: concat.outputs[0]!.shape.length, axis: concat.context.attributes.number('axis', 0) }
      : { rank: 1, axis: 0 };
    const node: Node = {
      name: lookup.node.name,
      op: LOOKUP.type,
      domain: BRAID_DOMAIN,
      opset: 1,
      inputs: [table, added?.addend ?? '', ...(isJoined ? concat.node.inputs : [indices])],
      outputs: (added?.end ?? lookup).node.outputs,
      attributes: { axis: axis < 0 ? axis + rank : axis },
    };
    const end = added?.end ?? lookup;
    ends.set(end, { node, operator: LOOKUP, context: contextOf(node, analyzed), outputs: end.outputs });
  }
  if (ends.size === 0) return analyzed;
  const nodes = analyzed.nodes.map((node) => ends.get(node) ?? node);
  return { ...analyzed, nodes: needed(analyzed.graph, nodes, analyzed.known) };
}
