import { layerNormalization } from '../../../shaders/layer_normalization.js';
import { flatWorkgroupSize } from '../../../shaders/program.js';
import { collapse, deviceType, isDense, reshapeView, type View, nonEmpty } from '../../compile/view.js';
import { mul, product, shapesEqual, shapeText } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { flatWorkgroups, trafficBytes } from '../elementwise/kernel.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';

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

/** LayerNormalization(X, Scale, B): over the axes from `axis` on. Only the first output exists at inference. */
const LAYER_NORMALIZATION: Operator = {
  type: 'LayerNormalization',
  opsets: [17, 27],
  infer(context) {
    const x = context.input(0);
    const axis = axisOf(context);
    for (const i of [1, 2]) {
      const type = context.optional(i);
      if (type && !shapesEqual(type.shape, x.shape.slice(axis))) {
        throw context.unsupported(
          `scale and bias of shape ${shapeText(type.shape)} for axes of shape ${shapeText(x.shape.slice(axis))}`,
        );
      }
    }
    if (context.node.outputs.slice(1).some((o) => o !== ''))
      throw context.unsupported('the outputs Mean and InvStdDev');
    return [x];
  },
  reference(context) {
    const x = context.input(0);
    const axis = axisOf(context.shapes);
    const [scale, bias] = [context.input(1), context.inputs[2]];
    const epsilon = context.attributes.number('epsilon', 1e-5);
    const length = sizeOf(x.dims.slice(axis));
    const data = new Float64Array(x.data.length);
    for (let start = 0; start < data.length; start += length) {
      const line = x.data.subarray(start, start + length);
      const mean = line.reduce((s, v) => s + v, 0) / length;
      const variance = line.reduce((s, v) => s + (v - mean) ** 2, 0) / length;
      for (let i = 0; i < length; i++) {
        data[start + i] = ((line[i]! - mean) / Math.sqrt(variance + epsilon)) * scale.data[i]! + (bias?.data[i] ?? 0);
      }
    }
    return [{ ...x, data }];
  },
  rows: (row) => mixesAlong(row, 0, axisOf(row.context)),
  lower(lowering) {
    const { context } = lowering;
    const axis = axisOf(context);
    const input = lowering.view(0);
    if (deviceType(input.dtype) !== 'f32') throw context.unsupported(`no kernel for ${input.dtype}`);
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
        return {
          program: layerNormalization({
            hasBias: bias !== undefined,
            rank: Math.max(1, space.shape.length),
            workgroupSize,
          }),
          dispatch: {
            parameters: {
              lines,
              length: view.shape.at(-1)!,
              in_start: { start: view },
              out_start: { start: output },
              scale_start: { start: scale },
              bias_start: bias ? { start: bias } : 0,
              epsilon: { f32: context.attributes.number('epsilon', 1e-5) },
              shape: nonEmpty(space.shape, 1),
              in_strides: nonEmpty(space.strides[0]!, 0),
              out_strides: nonEmpty(space.strides[1]!, 0),
            },
            workgroups: flatWorkgroups(lines, workgroupSize, caps.maxWorkgroupsPerDimension),
          },
        };
      },
    });
    if (!inPlace) lowering.alias(0, reshapeView(output, target.shape)!);
  },
};

export const NORMALIZATION_OPERATORS: readonly Operator[] = [LAYER_NORMALIZATION];
