import { reduce } from '../../../shaders/reduce.js';
import { flatWorkgroupSize } from '../../../shaders/program.js';
import type { Step } from '../../compile/kernel.js';
import { collapse, deviceType, elementsOf, nonEmpty, type View } from '../../compile/view.js';
import { product, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { flatWorkgroups, trafficBytes } from '../elementwise/kernel.js';
import { transposeReference } from '../layout/transpose.js';
import type { ReferenceTensor } from '../operator.js';
import type { ReduceKernel } from './reducers.js';

/** The step that reduces `view` over `axes` into `output`, which may keep the reduced dimensions as 1. */
export function reduceStep(
  name: string,
  kernel: ReduceKernel,
  view: View,
  output: View,
  axes: readonly number[],
): Omit<Step, 'node'> {
  const kept = view.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const keepsDims = output.shape.length === view.shape.length;
  const pick = (v: View, dims: readonly number[]): Dim[] => dims.map((i) => v.strides[i]!);
  const outStrides = keepsDims ? pick(output, kept) : output.strides;
  const outer = collapse({ shape: kept.map((i) => view.shape[i]!), strides: [pick(view, kept), outStrides] });
  const inner = collapse({ shape: axes.map((i) => view.shape[i]!), strides: [pick(view, axes)] });
  const outerCount = elementsOf(output);
  const innerCount = product(axes.map((i) => view.shape[i]!));
  return {
    kernel: name,
    operands: [
      { view, access: 'read' },
      { view: output, access: 'write' },
    ],
    cost: { operations: elementsOf(view), bytes: trafficBytes([view, output]) },
    bound: 'memory',
    detail: `axes=${axes.join(',')}`,
    webgpu(caps) {
      const workgroupSize = flatWorkgroupSize(caps.maxWorkgroupInvocations);
      return {
        program: reduce({
          name,
          input: deviceType(view.dtype),
          output: deviceType(output.dtype),
          state: kernel.state,
          update: kernel.update,
          finish: kernel.finish,
          helpers: kernel.helpers ?? '',
          outerRank: Math.max(1, outer.shape.length),
          innerRank: Math.max(1, inner.shape.length),
          workgroupSize,
        }),
        dispatch: {
          parameters: {
            outer_count: outerCount,
            inner_count: innerCount,
            in_start: { start: view },
            out_start: { start: output },
            zero: 0,
            shape: nonEmpty(outer.shape, 1),
            in_strides: nonEmpty(outer.strides[0]!, 0),
            out_strides: nonEmpty(outer.strides[1]!, 0),
            inner_shape: nonEmpty(inner.shape, 1),
            inner_strides: nonEmpty(inner.strides[0]!, 0),
          },
          workgroups: flatWorkgroups(outerCount, workgroupSize, caps.maxWorkgroupsPerDimension),
        },
      };
    },
  };
}

/** `f` of the elements of each group that reducing `x` over `axes` makes, in row-major order. */
export function reduceReference(
  x: ReferenceTensor,
  axes: readonly number[],
  f: (group: Float64Array) => number,
): Float64Array {
  const kept = x.dims.map((_, i) => i).filter((i) => !axes.includes(i));
  const sorted = transposeReference(x, [...kept, ...axes]);
  const length = sizeOf(axes.map((a) => x.dims[a]!));
  const outer = sizeOf(kept.map((a) => x.dims[a]!));
  return Float64Array.from({ length: outer }, (_, i) => f(sorted.data.subarray(i * length, (i + 1) * length)));
}
