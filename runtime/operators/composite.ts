import type { DataType } from '../graph/dtype.js';
import type { Dim } from '../graph/dim.js';
import type { Attribute, Graph, Node } from '../graph/graph.js';
import { tensorOf, toFloat64, type Tensor } from '../graph/tensor.js';
import type { ArithmeticType } from './elementwise/types.js';
import type { Known, NodeContext, ValueType } from './operator.js';

/** Version of the ONNX operator set that expansions are written in. */
const EXPANSION_OPSET = 18;

/** Domain of the operators that ONNX does not have. Their opset is 1. */
export const BRAID_DOMAIN = 'braid';

/** Where a composite's parts go: a graph being analyzed, or values being computed by the reference. */
export interface ExpansionTarget {
  /** Takes a node at once: its outputs have types, and values where they are known, when this returns. */
  visit(node: Node): void;
  define(name: string, known: Known): void;
  type(name: string): ValueType;
  known(name: string): Known | undefined;
  /** The node that makes a value; undefined for inputs and constants. */
  producer(name: string): Node | undefined;
  sequence(name: string): Sequence | undefined;
  defineSequence(name: string, sequence: Sequence): void;
}

/**
 * A value of sequence type, which exists at load alone: the values in it, or all the rows of one value, each with a
 * leading dimension of 1.
 */
export type Sequence = { readonly items: readonly string[] } | { readonly rowsOf: string };

/**
 * An operator that is defined by others: it becomes nodes before anything else is done with it, so that whatever holds
 * for those (views, fusion, folding, rows) holds for it.
 */
export interface Composite {
  readonly type: string;
  readonly domain?: string;
  readonly opsets: readonly [first: number, last: number];
  /** As of an operator. */
  readonly types?: readonly ArithmeticType[];
  readonly note?: string;
  /** Adds nodes to `scope` until every output of the node is made. Throws as an operator's `infer` does. */
  expand(context: NodeContext, scope: Scope): void;
}

/** The names that a node's expansion makes, and the means to add to it. */
export class Scope {
  readonly #target: ExpansionTarget;
  readonly node: Node;
  #next = 0;

  constructor(target: ExpansionTarget, node: Node) {
    this.#target = target;
    this.node = node;
  }

