import type { DataType } from './dtype.js';
import type { Attribute, DeclaredDim, Graph, Node, ValueInfo } from './graph.js';
import type { Tensor } from './tensor.js';

/** Opset that built graphs are written against. */
export const BUILDER_OPSET = 17;

/** Builds a Graph node by node; used by the zoo and by tests. Value names are returned and passed on as strings. */
export class GraphBuilder {
  readonly #name: string;
  readonly #opset: number;
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  readonly #nodes: Node[] = [];
  readonly #constants = new Map<string, Tensor>();
  #next = 0;

  constructor(name: string, opset = BUILDER_OPSET) {
    this.#name = name;
    this.#opset = opset;
  }

  input(name: string, dtype: DataType, shape: readonly DeclaredDim[]): string {
    this.#inputs.push({ name, dtype, shape });
    return name;
  }

  constant(name: string, value: Tensor): string {
    this.#constants.set(name, value);
    return name;
  }

  /** Adds a node and returns the name of its first output. */
  op(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    options: { outputs?: readonly string[]; name?: string; domain?: string } = {},
  ): string {
    const id = this.#next++;
    const name = options.name ?? `${op}_${id}`;
    const outputs = options.outputs ?? [`${name}:0`];
    const domain = options.domain ?? '';
    // Domains of their own start at version 1.
    const opset = domain === '' ? this.#opset : 1;
    this.#nodes.push({ name, op, domain, opset, inputs, outputs, attributes });
    return outputs[0]!;
  }

  output(name: string, dtype: DataType, shape?: readonly DeclaredDim[]): void {
    this.#outputs.push(shape ? { name, dtype, shape } : { name, dtype });
  }

  build(): Graph {
    return {
      name: this.#name,
      inputs: this.#inputs,
      outputs: this.#outputs,
      nodes: this.#nodes,
      constants: this.#constants,
      notices: [],
    };
  }
}
