import type { Statistic } from '../../../shaders/normalization.js';
import { deviceType, type View } from '../../compile/view.js';
import { mul } from '../../graph/dim.js';
import { tensorOf, toFloat64 } from '../../graph/tensor.js';
import { broadcastOffsets } from '../broadcast.js';
import { elementwiseStep } from '../elementwise/kernel.js';
import type { NodeContext, Operator, ReferenceTensor } from '../operator.js';
import { mixesAlong, shownByShapes } from '../rows.js';
import { checkBroadcasts, checkChannels, epsilonOf } from './checks.js';
import { normalizationStep, normalizedReference } from './groups.js';
import { LAYER_NORMALIZATION } from './layer.js';

/** A list of channels as an operand that broadcasts along dimension 1 of `rank`. */
function alongChannels(view: View, rank: number): View {
  return {
    ...view,
    shape: Array.from({ length: rank }, (_, i) => (i === 1 ? view.shape[0]! : 1)),
    strides: Array.from({ length: rank }, (_, i) => (i === 1 ? view.strides[0]! : 0)),
  };
}

function channelReference(list: ReferenceTensor, rank: number): ReferenceTensor {
  return { ...list, dims: Array.from({ length: rank }, (_, i) => (i === 1 ? list.dims[0]! : 1)) };
}

/** Dimension `axis` of constant size as `parts` of equal size: a view whatever the strides. */
function splitAxis(view: View, axis: number, parts: number): View {
  const size = (view.shape[axis] as number) / parts;
  const replace = <T>(list: readonly T[], items: readonly T[]): T[] => list.toSpliced(axis, 1, ...items);
  const stride = view.strides[axis]!;
  return {
    ...view,
    shape: replace(view.shape, [parts, size]),
    strides: replace(view.strides, [mul(stride, size), stride]),
  };
}

/** A normalization by itself: which axes, by what, and which of its inputs scale and shift the result. */
interface Plain {
  readonly type: string;
  readonly opsets: Operator['opsets'];
  readonly statistic: (context: NodeContext) => Statistic;
  readonly epsilon: (context: NodeContext) => number;
  readonly axes: (context: NodeContext) => number[];
  /** `elements` broadcast to the input, `channels` are lists along dimension 1. */
  readonly operands?: 'elements' | 'channels';
  readonly check?: (context: NodeContext) => void;
}

function plain({ type, opsets, statistic, epsilon, axes, operands, check }: Plain): Operator {
  return {
    type,
    types: ['f32'],
    opsets,
    infer(context) {
      check?.(context);
      return [context.input(0)];
    },
    reference(context) {
      const x = context.input(0);
      const how = { statistic: statistic(context.shapes), epsilon: epsilon(context.shapes) };
      const [scale, bias] = [1, 2].map((i) => {
        const given = operands && context.inputs[i];
        return given && operands === 'channels' ? channelReference(given, x.dims.length) : given;
      });
      return [normalizedReference(x, axes(context.shapes), how, scale, bias).output];
    },
    rows: (row) => (axes(row.context).some((a) => mixesAlong(row, 0, a) === 'mixing') ? 'mixing' : 'parallel'),
    lower(lowering) {
      const { context } = lowering;
      const view = lowering.view(0);
      if (deviceType(view.dtype) !== 'f32') throw context.unsupported(`no kernel for ${view.dtype}`);
      const [scale, bias] = [1, 2].map((i) => {
        const given = operands && lowering.optional(i);
        return given && operands === 'channels' ? alongChannels(given, view.shape.length) : given;
      });
      lowering.emit(
        normalizationStep({
          name: type,
          statistic: statistic(context),
          epsilon: epsilon(context),
          view,
          axes: axes(context),
          output: lowering.output(0),
          scale,
          bias,
        }),
      );
    },
  };
}

function axesFrom(context: NodeContext, first: number): number[] {
  return context.input(0).shape.flatMap((_, i) => (i < first ? [] : [i]));
}