  #name(hint: string): string {
    return `${this.node.name}/${hint}${this.#next++}`;
  }

  /** Adds a node; returns the name of its first output. */
  add(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    {
      outputs,
      domain = '',
      opset = EXPANSION_OPSET,
    }: { outputs?: readonly string[]; domain?: string; opset?: number } = {},
  ): string {
    const name = this.#name(op);
    const made = outputs ?? [name];
    this.#target.visit({ name, op, domain, opset: domain === '' ? opset : 1, inputs, outputs: made, attributes });
    return made[0]!;
  }

  /** Lets output `index` of the node be `value`; nothing where the node has no such output. */
  output(index: number, value: string): void {
    const name = this.node.outputs[index];
    if (!name) return;
    const sequence = this.sequence(value);
    if (sequence) this.#target.defineSequence(name, sequence);
    else this.add('Identity', [value], {}, { outputs: [name] });
  }

  /** Lets output `index` of the node be a sequence. */
  outputSequence(index: number, sequence: Sequence): void {
    const name = this.node.outputs[index];
    if (name) this.#target.defineSequence(name, sequence);
  }

  sequence(name: string): Sequence | undefined {
    return this.#target.sequence(name);
  }

  /** The node that makes a value around this one. */
  producer(name: string): Node | undefined {
    return this.#target.producer(name);
  }

  /** int64 of rank 1, up to symbols: shapes, axes. */
  ints(...elements: Dim[]): string {
    const name = this.#name('ints');
    this.#target.define(name, { kind: 'symbolic', value: { dtype: 'int64', dims: [elements.length], elements } });
    return name;
  }

  /** An int64 scalar, up to symbols. */
  int(element: Dim): string {
    const name = this.#name('int');
    this.#target.define(name, { kind: 'symbolic', value: { dtype: 'int64', dims: [], elements: [element] } });
    return name;
  }

  scalar(dtype: DataType, value: number): string {
    return this.constant(tensorOf(dtype, [], [value]));
  }

  constant(tensor: Tensor): string {
    const name = this.#name('constant');
    this.#target.define(name, { kind: 'tensor', tensor });
    return name;
  }

  type(name: string): ValueType {
    return this.#target.type(name);
  }

  shape(name: string): readonly Dim[] {
    return this.#target.type(name).shape;
  }

  /** The value, where it is known without symbols. */
  tensor(name: string): Tensor | undefined {
    const known = this.#target.known(name);
    return known?.kind === 'tensor' ? known.tensor : undefined;
  }

  /** The value's elements as integers that may be symbolic, where they are known. */
  elements(name: string): readonly Dim[] | undefined {
    const known = this.#target.known(name);
    if (!known) return undefined;
    return known.kind === 'symbolic' ? known.value.elements : [...toFloat64(known.tensor)];
  }

  reshape(value: string, shape: readonly Dim[]): string {
    return this.add('Reshape', [value, this.ints(...shape)], { allowzero: 1 });
  }

  transpose(value: string, perm: readonly number[]): string {
    return perm.every((p, i) => p === i) ? value : this.add('Transpose', [value], { perm });
  }

  /**
   * Adds the nodes of a body, its inputs standing for `inputs`; returns what its outputs are. Names that the body does
   * not define are those around it.
   */
  inline(body: Graph, inputs: readonly string[]): string[] {
    const prefix = this.#name('body');
    const names = new Map<string, string>(body.inputs.map(({ name }, i) => [name, inputs[i]!]));
    for (const [name, tensor] of body.constants) {
      if (names.has(name)) continue;
      names.set(name, `${prefix}/${name}`);
      this.#target.define(`${prefix}/${name}`, { kind: 'tensor', tensor });
    }
    for (const node of body.nodes)
      for (const output of node.outputs) if (output !== '') names.set(output, `${prefix}/${output}`);
    const rename = (name: string): string => names.get(name) ?? name;
    for (const node of body.nodes) this.#target.visit(renamed(node, `${prefix}/${node.name}`, rename));
    return body.outputs.map(({ name }) => rename(name));
  }
}

/** `node` with its values renamed, and with those that the bodies in its attributes take from around them. */
export function renamed(node: Node, name: string, rename: (name: string) => string): Node {
  const attributes = Object.entries(node.attributes).map(([key, value]): [string, Attribute] => [
    key,
    isGraph(value) ? renamedGraph(value, rename) : value,
  ]);
  return {
    ...node,
    name,
    inputs: node.inputs.map((input) => (input === '' ? '' : rename(input))),
    outputs: node.outputs.map((output) => (output === '' ? '' : rename(output))),
    attributes: Object.fromEntries(attributes),
  };
}

/** Values that `node` reads, those that bodies in its attributes take from around them included. */
export function valuesRead(node: Node): Set<string> {
  const names = new Set<string>();
  renamed({ ...node, outputs: [] }, node.name, (name) => {
    names.add(name);
    return name;
  });
  return names;
}

function isGraph(value: Attribute): value is Graph {
  return typeof value === 'object' && 'nodes' in value;
}

function renamedGraph(graph: Graph, rename: (name: string) => string): Graph {
  const own = new Set([...graph.inputs.map((i) => i.name), ...graph.constants.keys()]);
  for (const node of graph.nodes) for (const output of node.outputs) own.add(output);
  const outer = (name: string): string => (own.has(name) ? name : rename(name));
  return {
    ...graph,
    nodes: graph.nodes.map((node) => renamed(node, node.name, outer)),
    outputs: graph.outputs.map((output) => ({ ...output, name: outer(output.name) })),
  };
}
