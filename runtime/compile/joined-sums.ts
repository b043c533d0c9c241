import { shapesEqual, type Dim } from '../graph/dim.js';
import type { Attribute, Node } from '../graph/graph.js';
import type { Known, ValueType } from '../operators/operator.js';
import { findOperator } from '../operators/registry.js';
import { needed, type AnalyzedGraph, type AnalyzedNode } from './analyze.js';
import { contextOf, countReaders } from './graph-edits.js';
import { LinearLayers } from './linear-layers.js';
import { RENAMING } from './simplify.js';

/** A term of a sum that is a product with a column: of x [rows, k] and weights [k], and a constant. */
interface Column {
  readonly term: string;
  readonly x: string;
  readonly weights: Float64Array;
  readonly bias: number;
}

/** What stands in memory without arithmetic: inputs of the model, and what is looked up, joined or renamed. */
const STORED = new Set(['Gather', 'Lookup', 'Concat', ...RENAMING]);

class Finder {
  readonly #analyzed: AnalyzedGraph;
  readonly #layers: LinearLayers;

  constructor(analyzed: AnalyzedGraph) {
    this.#analyzed = analyzed;
    this.#layers = new LinearLayers(analyzed);
  }

  /** Whether `node` adds up values of one column. */
  isSum({ node, outputs }: AnalyzedNode): boolean {
    const { shape, dtype } = outputs[0]!;
    return node.op === 'Add' && dtype === 'float32' && shape.length === 2 && shape[1] === 1;
  }

  /** The terms of a sum, through additions that nothing else reads. */
  terms(sum: AnalyzedNode): string[] {
    return sum.node.inputs.flatMap((name) => {
      const inner = this.#layers.sole(name);
      const { shape } = sum.outputs[0]!;
      const isPart = inner && this.isSum(inner) && shapesEqual(inner.outputs[0]!.shape, shape);
      return isPart ? this.terms(inner) : [name];
    });
  }

  column(term: string, rows: Dim): Column | undefined {
    const node = this.#layers.sole(term);
    const x = node?.node.inputs[0];
    const shape = x === undefined ? undefined : this.#analyzed.types.get(x)!.shape;
    if (!node || x === undefined || shape?.length !== 2 || !shapesEqual(shape.slice(0, 1), [rows])) return undefined;
    if (!this.#isStored(x)) return undefined;
    const linear = this.#layers.of(node);
    if (linear) {
      const isColumn = linear.n === 1 && linear.isPlain && linear.chain.length === 0;
      return isColumn ? { term, x, weights: linear.weight(), bias: linear.bias?.[0] ?? 0 } : undefined;
    }
    const [, k] = shape;
    return this.#addsLine(node) && typeof k === 'number' && k > 0
      ? { term, x, weights: new Float64Array(k).fill(1), bias: 0 }
      : undefined;
  }

  /** Whether `node` sums the last of two dimensions and leaves it as 1. */
  #addsLine({ node, context }: AnalyzedNode): boolean {
    if (node.op !== 'ReduceSum' || context.attributes.number('keepdims', 1) === 0) return false;
    const axes = context.attributes.numbers('axes') ?? context.elements(1);
    return axes?.length === 1 && (axes[0] === 1 || axes[0] === -1);
  }

  #isStored(name: string): boolean {
    const producer = this.#layers.producer(name);
    return producer === undefined || STORED.has(producer.node.op);
  }
}

/**
 * Sums of several products with a column, where nothing has to be computed before them, become one product: of the
 * concatenation of what is multiplied, which is written in place. So the wide part of Wide & Deep, a sum of the weights of
 * its features and a linear layer, is one kernel.
 */
export function joinSums(analyzed: AnalyzedGraph): AnalyzedGraph {
  const finder = new Finder(analyzed);
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  const readers = countReaders(analyzed);
  const sums = new Set(analyzed.nodes.filter((n) => finder.isSum(n)));
  const readerOf = new Map(analyzed.nodes.flatMap((n) => n.node.inputs.map((name) => [name, n] as const)));
  let found = false;

  const rewritten = (sum: AnalyzedNode): AnalyzedNode[] => {
    const [result] = sum.node.outputs as [string];
    const reader = readers.get(result) === 1 ? readerOf.get(result) : undefined;
    // An addition within a larger one is a part of its sum.
    if (reader && sums.has(reader)) return [sum];
    const terms = finder.terms(sum);
    const [rows] = sum.outputs[0]!.shape as [Dim];
    const columns = terms.map((term) => finder.column(term, rows)).filter((c) => c !== undefined);
    if (columns.length < 2) return [sum];
    found = true;
    const made: AnalyzedNode[] = [];
    const add = (
      op: string,
      inputs: readonly string[],
      output: string,
      attributes: Record<string, Attribute> = {},
    ): string => {
      const { name, opset } = sum.node;
      const node: Node = { name: `${name}/${op}`, op, domain: '', opset, inputs, outputs: [output], attributes };
      const operator = findOperator(node)!;
      const context = contextOf(node, { types, known });
      const outputs = operator.infer(context);
      types.set(output, outputs[0]!);
      made.push({ node, operator, context, outputs });
      return output;
    };
    const constant = (name: string, dims: readonly number[], data: Float32Array): string => {
      types.set(name, { dtype: 'float32', shape: dims });
      known.set(name, { kind: 'tensor', tensor: { dtype: 'float32', dims, data } });
      return name;
    };
    const weights = Float32Array.from(columns.flatMap((c) => [...c.weights]));
    const bias = columns.reduce((total, c) => total + c.bias, 0);
    const rest = terms.filter((term) => !columns.some((c) => c.term === term));
    const joined = add(
      'Concat',
      columns.map((c) => c.x),
      `${result}/joined`,
      { axis: 1 },
    );
    let value = add(
      'Gemm',
      [
        joined,
        constant(`${result}/weights`, [weights.length, 1], weights),
        constant(`${result}/bias`, [1], Float32Array.of(bias)),
      ],
      rest.length === 0 ? result : `${result}/columns`,
    );
    rest.forEach((term, i) => {
      value = add('Add', [term, value], i === rest.length - 1 ? result : `${result}/${i}`);
    });
    return made;
  };
  const nodes = analyzed.nodes.flatMap((node) => (sums.has(node) ? rewritten(node) : [node]));
  return found ? { ...analyzed, types, known, nodes: needed(analyzed.graph, nodes, known) } : analyzed;
}
