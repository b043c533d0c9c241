import { columnGroups, parameterVectors, placeOf } from '../../shaders/perceptron.js';
import { halfAt, halvesLayout } from '../../shaders/perceptron_halves.js';
import { unitAt, unitsLayout } from '../../shaders/perceptron_native.js';
import { numberToHalf } from '../graph/dtype.js';
import type { Node } from '../graph/graph.js';
import { toFloat64, type Tensor } from '../graph/tensor.js';
import { BRAID_DOMAIN } from '../operators/composite.js';
import type { Known, ValueType } from '../operators/operator.js';
import { perceptronOperator, cutsOf, type Layer } from '../operators/perceptron/index.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';
import { contextOf, parameters } from './graph-edits.js';
import { productsOf, unitsOf, usesMatrixUnits, type KernelTarget } from './kernel.js';
import { roundToTf32 } from './tf32.js';
import { epilogueOf, LinearLayers, type Linear } from './linear-layers.js';

/** Most weights of a perceptron: each workgroup reads them all, for a few rows. */
const MOST_WEIGHTS = 192 * 1024;
/** Most features that a line of which all are in workgroup memory may have. */
const MOST_HIDDEN = 512;

/** The layer normalization that alone reads a result. */
interface Norm {
  readonly node: AnalyzedNode;
  readonly epsilon: number;
  readonly scale: Float64Array;
  readonly shift: Float64Array | undefined;
}

function normOf(linear: Linear, layers: LinearLayers): Norm | undefined {
  const node = layers.reader(linear.node);
  if (node?.node.op !== 'LayerNormalization' || node.node.outputs.slice(1).some((name) => name !== ''))
    return undefined;
  const { context } = node;
  const { shape } = context.input(0);
  const isLast = context.axis(context.attributes.number('axis', -1), shape.length) === shape.length - 1;
  if (!isLast || shape.at(-1) !== linear.n || linear.n % 4 !== 0) return undefined;
  const [scale, shift] = [1, 2].map((i) => context.tensor(i));
  const isLine = (t: Tensor): boolean => t.dims.length === 1 && t.dims[0] === linear.n;
  if (!scale || !isLine(scale) || (context.optional(2) && !(shift && isLine(shift)))) return undefined;
  return {
    node,
    epsilon: context.attributes.number('epsilon', 1e-5),
    scale: toFloat64(scale),
    shift: shift && toFloat64(shift),
  };
}

/** All parameters as the kernel reads them; see parameterVectors. */
function packed(linears: readonly Linear[], norm: Norm | undefined): Float32Array {
  const data = new Float32Array(4 * parameterVectors(linears, norm !== undefined));
  let at = 0;
  linears.forEach(({ k, n, bias, ...linear }, i) => {
    const weight = linear.weight();
    const width = 4 * columnGroups(n);
    const before = i === 0 ? undefined : linears[i - 1]!.n;
    for (let row = 0; row < k; row++) {
      const place = before === undefined ? row : placeOf(row, before);
      data.set(weight.subarray(row * n, (row + 1) * n), at + place * width);
    }
    at += (before === undefined ? k : 4 * columnGroups(before)) * width;
    if (bias) data.set(bias, at);
    at += width;
  });
  if (norm) {
    data.set(norm.scale, at);
    if (norm.shift) data.set(norm.shift, at + 4 * columnGroups(linears.at(-1)!.n));
  }
  return data;
}

/** As `packed`, for the kernel that multiplies in float16: words of the layers' halves and of float32; see halvesLayout. */
function packedHalves(linears: readonly Linear[], norm: Norm | undefined): Uint32Array {
  const layout = halvesLayout(linears, norm !== undefined);
  const words = new Uint32Array(4 * layout.total);
  const [halves, floats] = [new Uint16Array(words.buffer), new Float32Array(words.buffer)];
  linears.forEach(({ k, n, bias, ...linear }, i) => {
    const weight = linear.weight();
    for (let row = 0; row < k; row++) {
      for (let column = 0; column < n; column++)
        halves[8 * layout.weights[i]! + halfAt(row, column, n)] = numberToHalf(weight[row * n + column]!);
    }
    if (bias) floats.set(bias, 4 * layout.biases[i]!);
  });
  if (norm) {
    floats.set(norm.scale, 4 * layout.scale);
    if (norm.shift) floats.set(norm.shift, 4 * layout.shift);
  }
  return words;
}

