import { attentionColumns, selfAttentionCut, type SelfAttentionForm } from '../../shaders/self_attention.js';
import { fitsSelfAttention, nativeAttentionLayout } from '../../shaders/self_attention_native.js';
import { equal, type Dim } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { selfAttentionOperator } from '../operators/attention/self.js';
import { SHORT_ATTENTION } from '../operators/attention/short.js';
import type { Known, ValueType } from '../operators/operator.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';
import { contextOf, parameters } from './graph-edits.js';
import { productsOf, unitsOf, usesMatrixUnits, type KernelTarget } from './kernel.js';
import { LinearLayers, type Linear } from './linear-layers.js';
import { roundToTf32 } from './tf32.js';

/** Most places of a sequence: scores of a query are registers of its invocation. */
const MOST_PLACES = 32;

/** How heads are moved before the places, of keys behind their features; and back. */
const [HEADS_FIRST, KEYS] = [
  [0, 2, 1, 3],
  [0, 2, 3, 1],
];

/** A layer whose results, one head's together, are moved by `perm` and read by nothing else. */
interface Projection {
  readonly nodes: readonly AnalyzedNode[];
  readonly linear: Linear;
}

function isMovedBy(perm: unknown, wanted: readonly number[]): boolean {
  return Array.isArray(perm) && perm.length === wanted.length && wanted.every((axis, i) => perm[i] === axis);
}

function projectionOf(name: string, perm: readonly number[], layers: LinearLayers): Projection | undefined {
  const transpose = layers.sole(name);
  if (transpose?.node.op !== 'Transpose' || !isMovedBy(transpose.node.attributes['perm'], perm)) return undefined;
  const node = layers.sole(transpose.node.inputs[0]!);
  const linear = node && layers.of(node);
  const isPlain = linear?.isPlain === true && linear.chain.length === 0;
  return isPlain ? { nodes: [transpose, linear.node], linear } : undefined;
}

/** Sizes of the attention of `projections`, queries, keys and values, where their results are heads of the places of one input. */
function formOf(projections: readonly Projection[], target: KernelTarget): SelfAttentionForm | undefined {
  const [first] = projections;
  const x = first!.linear.node.context.input(0);
  if (x.shape.length !== 3) return undefined;
  const [sequences, length, features] = x.shape as [Dim, Dim, Dim];
  if (typeof length !== 'number' || typeof features !== 'number' || length > MOST_PLACES) return undefined;
  const shapes = projections.map(({ linear }) => linear.node.outputs[0]!.shape);
  const [, , heads] = shapes[0]!;
  const [width, keyWidth, valueWidth] = shapes.map((shape) => shape[3]);
  const isWhole = (size: unknown): size is number => typeof size === 'number' && size % 4 === 0;
  if (typeof heads !== 'number' || !isWhole(width) || keyWidth !== width || !isWhole(valueWidth)) return undefined;
  const agree = shapes.every(
    (shape) => shape.length === 4 && equal(shape[0]!, sequences) && shape[1] === length && shape[2] === heads,
  );
  const form = { length, features, heads, width, valueWidth };
  const fits = selfAttentionCut(form, target) && (!usesMatrixUnits(target) || fitsSelfAttention(form));
  return agree && fits ? form : undefined;
}

/** Parameters as the kernel reads them; the scale of the scores is the queries'. */
function packed(
  form: SelfAttentionForm,
  projections: readonly Projection[],
  scale: number,
  target: KernelTarget,
): Float32Array {
  const { features, heads, width, valueWidth } = form;
  const columns = attentionColumns(form);
  const at = (k: number, head: number, part: number, i: number): number =>
    k * columns + head * (2 * width + valueWidth) + part * width + i;
  const layout = usesMatrixUnits(target) ? nativeAttentionLayout(form) : undefined;
  const data = new Float32Array((features + 1) * columns);
  projections.forEach(({ linear }, part) => {
    const size = [width, width, valueWidth][part]!;
    const factor = part === 0 ? scale : 1;
    const weight = linear.weight();
    for (let head = 0; head < heads; head++) {
      for (let i = 0; i < size; i++) {
        const column = head * size + i;
        for (let k = 0; k < features; k++)
          data[layout?.weight(k, head, part, i) ?? at(k, head, part, i)] = factor * weight[k * linear.n + column]!;
        data[layout?.bias(head, part, i) ?? at(features, head, part, i)] = factor * (linear.bias?.[column] ?? 0);
      }
    }
  });
  if (layout && !unitsOf(target).halves) roundToTf32(data.subarray(0, layout.weights));
  return data;
}

/**
 * Makes an attention whose queries, keys and values are layers over one short sequence one kernel with those layers: none
 * of the three lies in memory.
 */
export function fuseSelfAttention(analyzed: AnalyzedGraph, target: KernelTarget): AnalyzedGraph {
  // A software adapter pays for barriers; units of float16 take the layers as products.
  if (target.software || productsOf(target) === 'float16') return analyzed;
  const onUnits = usesMatrixUnits(target);
  const layers = new LinearLayers(analyzed);
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  const taken = new Set<AnalyzedNode>();
  const made = new Map<AnalyzedNode, AnalyzedNode>();
  for (const attention of analyzed.nodes) {
    const { node, context } = attention;
    if (attention.operator !== SHORT_ATTENTION || node.inputs.length !== 3) continue;
    if (!isMovedBy(context.attributes.numbers('perm'), HEADS_FIRST!)) continue;
    const found = node.inputs.map((name, i) => projectionOf(name, (i === 1 ? KEYS : HEADS_FIRST)!, layers));
    if (!found.every((p) => p !== undefined)) continue;
    const [x] = found[0]!.linear.node.node.inputs as [string];
    if (!found.every(({ linear }) => linear.node.node.inputs[0] === x)) continue;
    const form = formOf(found, target);
    if (!form) continue;
    const name = `${node.name}/parameters`;
    const tensor = parameters(packed(form, found, context.attributes.number('scale', 1), target));
    types.set(name, { dtype: tensor.dtype, shape: tensor.dims });
    known.set(name, { kind: 'tensor', tensor });
    const fused: Node = {
      name: node.name,
      op: 'SelfAttention',
      domain: BRAID_DOMAIN,
      opset: 1,
      inputs: [x, name],
      outputs: node.outputs,
      attributes: {},
    };
    for (const { nodes } of found) for (const part of nodes) taken.add(part);
    const operator = selfAttentionOperator(form, onUnits);
    made.set(attention, {
      node: fused,
      operator,
      context: contextOf(fused, { types, known }),
      outputs: attention.outputs,
    });
  }
  if (made.size === 0) return analyzed;
  const nodes = analyzed.nodes.filter((node) => !taken.has(node)).map((node) => made.get(node) ?? node);
  return { ...analyzed, types, known, nodes };
}
