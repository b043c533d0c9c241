import { shapesEqual } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { toFloat64 } from '../graph/tensor.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { CHAIN, type Chain, type Link, type Source } from '../operators/elementwise/chain.js';
import { linkFunction } from '../operators/elementwise/link.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';
import { contextOf, countReaders } from './graph-edits.js';

/** Inputs that a chain may have: a stage of an adapter binds at least 8 buffers, one of them the output. */
const MOST_INPUTS = 6;
const MOST_LINKS = 16;

/** An elementwise node, or several, as a chain over named values. */
export interface NamedChain {
  readonly inputs: readonly string[];
  readonly chain: Chain;
}

/** A float that stands in every place alike becomes a parameter; it needs no memory. */
function constantOf(name: string, { known }: AnalyzedGraph): number | undefined {
  const value = known.get(name);
  if (value?.kind !== 'tensor' || value.tensor.data.length !== 1 || value.tensor.dtype !== 'float32') return undefined;
  return toFloat64(value.tensor)[0]!;
}

/** The node as a chain: one that was made before, or a chain of one link. */
export function chainOf(analyzedNode: AnalyzedNode, analyzed: AnalyzedGraph): NamedChain | undefined {
  const { node, context, epilogue, operator } = analyzedNode;
  if (operator === CHAIN) return { inputs: node.inputs, chain: epilogue!.chain };
  const does = linkFunction(context);
  if (!does) return undefined;
  const inputs: string[] = [];
  const sources = node.inputs.map((name): Source => {
    const constant = constantOf(name, analyzed);
    if (constant !== undefined) return { constant };
    if (!inputs.includes(name)) inputs.push(name);
    return { input: inputs.indexOf(name) };
  });
  return inputs.length > 0 ? { inputs, chain: [{ does, sources }] } : undefined;
}

/** `outer` with the chain `inner` in the place of its input `name`. */
function nested(outer: NamedChain, name: string, inner: NamedChain): NamedChain {
  const inputs = [...new Set([...inner.inputs, ...outer.inputs.filter((i) => i !== name)])];
  const last = inner.chain.length - 1;
  const moved =
    (from: NamedChain, shift: number) =>
    (link: Link): Link => ({
      ...link,
      sources: link.sources.map((source): Source => {
        if (source === 'result' || 'constant' in source) return source;
        if ('link' in source) return { link: source.link + shift };
        const input = from.inputs[source.input]!;
        return from === outer && input === name ? { link: last } : { input: inputs.indexOf(input) };
      }),
    });
  return { inputs, chain: [...inner.chain.map(moved(inner, 0)), ...outer.chain.map(moved(outer, last + 1))] };
}

function chainNode(end: AnalyzedNode, { inputs, chain }: NamedChain, analyzed: AnalyzedGraph): AnalyzedNode {
  const { name, outputs } = end.node;
  const node: Node = { name, op: CHAIN.type, domain: BRAID_DOMAIN, opset: 1, inputs, outputs, attributes: {} };
  return {
    node,
    operator: CHAIN,
    context: contextOf(node, analyzed),
    outputs: end.outputs,
    epilogue: { chain, inner: end.outputs[0]!.shape, shapes: new Map() },
  };
}

/**
 * Joins elementwise nodes of one shape into one kernel where nothing else reads what is between them: a value passes
 * from one to the next in a register. A broadcast ends a chain: it would compute what is broadcast many times.
 */
export function fuseChains(analyzed: AnalyzedGraph): AnalyzedGraph {
  const readers = countReaders(analyzed);
  const nodes: (AnalyzedNode | undefined)[] = [];
  const open = new Map<string, number>();
  for (const node of analyzed.nodes) {
    let chain = chainOf(node, analyzed);
    let placed = node;
    for (const name of chain?.inputs ?? []) {
      const at = open.get(name);
      const before = at === undefined ? undefined : nodes[at]!;
      if (!before || !shapesEqual(before.outputs[0]!.shape, node.outputs[0]!.shape)) continue;
      const joined = nested(chain!, name, chainOf(before, analyzed)!);
      if (joined.inputs.length > MOST_INPUTS || joined.chain.length > MOST_LINKS) continue;
      chain = joined;
      placed = chainNode(node, joined, analyzed);
      nodes[at!] = undefined;
      open.delete(name);
    }
    const index = nodes.push(placed) - 1;
    const [result] = placed.node.outputs;
    if (chain && result !== undefined && readers.get(result) === 1) open.set(result, index);
  }
  return { ...analyzed, nodes: nodes.filter((n) => n !== undefined) };
}