/** RMSNormalization(X, scale): by the root of the mean square over the axes from `axis` on. */
const RMS_NORMALIZATION = plain({
  type: 'RMSNormalization',
  opsets: [23, 27],
  statistic: () => 'square',
  epsilon: epsilonOf,
  axes: (context) =>
    axesFrom(context, context.axis(context.attributes.number('axis', -1), context.input(0).shape.length)),
  operands: 'elements',
  check: (context) => checkBroadcasts(context, 1),
});

/** InstanceNormalization(input, scale, B): each channel of each row over its places. */
const INSTANCE_NORMALIZATION = plain({
  type: 'InstanceNormalization',
  opsets: [7, 27],
  statistic: () => 'variance',
  epsilon: epsilonOf,
  axes: (context) => axesFrom(context, 2),
  operands: 'channels',
  check: (context) => checkChannels(context, 1, 2, 1),
});

/** LpNormalization(input, axis, p): by the length of each line along the axis. */
const LP_NORMALIZATION = plain({
  type: 'LpNormalization',
  opsets: [7, 27],
  statistic(context) {
    const p = context.attributes.number('p', 2);
    if (p !== 1 && p !== 2) throw context.invalid(`p is ${p}, expected 1 or 2`);
    return p === 1 ? 'l1' : 'l2';
  },
  epsilon: () => 0,
  axes: (context) => [context.axis(context.attributes.number('axis', -1), context.input(0).shape.length)],
});

/** MeanVarianceNormalization(X, axes): to a mean of 0 and a deviation of 1. */
const MEAN_VARIANCE_NORMALIZATION = plain({
  type: 'MeanVarianceNormalization',
  opsets: [9, 27],
  statistic: () => 'deviation',
  // What ONNX's definition of the operator adds.
  epsilon: () => 1e-9,
  axes: (context) =>
    (context.attributes.numbers('axes') ?? [0, 2, 3]).map((a) => context.axis(a, context.input(0).shape.length)),
});

/** Groups of GroupNormalization, checked to divide the channels. */
function groupsOf(context: NodeContext): number {
  const groups = context.attributes.requiredNumber('num_groups');
  const channels = context.input(0).shape[1];
  if (typeof channels !== 'number') throw context.unsupported(`the number of channels has to be a constant`);
  if (groups < 1 || channels % groups !== 0) throw context.invalid(`${groups} groups of ${channels} channels`);
  return groups;
}

/** Before opset 21 scale and bias have an element a group, from there on one a channel. */
function scalesGroups(context: NodeContext): boolean {
  return context.node.opset < 21;
}

/** GroupNormalization(X, scale, bias): groups of channels of each row, over their places. */
const GROUP_NORMALIZATION: Operator = {
  type: 'GroupNormalization',
  types: ['f32'],
  opsets: [18, 27],
  infer(context) {
    const groups = groupsOf(context);
    const expected = scalesGroups(context) ? groups : context.input(0).shape[1];
    for (const i of [1, 2]) {
      if (context.input(i).shape[0] !== expected) throw context.invalid(`input ${i} should have ${expected} elements`);
    }
    return [context.input(0)];
  },
  reference(context) {
    const x = context.input(0);
    const groups = groupsOf(context.shapes);
    const [rows, channels, ...places] = x.dims as [number, number, ...number[]];
    const dims = [rows, groups, channels / groups, ...places];
    const operand = (i: number): ReferenceTensor => {
      const size = scalesGroups(context.shapes) ? 1 : channels / groups;
      return { ...context.input(i), dims: [1, groups, size, ...places.map(() => 1)] };
    };
    const axes = dims.flatMap((_, i) => (i < 2 ? [] : [i]));
    const how = { statistic: 'variance', epsilon: epsilonOf(context.shapes) } as const;
    const { output } = normalizedReference({ ...x, dims }, axes, how, operand(1), operand(2));
    return [{ ...output, dims: x.dims }];
  },
  rows: shownByShapes,
  lower(lowering) {
    const { context } = lowering;
    const groups = groupsOf(context);
    const view = splitAxis(lowering.view(0), 1, groups);
    if (deviceType(view.dtype) !== 'f32') throw context.unsupported(`no kernel for ${view.dtype}`);
    const rank = context.input(0).shape.length;
    const operand = (i: number): View => splitAxis(alongChannels(lowering.view(i), rank), 1, groups);
    lowering.emit(
      normalizationStep({
        name: 'GroupNormalization',
        statistic: 'variance',
        epsilon: epsilonOf(context),
        view,
        axes: view.shape.flatMap((_, i) => (i < 2 ? [] : [i])),
        output: splitAxis(lowering.output(0), 1, groups),
        scale: operand(1),
        bias: operand(2),
      }),
    );
  },
};

