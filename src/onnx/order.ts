import { BraidError } from '../../runtime/errors.js';
import type { Attribute, Graph, Node } from '../../runtime/graph/graph.js';

/**
 * Puts nodes into topological order: nodes that stand right keep their place, the producers of others are pulled forward.
 * Checks on the way that each value is defined exactly once.
 * @param given names of inputs and constants.
 * @param nested whether the nodes form the body of an outer node, where an undefined name refers to the outer graph.
 * @throws BraidError MODEL_INVALID that names the value and the node, for a value defined twice, never defined, or that
 *   depends on itself.
 */
export function orderNodes(nodes: readonly Node[], given: ReadonlySet<string>, nested: boolean): readonly Node[] {
  const producers = producersOf(nodes, given);
  const state: ('new' | 'open' | 'done')[] = nodes.map(() => 'new');
  const ordered: Node[] = [];
  // Depth first with an explicit stack: a chain of nodes in reverse order may be longer than the call stack is deep.
  for (let root = 0; root < nodes.length; root++) {
    if (state[root] !== 'new') continue;
    const stack = [{ index: root, reads: readsOf(nodes[root]!), next: 0 }];
    state[root] = 'open';
    while (stack.length > 0) {
      const frame = stack.at(-1)!;
      const node = nodes[frame.index]!;
      const value = frame.reads[frame.next++];
      if (value === undefined) {
        state[frame.index] = 'done';
        ordered.push(node);
        stack.pop();
        continue;
      }
      const producer = producers.get(value);
      if (producer === undefined) {
        if (nested || given.has(value)) continue;
        throw new BraidError(
          'MODEL_INVALID',
          `node '${node.name}' (${node.op}) reads '${value}', which nothing defines`,
        );
      }
      if (state[producer] === 'open') {
        throw new BraidError('MODEL_INVALID', `value '${value}' of node '${nodes[producer]!.name}' depends on itself`);
      }
      if (state[producer] === 'done') continue;
      state[producer] = 'open';
      stack.push({ index: producer, reads: readsOf(nodes[producer]!), next: 0 });
    }
  }
  return ordered;
}

function producersOf(nodes: readonly Node[], given: ReadonlySet<string>): Map<string, number> {
  const producers = new Map<string, number>();
  for (const [index, node] of nodes.entries()) {
    for (const value of node.outputs) {
      if (value === '') continue;
      const earlier = producers.get(value);
      if (earlier !== undefined || given.has(value)) {
        const other = earlier === undefined ? 'an input or constant' : `node '${nodes[earlier]!.name}'`;
        throw new BraidError(
          'MODEL_INVALID',
          `value '${value}' is defined twice: by ${other} and by node '${node.name}' (${node.op})`,
        );
      }
      producers.set(value, index);
    }
  }
  return producers;
}

/** Names that a node reads: its inputs, and what the graphs in its attributes take from around them. */
function readsOf(node: Node): string[] {
  const reads = node.inputs.filter((name) => name !== '');
  for (const attribute of Object.values(node.attributes)) {
    if (isGraph(attribute)) reads.push(...freeNames(attribute));
  }
  return reads;
}

function freeNames(graph: Graph): Set<string> {
  const bound = new Set([...graph.inputs.map((input) => input.name), ...graph.constants.keys()]);
  for (const node of graph.nodes) for (const output of node.outputs) bound.add(output);
  const free = new Set<string>();
  for (const node of graph.nodes) for (const name of readsOf(node)) if (!bound.has(name)) free.add(name);
  for (const output of graph.outputs) if (!bound.has(output.name)) free.add(output.name);
  return free;
}

/** Whether an attribute is the body of a control-flow operator. */
export function isGraph(attribute: Attribute): attribute is Graph {
  return typeof attribute === 'object' && 'nodes' in attribute;
}