/** As `packed`, for the matrix units of CUDA; see unitsLayout. */
function packedUnits(linears: readonly Linear[], norm: Norm | undefined, caps: KernelTarget): Float32Array {
  const layout = unitsLayout(linears, norm !== undefined);
  const data = new Float32Array(layout.total);
  linears.forEach(({ k, n, ...linear }, i) => {
    const weight = linear.weight();
    for (let row = 0; row < k; row++) {
      for (let column = 0; column < n; column++)
        data[layout.weights[i]! + unitAt(row, column, n, i === 0)] = weight[row * n + column]!;
    }
  });
  if (!unitsOf(caps).halves) roundToTf32(data);
  linears.forEach(({ bias }, i) => bias && data.set(bias, layout.biases[i]!));
  if (norm) {
    data.set(norm.scale, layout.scale);
    if (norm.shift) data.set(norm.shift, layout.shift);
  }
  return data;
}

const PACKED = { float32: packed, float16: packedHalves, units: packedUnits };

/**
 * Makes layers that follow each other one kernel, which keeps what is between them in workgroup memory: the last layers
 * of a tower, a small perceptron, the feed-forward layers of a transformer's block; and what normalizes their results.
 * Large layers are left to products of their own: a workgroup reads all weights for a few rows.
 */
export function fusePerceptrons(analyzed: AnalyzedGraph, caps: KernelTarget): AnalyzedGraph {
  // A software adapter pays for barriers, and computes from its cache.
  if (caps.software) return analyzed;
  const products = usesMatrixUnits(caps) ? 'units' : productsOf(caps);
  const layers = new LinearLayers(analyzed);
  const types = new Map<string, ValueType>(analyzed.types);
  const known = new Map<string, Known>(analyzed.known);
  const taken = new Set<AnalyzedNode>();
  const ends = new Map<AnalyzedNode, AnalyzedNode>();
  for (const node of [...analyzed.nodes].reverse()) {
    const last = taken.has(node) ? undefined : layers.of(node);
    if (!last?.keepsLines || last.k * last.n > MOST_WEIGHTS) continue;
    const fits = (linears: readonly Linear[], normalizes: boolean): boolean =>
      cutsOf(linears, normalizes, products, caps).length > 0;
    const ending = (normalizes: boolean): Linear[] => {
      const linears = [last];
      // Rows that are normalized are many: in float32 layers that widen before them are faster as a product, for all they write.
      if (normalizes && products === 'float32') return linears;
      for (let before = layers.before(last); before; before = layers.before(before)) {
        const grown = [before, ...linears];
        const weights = grown.reduce((sum, { k, n }) => sum + k * n, 0);
        const isSmall = weights <= MOST_WEIGHTS && before.n <= MOST_HIDDEN;
        if (!isSmall || !fits(grown, normalizes)) break;
        linears.unshift(before);
      }
      return linears;
    };
    const following = normOf(last, layers);
    const norm = following && fits(ending(true), true) ? following : undefined;
    const linears = ending(norm !== undefined);
    const isWorth = linears.length > 1 || norm !== undefined;
    if (!isWorth || !fits(linears, norm !== undefined)) continue;
    const end = norm?.node ?? last.node;
    const name = `${last.node.node.name}/parameters`;
    const tensor = parameters(PACKED[products](linears, norm, caps));
    types.set(name, { dtype: tensor.dtype, shape: tensor.dims });
    known.set(name, { kind: 'tensor', tensor });
    const [, , addend = '', ...others] = last.node.node.inputs;
    const inputs = [linears[0]!.node.node.inputs[0]!, name, last.bias ? '' : addend, ...others];
    const fused: Node = {
      name: last.node.node.name,
      op: 'Perceptron',
      domain: BRAID_DOMAIN,
      opset: 1,
      inputs,
      outputs: [end.node.outputs[0]!],
      attributes: {},
    };
    const form = linears.map(({ k, n, chain }): Layer => ({ k, n, chain }));
    const operator = perceptronOperator({ layers: form, products, ...(norm ? { epsilon: norm.epsilon } : {}) });
    for (const { node: part } of linears) taken.add(part);
    if (norm) taken.add(norm.node);
    ends.set(end, {
      node: fused,
      operator,
      context: contextOf(fused, { types, known }),
      outputs: [end.outputs[0]!],
      epilogue: epilogueOf(last.node),
    });
  }
  if (ends.size === 0) return analyzed;
  const nodes = analyzed.nodes.flatMap((node) => ends.get(node) ?? (taken.has(node) ? [] : [node]));
  return { ...analyzed, types, known, nodes };
}
