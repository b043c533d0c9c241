import { softmax, softmaxTogether, type SoftmaxKind } from '../../../shaders/softmax.js';
import type { WebGpuProgram } from '../../../shaders/program.js';
import { deviceType, reshapeView, type View } from '../../compile/view.js';
import { product } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import type { Lowering } from '../../compile/lowering.js';
import { linesStep } from '../lines.js';
import type { NodeContext, Operator, ReferenceTensor } from '../operator.js';
import { mixesAlong } from '../rows.js';

/** Before opset 13 the axis splits the dimensions in two and the softmax runs over all that follow. */
function flattens(context: NodeContext): boolean {
  return context.node.opset < 13;
}

function axisOf(context: NodeContext): number {
  return context.axis(context.attributes.number('axis', flattens(context) ? 1 : -1), context.input(0).shape.length);
}

function lines(lowering: Lowering, view: View, output: View, axis: number, kind: SoftmaxKind): void {
  const program = (rank: number, workgroupSize: number): WebGpuProgram => softmax({ kind, rank, workgroupSize });
  const call = { kernel: kind, view, output, axis, operations: 20, program };
  lowering.emit(
    linesStep(kind === 'Hardmax' ? call : { ...call, together: (rank, cut) => softmaxTogether(kind, rank, cut) }),
  );
}

function lower(lowering: Lowering, kind: SoftmaxKind): void {
  const { context } = lowering;
  const axis = axisOf(context);
  const view = lowering.view(0);
  if (deviceType(view.dtype) !== 'f32') throw context.unsupported(`no kernel for ${view.dtype}`);
  if (!flattens(context) || axis === view.shape.length - 1) {
    lines(lowering, view, lowering.output(0), axis, kind);
    return;
  }
  const matrix = [product(view.shape.slice(0, axis)), product(view.shape.slice(axis))];
  const result = lowering.scratch('lines', view.dtype, matrix);
  lines(lowering, reshapeView(view, matrix) ?? reshapeView(lowering.dense(view), matrix)!, result, 1, kind);
  lowering.alias(0, reshapeView(result, view.shape)!);
}

function reference(context: NodeContext, x: ReferenceTensor, kind: SoftmaxKind): ReferenceTensor {
  const axis = axisOf(context);
  const length = flattens(context) ? sizeOf(x.dims.slice(axis)) : x.dims[axis]!;
  const inner = flattens(context) ? 1 : sizeOf(x.dims.slice(axis + 1));
  const data = new Float64Array(x.data.length);
  for (let start = 0; start < data.length; start += length * inner) {
    for (let i = 0; i < inner; i++) {
      const at = (j: number): number => start + j * inner + i;
      let largest = -Infinity;
      for (let j = 0; j < length; j++) largest = Math.max(largest, x.data[at(j)]!);
      if (kind === 'Hardmax') {
        let best = 0;
        while (x.data[at(best)] !== largest) best++;
        data[at(best)] = 1;
        continue;
      }
      let sum = 0;
      for (let j = 0; j < length; j++) sum += Math.exp(x.data[at(j)]! - largest);
      for (let j = 0; j < length; j++) {
        const shifted = x.data[at(j)]! - largest;
        data[at(j)] = kind === 'LogSoftmax' ? shifted - Math.log(sum) : Math.exp(shifted) / sum;
      }
    }
  }
  return { ...x, data };
}

/** Softmax, LogSoftmax and Hardmax along an axis. */
export const SOFTMAX_OPERATORS: readonly Operator[] = (['Softmax', 'LogSoftmax', 'Hardmax'] as const).map((kind) => ({
  type: kind,
  types: ['f32'],
  opsets: [7, 27],
  infer: (context) => [context.input(0)],
  reference: (context) => [reference(context.shapes, context.input(0), kind)],
  rows: (row) => mixesAlong(row, 0, axisOf(row.context)),
  keepsRows({ context, rowAxis }) {
    const [axis, at] = [axisOf(context), rowAxis(0)!];
    return flattens(context) ? at < axis : at !== axis;
  },
  lower: (lowering) => lower(lowering, kind),
}));
