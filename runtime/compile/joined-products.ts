import { shapesEqual } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { COLUMNS } from '../operators/layout/columns.js';
import type { Known, ValueType } from '../operators/operator.js';
import { findOperator } from '../operators/registry.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';
import { contextOf } from './graph-edits.js';
import { productsOf, type KernelTarget } from './kernel.js';
import { epilogueOf, LinearLayers, type Linear } from './linear-layers.js';

/** Wider layers have enough to do for each row that they read. */
const MOST_COLUMNS = 128;
/** Results begin on multiples of so many columns, as vectors of halves do. */
const UNIT = 8;

/**
 * Narrow layers over one value become one product, which reads that once; what each of them made are columns of its result. So
 * queries, keys and values of an attention. Of float16 alone: products of float32 have more arithmetic to wait for.
 */
export function joinProducts(analyzed: AnalyzedGraph, target: KernelTarget): AnalyzedGraph {
  if (target.software || productsOf(target) !== 'float16') return analyzed;
  const layers = new LinearLayers(analyzed);
  const groups = new Map<string, Linear[]>();
  for (const node of analyzed.nodes) {
    const linear = layers.of(node);
    if (!linear?.isPlain || linear.chain.length > 0 || linear.n > MOST_COLUMNS || linear.n % UNIT !== 0) continue;
    const [x] = node.node.inputs as [string];
    groups.set(x, [...(groups.get(x) ?? []), linear]);
  }
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  const made = new Map<AnalyzedNode, AnalyzedNode[]>();
  for (const [x, group] of groups) {
    const rows = types.get(x)!.shape.slice(0, -1);
    const linears = group.filter(({ node, n }) => shapesEqual(epilogueOf(node).inner, [...rows, n]));
    if (linears.length < 2) continue;
    const [{ node: first, k }] = linears as [Linear];
    const width = linears.reduce((sum, { n }) => sum + n, 0);
    const joined = `${first.node.outputs[0]}/joined`;
    const constant = (name: string, dims: readonly number[], data: Float32Array): string => {
      types.set(name, { dtype: 'float32', shape: dims });
      known.set(name, { kind: 'tensor', tensor: { dtype: 'float32', dims, data } });
      return name;
    };
    const [weight, bias] = [new Float32Array(k * width), new Float32Array(width)];
    const starts: number[] = [];
    let start = 0;
    for (const linear of linears) {
      const values = linear.weight();
      for (let i = 0; i < k; i++) weight.set(values.subarray(i * linear.n, (i + 1) * linear.n), i * width + start);
      if (linear.bias) bias.set(linear.bias, start);
      starts.push(start);
      start += linear.n;
    }
    const shape = [...rows, width];
    const inputs = [x, constant(`${joined}/weights`, [k, width], weight), constant(`${joined}/bias`, [width], bias)];
    types.set(joined, { dtype: 'float32', shape });
    const nodeOf = (node: Node, operator: AnalyzedNode['operator'], outputs: readonly ValueType[]): AnalyzedNode => ({
      node,
      operator,
      context: contextOf(node, { types, known }),
      outputs,
    });
    const { name, opset } = first.node;
    const matMul: Node = {
      name: `${name}/joined`,
      op: 'MatMul',
      domain: '',
      opset,
      inputs,
      outputs: [joined],
      attributes: {},
    };
    const whole: AnalyzedNode = {
      ...nodeOf(matMul, findOperator(matMul)!, [{ dtype: 'float32', shape }]),
      epilogue: { chain: [], inner: shape, shapes: new Map([[2, shape]]) },
    };
    linears.forEach(({ node }, i) => {
      const columns: Node = {
        name: `${node.node.name}/columns`,
        op: COLUMNS.type,
        domain: BRAID_DOMAIN,
        opset: 1,
        inputs: [joined],
        outputs: node.node.outputs,
        attributes: { start: starts[i]!, count: linears[i]!.n },
      };
      const part = nodeOf(columns, COLUMNS, node.outputs);
      made.set(node, i === 0 ? [whole, part] : [part]);
    });
  }
  if (made.size === 0) return analyzed;
  return { ...analyzed, types, known, nodes: analyzed.nodes.flatMap((node) => made.get(node) ?? [node]) };
}
