import { BraidError } from '../errors.js';
import type { Attribute, Graph, Node } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';

/** `MatMul 'encoder/q'`: how messages name a node. */
export function nodeLabel(node: Node): string {
  return `${node.domain ? `${node.domain}.` : ''}${node.op} '${node.name}'`;
}

/** Typed access to a node's attributes, with errors that name the node. */
export class Attributes {
  readonly #node: Node;

  constructor(node: Node) {
    this.#node = node;
  }

  #get<T extends Attribute>(name: string, is: (value: Attribute) => value is T, expected: string): T | undefined {
    const value = this.#node.attributes[name];
    if (value === undefined) return undefined;
    if (is(value)) return value;
    throw new BraidError('MODEL_INVALID', `${nodeLabel(this.#node)}: attribute '${name}' should be ${expected}`);
  }

  has(name: string): boolean {
    return this.#node.attributes[name] !== undefined;
  }

  number(name: string, fallback: number): number {
    return this.#get(name, (v) => typeof v === 'number', 'a number') ?? fallback;
  }

  requiredNumber(name: string): number {
    const value = this.#get(name, (v) => typeof v === 'number', 'a number');
    if (value === undefined)
      throw new BraidError('MODEL_INVALID', `${nodeLabel(this.#node)}: attribute '${name}' is missing`);
    return value;
  }

  string(name: string, fallback: string): string {
    return this.#get(name, (v) => typeof v === 'string', 'a string') ?? fallback;
  }

  numbers(name: string): readonly number[] | undefined {
    const isNumbers = (v: Attribute): v is readonly number[] =>
      Array.isArray(v) && v.every((x) => typeof x === 'number');
    return this.#get(name, isNumbers, 'a list of numbers');
  }

  tensor(name: string): Tensor | undefined {
    const isTensor = (v: Attribute): v is Tensor => typeof v === 'object' && 'dtype' in v && 'data' in v;
    return this.#get(name, isTensor, 'a tensor');
  }

  graph(name: string): Graph | undefined {
    const isGraph = (v: Attribute): v is Graph => typeof v === 'object' && 'nodes' in v;
    return this.#get(name, isGraph, 'a graph');
  }
}
