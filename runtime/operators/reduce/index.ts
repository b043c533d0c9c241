import { reduce } from '../../../shaders/reduce.js';
import { flatWorkgroupSize } from '../../../shaders/program.js';
import type { Lowering } from '../../compile/lowering.js';
import { collapse, deviceType, elementsOf, type View, nonEmpty } from '../../compile/view.js';
import { product, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { copyStep, flatWorkgroups, trafficBytes } from '../elementwise/kernel.js';
import { transposeReference } from '../layout/transpose.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';

/** A reduction: a line of WGSL over `acc` and `x`, a line of reference over all the elements. */
interface Reducer {
  readonly type: string;
  readonly initial: string;
  readonly step: string;
  readonly finish: string;
  readonly reference: (x: Float64Array) => number;
}

const sum = (x: Float64Array): number => x.reduce((s, v) => s + v, 0);

const REDUCERS: readonly Reducer[] = [
  { type: 'ReduceSum', initial: '0.0', step: 'acc + x', finish: 'acc', reference: sum },
  { type: 'ReduceMean', initial: '0.0', step: 'acc + x', finish: 'acc / count', reference: (x) => sum(x) / x.length },
  { type: 'ReduceMax', initial: '-3.402823e38', step: 'max(acc, x)', finish: 'acc', reference: (x) => Math.max(...x) },
  { type: 'ReduceMin', initial: '3.402823e38', step: 'min(acc, x)', finish: 'acc', reference: (x) => Math.min(...x) },
  {
    type: 'ReduceProd',
    initial: '1.0',
    step: 'acc * x',
    finish: 'acc',
    reference: (x) => x.reduce((p, v) => p * v, 1),
  },
  { type: 'ReduceL1', initial: '0.0', step: 'acc + abs(x)', finish: 'acc', reference: (x) => sum(x.map(Math.abs)) },
  {
    type: 'ReduceL2',
    initial: '0.0',
    step: 'fma(x, x, acc)',
    finish: 'sqrt(acc)',
    reference: (x) => Math.sqrt(sum(x.map((v) => v * v))),
  },
  {
    type: 'ReduceSumSquare',
    initial: '0.0',
    step: 'fma(x, x, acc)',
    finish: 'acc',
    reference: (x) => sum(x.map((v) => v * v)),
  },
  { type: 'ReduceLogSum', initial: '0.0', step: 'acc + x', finish: 'log(acc)', reference: (x) => Math.log(sum(x)) },
];

/** Axes come as an attribute first, as an input from opset 13 (ReduceSum) or 18 on. Absent: all, unless told otherwise. */
function axesOf(context: NodeContext): number[] {
  const rank = context.input(0).shape.length;
  const axes =
    context.attributes.numbers('axes') ?? (context.optional(1) ? context.requiredInts(1, 'the axes') : undefined) ?? [];
  if (axes.length > 0) return [...new Set(axes.map((a) => context.axis(a, rank)))].sort((a, b) => a - b);
  if (context.attributes.number('noop_with_empty_axes', 0) !== 0) return [];
  return Array.from({ length: rank }, (_, i) => i);
}

function reducedShape(context: NodeContext, axes: readonly number[]): Dim[] {
  const { shape } = context.input(0);
  const keep = context.attributes.number('keepdims', 1) !== 0;
  return shape.flatMap((d, i) => (axes.includes(i) ? (keep ? [1] : []) : [d]));
}

function lower(reducer: Reducer, lowering: Lowering): void {
  const { context } = lowering;
  const axes = axesOf(context);
  const view = lowering.view(0);
  if (deviceType(view.dtype) !== 'f32') throw context.unsupported(`no kernel for ${view.dtype}`);
  const output = lowering.output(0);
  if (
    axes.length === 0 &&
    reducer.finish === 'acc' &&
    reducer.step !== 'fma(x, x, acc)' &&
    reducer.type !== 'ReduceL1'
  ) {
    lowering.emit(copyStep(view, output));
    return;
  }
  const kept = view.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const keepsDims = output.shape.length === view.shape.length;
  const pick = (v: View, dims: readonly number[]): Dim[] => dims.map((i) => v.strides[i]!);
  const outStrides = keepsDims ? pick(output, kept) : output.strides;
  const outer = collapse({ shape: kept.map((i) => view.shape[i]!), strides: [pick(view, kept), outStrides] });
  const inner = collapse({ shape: axes.map((i) => view.shape[i]!), strides: [pick(view, axes)] });
  const outerCount = elementsOf(output);
  const innerCount = product(axes.map((i) => view.shape[i]!));
  lowering.emit({
    kernel: reducer.type,
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
          name: reducer.type,
          initial: reducer.initial,
          step: reducer.step,
          finish: reducer.finish,
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
  });
}

export const REDUCE_OPERATORS: readonly Operator[] = REDUCERS.map((reducer) => ({
  type: reducer.type,
  opsets: [7, 27],
  infer: (context) => [{ dtype: context.input(0).dtype, shape: reducedShape(context, axesOf(context)) }],
  reference(context) {
    const x = context.input(0);
    const axes = axesOf(context.shapes);
    const kept = x.dims.map((_, i) => i).filter((i) => !axes.includes(i));
    const sorted = transposeReference(x, [...kept, ...axes]);
    const length = sizeOf(axes.map((a) => x.dims[a]!));
    const outer = sizeOf(kept.map((a) => x.dims[a]!));
    const data = Float64Array.from({ length: outer }, (_, i) =>
      reducer.reference(sorted.data.subarray(i * length, (i + 1) * length)),
    );
    return [{ dtype: x.dtype, dims: reducedShape(context.shapes, axes) as number[], data }];
  },
  rows: (row) => (axesOf(row.context).some((a) => mixesAlong(row, 0, a) === 'mixing') ? 'mixing' : 'parallel'),
  lower: (lowering) => lower(reducer, lowering),
}));