/** BatchNormalization(X, scale, B, mean, var) at inference: a factor and an addend a channel. */
const BATCH_NORMALIZATION: Operator = {
  type: 'BatchNormalization',
  types: ['f32'],
  opsets: [7, 27],
  infer(context) {
    if (context.attributes.number('training_mode', 0) !== 0 || context.node.outputs.slice(1).some((o) => o !== ''))
      throw context.unsupported('training, with outputs of the statistics');
    if (context.attributes.number('spatial', 1) === 0) throw context.unsupported('statistics of each place');
    checkChannels(context, 1, 4, 1);
    return [context.input(0)];
  },
  reference(context) {
    const x = context.input(0);
    const [scale, bias, mean, variance] = [1, 2, 3, 4].map((i) => context.input(i).data);
    const epsilon = epsilonOf(context.shapes);
    const channelOf = broadcastOffsets(channelReference(context.input(1), x.dims.length).dims, x.dims);
    const data = x.data.map((v, i) => {
      const c = channelOf[i]!;
      return ((v - mean![c]!) / Math.sqrt(variance![c]! + epsilon)) * scale![c]! + bias![c]!;
    });
    return [{ ...x, data }];
  },
  rows: shownByShapes,
  lower(lowering) {
    const { context } = lowering;
    const view = lowering.view(0);
    if (deviceType(view.dtype) !== 'f32') throw context.unsupported(`no kernel for ${view.dtype}`);
    const epsilon = epsilonOf(context);
    const rank = view.shape.length;
    const output = lowering.output(0);
    const constants = [1, 2, 3, 4].map((i) => context.tensor(i));
    if (constants.every((t) => t !== undefined)) {
      const [scale, bias, mean, variance] = constants.map((t) => toFloat64(t));
      const factor = scale!.map((s, c) => s / Math.sqrt(variance![c]! + epsilon));
      const addend = bias!.map((b, c) => b - mean![c]! * factor[c]!);
      const operands = [factor, addend].map((values, i) =>
        alongChannels(
          lowering.constant(i === 0 ? 'factor' : 'addend', tensorOf('float32', [values.length], values)),
          rank,
        ),
      );
      lowering.emit(
        elementwiseStep({ name: 'ScaleShift', expression: 'fma(a, b, c)', inputs: [view, ...operands], output }),
      );
      return;
    }
    lowering.emit(
      elementwiseStep({
        name: 'BatchNormalization',
        expression: '(a - d) / sqrt(e + p.epsilon) * b + c',
        inputs: [view, ...[1, 2, 3, 4].map((i) => alongChannels(lowering.view(i), rank))],
        output,
        scalars: { epsilon },
        operations: 6,
      }),
    );
  },
};

export const NORMALIZATION_OPERATORS: readonly Operator[] = [
  LAYER_NORMALIZATION,
  RMS_NORMALIZATION,
  INSTANCE_NORMALIZATION,
  GROUP_NORMALIZATION,
  BATCH_NORMALIZATION,
  LP_NORMALIZATION,
  MEAN_VARIANCE_NORMALIZATION,
];
