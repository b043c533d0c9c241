import { halfAt } from '../../shaders/perceptron_halves.js';
import { firstColumns, targetAttentionLayout, targetAttentionNeeds } from '../../shaders/target_attention.js';
import {
  attentionColumns,
  attentionFeatures,
  attentionHalvesLayout,
  attentionHalvesNeeds,
} from '../../shaders/target_attention_halves.js';
import { numberToHalf } from '../graph/dtype.js';
import { shapesEqual } from '../graph/dim.js';
import type { Node } from '../graph/graph.js';
import { toFloat64 } from '../graph/tensor.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import { targetAttentionOperator, type HiddenFunctions } from '../operators/attention/target.js';
import { MODULATED_MATMUL } from '../operators/matmul/modulated.js';
import type { Known, ValueType } from '../operators/operator.js';
import { needed, type AnalyzedGraph, type AnalyzedNode } from './analyze.js';
import { contextOf, parameters } from './graph-edits.js';
import { productsOf, type DeviceCaps, type KernelTarget, type ProductPrecision } from './kernel.js';
import { epilogueOf, isInput, LinearLayers, type Linear } from './linear-layers.js';
import { RENAMING } from './simplify.js';

/** Most buffers that the kernel reads beside its four operands: a stage of an adapter binds at least 8. */
const MOST_OTHERS = 3;

interface Unit {
  /** The product that ends it: weights times keys. */
  readonly end: AnalyzedNode;
  readonly modulated: AnalyzedNode;
  readonly second: Linear;
  readonly score: Linear;
  readonly length: number;
  readonly width: number;
}

class Finder {
  readonly #layers: LinearLayers;
  readonly #analyzed: AnalyzedGraph;

  constructor(analyzed: AnalyzedGraph) {
    this.#analyzed = analyzed;
    this.#layers = new LinearLayers(analyzed);
  }

  /** The attention to a target whose weighted sum of keys is `end`. */
  find(end: AnalyzedNode): Unit | undefined {
    if (
      end.node.op !== 'MatMul' ||
      end.node.domain !== '' ||
      end.node.inputs.length > 2 ||
      epilogueOf(end).chain.length > 0
    )
      return undefined;
    const [weights, keys] = end.node.inputs as [string, string];
    const shape = this.#shape(keys);
    const [batch, length, width] = shape;
    if (shape.length !== 3 || typeof length !== 'number' || typeof width !== 'number' || width % 4 !== 0)
      return undefined;
    if (!shapesEqual(this.#shape(weights), [batch!, 1, length])) return undefined;
    const softmax = this.#unnamed(weights);
    const isAlongLast =
      softmax?.node.op === 'Softmax' &&
      [-1, 1].includes(softmax.context.attributes.number('axis', softmax.node.opset < 13 ? 1 : -1)) &&
      shapesEqual(softmax.outputs[0]!.shape, [batch!, length]);
    const product = isAlongLast ? this.#unnamed(softmax.node.inputs[0]!) : undefined;
    const score = product && this.#layers.of(product);
    // What is added to the scores beside a constant is none of the kernel's.
    if (score?.n !== 1 || (score.node.node.inputs[2] && !score.bias)) return undefined;
    const second = this.#layers.before(score);
    const modulated = second && this.#layers.sole(second.node.node.inputs[0]!);
    if (modulated?.node.op !== MODULATED_MATMUL.type || modulated.node.inputs[0] !== keys) return undefined;
    return shapesEqual(modulated.outputs[0]!.shape.slice(-1), [second!.k])
      ? { end, modulated, second: second!, score, length, width }
      : undefined;
  }

  /** The constant lines that functions of a layer read, by position; undefined where they read anything else. */
  lines({ node }: AnalyzedNode, chain: HiddenFunctions['chain'], n: number): Map<number, Float64Array> | undefined {
    const lines = new Map<number, Float64Array>();
    for (const source of chain.flatMap((l) => l.sources)) {
      if (!isInput(source)) continue;
      const line = this.#layers.line(node.inputs[source.input]!, n);
      if (!line) return undefined;
      lines.set(source.input, line);
    }
    return lines;
  }

  #shape(name: string): ValueType['shape'] {
    return this.#analyzed.types.get(name)!.shape;
  }

  /** What makes the value that `name` is another shape of, where nothing else reads either. */
  #unnamed(name: string): AnalyzedNode | undefined {
    const producer = this.#layers.sole(name);
    return producer && RENAMING.has(producer.node.op) ? this.#unnamed(producer.node.inputs[0]!) : producer;
  }
}

