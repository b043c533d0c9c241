import { layerNormalization } from '../../../shaders/layer_normalization.js';
import { linesPerWorkgroup } from '../../../shaders/line_groups.js';
import { flatWorkgroupSize } from '../../../shaders/program.js';
import { collapse, deviceType, isDense, reshapeView, type View, nonEmpty } from '../../compile/view.js';
import { mul, product, shapesEqual } from '../../graph/dim.js';
import { flatWorkgroups, trafficBytes } from '../elementwise/kernel.js';
import { lineCut } from '../lines.js';
import type { NodeContext, Operator, ValueType } from '../operator.js';
import { mixesAlong } from '../rows.js';
import { checkBroadcasts, epsilonOf, stashType } from './checks.js';
import { normalizationStep, normalizedReference } from './groups.js';

function axisOf(context: NodeContext): number {
  return context.axis(context.attributes.number('axis', -1), context.input(0).shape.length);
}

/** The view as lines of contiguous elements: the normalized axes merged into one of stride 1. */
function asLines(view: View, axis: number): View | undefined {
  const tail = { ...view, shape: view.shape.slice(axis), strides: view.strides.slice(axis), offset: 0 };
  if (!isDense(tail)) return undefined;
  return {
    ...view,
    shape: [...view.shape.slice(0, axis), product(tail.shape)],
    strides: [...view.strides.slice(0, axis), 1],
  };
}

/** Whether the operand has exactly the shape of the normalized axes, which the kernel of lines wants. */
function fits(x: ValueType, operand: ValueType | undefined, axis: number): boolean {
  return !operand || shapesEqual(operand.shape, x.shape.slice(axis));
}

/** LayerNormalization(X, Scale, B): over the axes from `axis` on. Scale and bias broadcast. */
export const LAYER_NORMALIZATION: Operator = {
  type: 'LayerNormalization',
  types: ['f32'],
  opsets: [17, 27],
  infer(context) {
    const x = context.input(0);
    const axis = axisOf(context);
    for (const i of [1, 2]) checkBroadcasts(context, i);
    const statistic: ValueType = { dtype: stashType(context), shape: x.shape.map((d, i) => (i < axis ? d : 1)) };
    return [x, statistic, statistic];
  },
  reference(context) {
    const x = context.input(0);
    const axis = axisOf(context.shapes);
    const axes = x.dims.flatMap((_, i) => (i < axis ? [] : [i]));
    const how = { statistic: 'variance', epsilon: epsilonOf(context.shapes) } as const;
    const { output, mean, inverse } = normalizedReference(x, axes, how, context.input(1), context.inputs[2]);
    const dims = x.dims.map((d, i) => (i < axis ? d : 1));
    const dtype = stashType(context.shapes);
    return [output, { dtype, dims, data: mean }, { dtype, dims, data: inverse }];
  },
  rows: (row) => mixesAlong(row, 0, axisOf(row.context)),
  keepsRows: ({ context, rowAxis }) =>
    rowAxis(0)! < axisOf(context) && rowAxis(1) === undefined && rowAxis(2) === undefined,
  lower(lowering) {
    const { context } = lowering;
    const axis = axisOf(context);
    const input = lowering.view(0);
    if (deviceType(input.dtype) !== 'f32') throw context.unsupported(`no kernel for ${input.dtype}`);
    const general = {
      name: 'LayerNormalization',
      statistic: 'variance',
      epsilon: epsilonOf(context),
      view: input,
      axes: input.shape.flatMap((_, i) => (i < axis ? [] : [i])),
    } as const;
    // Statistics are models' exception, and a step has one output: each is computed anew.
    for (const [i, result] of (['mean', 'inverse'] as const).entries()) {
      if (context.node.outputs[i + 1])
        lowering.emit(normalizationStep({ ...general, result, output: lowering.output(i + 1) }));
    }
    if (![1, 2].every((i) => fits(context.input(0), context.optional(i), axis))) {
      const [scale, bias] = [lowering.view(1), lowering.optional(2)];
      lowering.emit(normalizationStep({ ...general, output: lowering.output(0), scale, bias }));
      return;
    }
    const view = asLines(input, axis) ?? asLines(lowering.dense(input), axis)!;
    const target = lowering.output(0);
    const inPlace = asLines(target, axis);
    const output = inPlace ?? asLines(lowering.scratch('lines', target.dtype, target.shape), axis)!;
    const scale = lowering.dense(lowering.view(1));
    const declared = lowering.optional(2);
    const bias = declared && lowering.dense(declared);
    const space = collapse({
      shape: view.shape.slice(0, -1),
      strides: [view.strides.slice(0, -1), output.strides.slice(0, -1)],
    });
    const lines = product(view.shape.slice(0, -1));
    lowering.emit({
      kernel: 'LayerNormalization',
      operands: [
        { view, access: 'read' },
        { view: scale, access: 'read' },
        ...(bias ? [{ view: bias, access: 'read' as const }] : []),
        { view: output, access: 'write' },
      ],
      cost: { operations: mul(product(view.shape), 8), bytes: trafficBytes([view, output]) },
      bound: 'memory',
      detail: `length=${view.shape.at(-1)}`,
      webgpu(caps) {
        const workgroupSize = flatWorkgroupSize(caps.maxWorkgroupInvocations);
        const cut = lineCut(view.shape.at(-1)!, caps);
        const perGroup = cut ? linesPerWorkgroup(cut) : workgroupSize;
        return {
          program: layerNormalization({
            hasBias: bias !== undefined,
            rank: Math.max(1, space.shape.length),
            cut: cut ?? { workgroupSize },
          }),
          dispatch: {
            parameters: {
              lines,
              length: view.shape.at(-1)!,
              in_start: { start: view },
              out_start: { start: output },
              scale_start: { start: scale },
              bias_start: bias ? { start: bias } : 0,
              epsilon: { f32: epsilonOf(context) },
              shape: nonEmpty(space.shape, 1),
              in_strides: nonEmpty(space.strides[0]!, 0),
              out_strides: nonEmpty(space.strides[1]!, 0),
            },
            workgroups: flatWorkgroups(lines, perGroup, caps.maxWorkgroupsPerDimension),
          },
        };
      },
    });
    if (!inPlace) lowering.alias(0, reshapeView(output, target.shape)!);
  },
};
