import { normalization, type NormalizationResult, type Statistic } from '../../../shaders/normalization.js';
import { flatWorkgroupSize } from '../../../shaders/program.js';
import type { Step } from '../../compile/kernel.js';
import { broadcastView, collapse, nonEmpty, type View } from '../../compile/view.js';
import { mul, product } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { broadcastOffsets } from '../broadcast.js';
import { flatWorkgroups, trafficBytes } from '../elementwise/kernel.js';
import type { ReferenceTensor } from '../operator.js';

export interface NormalizationCall {
  /** The operator, for the printed plan. */
  readonly name: string;
  readonly statistic: Statistic;
  readonly epsilon: number;
  readonly view: View;
  /** What a group spans. */
  readonly axes: readonly number[];
  readonly output: View;
  /** Broadcast to the input's shape. */
  readonly scale?: View | undefined;
  readonly bias?: View | undefined;
  /** Default: values. The others have the input's shape with 1 along the axes. */
  readonly result?: NormalizationResult;
}

/** The step that normalizes the groups of `view`, however they lie. */
export function normalizationStep(call: NormalizationCall): Omit<Step, 'node'> {
  const { view, output, axes } = call;
  const { shape } = view;
  const kept = shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const pick = <T>(list: readonly T[], dims: readonly number[]): T[] => dims.map((i) => list[i]!);
  const operands = (['scale', 'bias'] as const).filter((o) => call[o] !== undefined);
  const placed = [
    { name: 'data', view },
    ...operands.map((name) => ({ name, view: broadcastView(call[name]!, shape) })),
    { name: 'out', view: output },
  ];
  const outer = collapse({ shape: pick(shape, kept), strides: placed.map((p) => pick(p.view.strides, kept)) });
  const inner = collapse({ shape: pick(shape, axes), strides: placed.map((p) => pick(p.view.strides, axes)) });
  const groups = product(pick(shape, kept));
  return {
    kernel: call.name,
    operands: placed.map((p) => ({ view: p.view, access: p.name === 'out' ? 'write' : 'read' })),
    cost: { operations: mul(product(shape), 8), bytes: trafficBytes(placed.map((p) => p.view)) },
    bound: 'memory',
    detail: `axes=${axes.join(',')}`,
    webgpu(caps) {
      const workgroupSize = flatWorkgroupSize(caps.maxWorkgroupInvocations);
      return {
        program: normalization({
          statistic: call.statistic,
          operands,
          result: call.result ?? 'values',
          outerRank: Math.max(1, outer.shape.length),
          innerRank: Math.max(1, inner.shape.length),
          workgroupSize,
        }),
        dispatch: {
          parameters: {
            groups,
            length: product(pick(shape, axes)),
            zero: 0,
            epsilon: { f32: call.epsilon },
            shape: nonEmpty(outer.shape, 1),
            inner_shape: nonEmpty(inner.shape, 1),
            ...Object.fromEntries(placed.map((p) => [`${p.name}_start`, { start: p.view }])),
            ...Object.fromEntries(placed.map((p, i) => [`${p.name}_strides`, nonEmpty(outer.strides[i]!, 0)])),
            ...Object.fromEntries(placed.map((p, i) => [`${p.name}_inner`, nonEmpty(inner.strides[i]!, 0)])),
          },
          workgroups: flatWorkgroups(groups, workgroupSize, caps.maxWorkgroupsPerDimension),
        },
      };
    },
  };
}

const DIVISORS: Record<Statistic, (sum: number, length: number, epsilon: number) => number> = {
  variance: (sum, length, epsilon) => Math.sqrt(sum / length + epsilon),
  square: (sum, length, epsilon) => Math.sqrt(sum / length + epsilon),
  deviation: (sum, length, epsilon) => Math.sqrt(sum / length) + epsilon,
  l1: (sum) => (sum === 0 ? Infinity : sum),
  l2: (sum) => (sum === 0 ? Infinity : Math.sqrt(sum)),
};

export interface NormalizedReference {
  readonly output: ReferenceTensor;
  /** One element a group, in row-major order of the dimensions outside `axes`. */
  readonly mean: Float64Array;
  readonly inverse: Float64Array;
}

/** What normalizationStep computes; `scale` and `bias` broadcast to `x`. */
export function normalizedReference(
  x: ReferenceTensor,
  axes: readonly number[],
  { statistic, epsilon }: Pick<NormalizationCall, 'statistic' | 'epsilon'>,
  scale?: ReferenceTensor,
  bias?: ReferenceTensor,
): NormalizedReference {
  // The group of an element is where broadcasting a tensor with 1 along the axes would find it.
  const kept = x.dims.map((d, i) => (axes.includes(i) ? 1 : d));
  const groupOf = broadcastOffsets(kept, x.dims);
  const groups = sizeOf(kept);
  const length = x.data.length / groups;
  const centred = statistic === 'variance' || statistic === 'deviation';
  const mean = new Float64Array(groups);
  const sums = new Float64Array(groups);
  if (centred) x.data.forEach((v, i) => (mean[groupOf[i]!]! += v / length));
  x.data.forEach((v, i) => {
    const d = v - mean[groupOf[i]!]!;
    sums[groupOf[i]!]! += statistic === 'l1' ? Math.abs(d) : d * d;
  });
  const inverse = sums.map((sum) => 1 / DIVISORS[statistic](sum, length, epsilon));
  const scaleAt = scale && broadcastOffsets(scale.dims, x.dims);
  const biasAt = bias && broadcastOffsets(bias.dims, x.dims);
  const data = x.data.map((v, i) => {
    const normal = (v - mean[groupOf[i]!]!) * inverse[groupOf[i]!]!;
    return normal * (scale ? scale.data[scaleAt![i]!]! : 1) + (bias ? bias.data[biasAt![i]!]! : 0);
  });
  return { output: { ...x, data }, mean, inverse };
}