/** All parameters as the kernel reads them; see targetAttentionLayout. */
function packed({ modulated, second, score, width }: Unit, firstLines: readonly Float64Array[]): Float32Array {
  const layout = targetAttentionLayout({ width, first: second.k, second: second.n }, firstLines.length);
  const data = new Float32Array(4 * layout.total);
  const [a, b] = [firstColumns({ first: second.k }), 4 * Math.ceil(second.n / 4)];
  const stacked = toFloat64(modulated.context.tensor(1)!);
  const rows = (values: Float64Array, count: number, n: number, at: number, stride: number): void => {
    for (let i = 0; i < count; i++) data.set(values.subarray(i * n, (i + 1) * n), 4 * at + i * stride);
  };
  rows(stacked.subarray(0, width * second.k), width, second.k, layout.keyWeights, a);
  rows(stacked.subarray(width * second.k), width, second.k, layout.pairWeights, a);
  firstLines.forEach((line, i) => data.set(line, 4 * layout.firstLines + i * a));
  rows(second.weight(), second.k, second.n, layout.secondWeights, b);
  if (second.bias) data.set(second.bias, 4 * layout.secondBias);
  data.set(score.weight(), 4 * layout.scoreWeights);
  if (score.bias) data.set(score.bias, 4 * layout.scoreBias);
  return data;
}

/** As `packed`, for the kernel that multiplies in float16: words of halves and of float32; see attentionHalvesLayout. */
function packedHalves({ modulated, second, score, width }: Unit, firstLines: readonly Float64Array[]): Uint32Array {
  const { k: first, n } = second;
  const layout = attentionHalvesLayout({ width, first, second: n }, firstLines.length);
  const words = new Uint32Array(4 * layout.total);
  const [halves, floats] = [new Uint16Array(words.buffer), new Float32Array(words.buffer)];
  const stacked = toFloat64(modulated.context.tensor(1)!);
  const [columns, features] = [attentionColumns({ first }), attentionFeatures({ width })];
  const weight = second.weight();
  [layout.keyWeights, layout.pairWeights].forEach((start, part) => {
    for (let feature = 0; feature < width; feature++) {
      for (let column = 0; column < first; column++)
        halves[8 * start + column * features + feature] = numberToHalf(
          stacked[(part * width + feature) * first + column]!,
        );
    }
  });
  firstLines.forEach((line, i) => floats.set(line, 4 * layout.firstLines + i * columns));
  for (let feature = 0; feature < first; feature++) {
    for (let column = 0; column < n; column++)
      halves[8 * layout.secondWeights + halfAt(feature, column, n)] = numberToHalf(weight[feature * n + column]!);
  }
  if (second.bias) floats.set(second.bias, 4 * layout.secondBias);
  floats.set(score.weight(), 4 * layout.scoreWeights);
  if (score.bias) floats.set(score.bias, 4 * layout.scoreBias);
  return words;
}

/** Whether a workgroup of the device can take the kernel. */
function isFitting(
  { second, length, width }: Unit,
  products: ProductPrecision,
  { maxWorkgroupInvocations, maxWorkgroupBytes }: DeviceCaps,
): boolean {
  const sizes = { width, first: second.k, second: second.n, length };
  const needs = products === 'float16' ? attentionHalvesNeeds(sizes) : targetAttentionNeeds(sizes);
  return (
    needs.threads <= maxWorkgroupInvocations &&
    needs.bytes <= maxWorkgroupBytes &&
    !('keys' in needs && needs.keys === 0)
  );
}

/** Copies of what makes the target, where lookups make it: the kernel may not read the buffer that it writes. */
class Copies {
  readonly nodes = new Map<AnalyzedNode, AnalyzedNode[]>();
  readonly #producers: ReadonlyMap<string, AnalyzedNode>;
  readonly #types: Map<string, ValueType>;
  readonly #known: ReadonlyMap<string, Known>;

  constructor(analyzed: AnalyzedGraph, types: Map<string, ValueType>, known: ReadonlyMap<string, Known>) {
    this.#producers = new Map(analyzed.nodes.flatMap((n) => n.node.outputs.map((name) => [name, n])));
    this.#types = types;
    this.#known = known;
  }

  /** A value equal to `name`: made anew by a lookup, or by joining lookups; `name` itself where that takes more. */
  of(name: string): string {
    const made = this.#producers.get(name);
    if (!made || !this.#isLookup(made)) return name;
    return this.#copy(made);
  }

  #isLookup({ node }: AnalyzedNode): boolean {
    if (node.op === 'Gather') return this.#known.has(node.inputs[0]!);
    const isJoin = node.op === 'Concat' || RENAMING.has(node.op);
    const values = node.inputs.filter((name) => !this.#known.has(name));
    return (
      isJoin &&
      values.every((name) => {
        const made = this.#producers.get(name);
        return made !== undefined && this.#isLookup(made);
      })
    );
  }

  #copy(made: AnalyzedNode): string {
    const { node, outputs } = made;
    const [name] = node.outputs as [string];
    const copied = `${name}/target`;
    if (this.#types.has(copied)) return copied;
    const inputs =
      node.op === 'Gather'
        ? node.inputs
        : node.inputs.map((input) => (this.#known.has(input) ? input : this.#copy(this.#producers.get(input)!)));
    this.#types.set(copied, outputs[0]!);
    const copy: Node = { ...node, name: `${node.name}/target`, inputs, outputs: [copied] };
    const context = contextOf(copy, { types: this.#types, known: this.#known });
    this.nodes.set(made, [...(this.nodes.get(made) ?? []), { ...made, node: copy, context }]);
    return copied;
  }
}

/**
 * Attention to a target in one kernel: what compile/split-layer.ts made of the first layer, the rest of the perceptron,
 * the mask, the softmax, and the sum of the keys. Where the target comes from lookups, the kernel gets it from lookups of
 * its own, for the result mostly stands beside the target in one buffer.
 */
export function fuseTargetAttention(analyzed: AnalyzedGraph, caps: KernelTarget): AnalyzedGraph {
  if (caps.software) return analyzed;
  const products = productsOf(caps);
  const finder = new Finder(analyzed);
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  const copies = new Copies(analyzed, types, known);
  const ends = new Map<AnalyzedNode, AnalyzedNode>();
  for (const node of analyzed.nodes) {
    const unit = finder.find(node);
    if (!unit) continue;
    const { end, modulated, second, score, length, width } = unit;
    if (!isFitting(unit, products, caps)) continue;
    const functions = epilogueOf(modulated).chain;
    const lines = finder.lines(modulated, functions, second.k);
    const [, , , ...others] = score.node.node.inputs;
    if (!lines || others.length > MOST_OTHERS) continue;
    const name = `${end.node.name}/parameters`;
    const constants = [...lines.values()];
    const tensor = parameters(products === 'float16' ? packedHalves(unit, constants) : packed(unit, constants));
    types.set(name, { dtype: tensor.dtype, shape: tensor.dims });
    known.set(name, { kind: 'tensor', tensor });
    const [keys, , line, target] = modulated.node.inputs as [string, string, string, string];
    const inputs = [keys, name, '', ...others, line, copies.of(target)];
    const operator = targetAttentionOperator({
      products,
      width,
      length,
      first: second.k,
      second: second.n,
      firstFunctions: { chain: functions, lines: [...lines.keys()] },
      secondFunctions: second.chain,
      line: inputs.length - 2,
      target: inputs.length - 1,
    });
    const fused: Node = {
      name: end.node.name,
      op: operator.type,
      domain: BRAID_DOMAIN,
      opset: 1,
      inputs,
      outputs: end.node.outputs,
      attributes: {},
    };
    ends.set(end, {
      node: fused,
      operator,
      context: contextOf(fused, { types, known }),
      outputs: end.outputs,
      epilogue: epilogueOf(score.node),
    });
  }
  if (ends.size === 0) return analyzed;
  const nodes = analyzed.nodes.flatMap((node) => [ends.get(node) ?? node, ...(copies.nodes.get(node) ?? [])]);
  return { ...analyzed, types, known, nodes: needed(analyzed.graph, nodes, known) };
}
