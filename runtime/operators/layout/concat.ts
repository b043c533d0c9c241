import { sameView, sliceView, type View } from '../../compile/view.js';
import { add, equal, shapeText, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { copyStep } from '../elementwise/kernel.js';
import { knownDims } from '../elementwise/fold.js';
import type { NodeContext, Operator, ValueType } from '../operator.js';
import { alignedRows, mixesAlong } from '../rows.js';

function axisOf(context: NodeContext): number {
  return context.axis(context.attributes.requiredNumber('axis'), context.input(0).shape.length);
}

function inputsOf(context: NodeContext): ValueType[] {
  return Array.from({ length: context.inputCount }, (_, i) => context.input(i));
}

/** The window of the result that each input fills, in order. */
export function concatSlices(context: NodeContext, result: View): View[] {
  const axis = axisOf(context);
  let start: Dim = 0;
  return inputsOf(context).map(({ shape }) => {
    const slice = sliceView(result, axis, start, shape[axis]!);
    start = add(start, shape[axis]!);
    return slice;
  });
}

/**
 * Concat(inputs, axis). Producers that can write with strides write their part in place (compile/lower.ts arranges it);
 * the rest is copied.
 */
export const CONCAT: Operator = {
  type: 'Concat',
  aliases: 'sometimes',
  note: 'written in place by what makes its inputs, or copied',
  opsets: [7, 27],
  infer(context) {
    const axis = axisOf(context);
    const inputs = inputsOf(context);
    const { dtype, shape } = inputs[0]!;
    let size: Dim = 0;
    for (const input of inputs) {
      const fits =
        input.shape.length === shape.length && input.shape.every((d, i) => i === axis || equal(d, shape[i]!));
      if (!fits)
        throw context.invalid(`shapes ${shapeText(shape)} and ${shapeText(input.shape)} differ beyond axis ${axis}`);
      if (input.dtype !== dtype) throw context.invalid(`inputs of different types ${dtype} and ${input.dtype}`);
      size = add(size, input.shape[axis]!);
    }
    return [{ dtype, shape: shape.map((d, i) => (i === axis ? size : d)) }];
  },
  fold(context, outputs) {
    const dims = knownDims(outputs[0]!);
    const parts = inputsOf(context).map((_, i) => context.elements(i));
    if (dims?.length !== 1 || parts.some((p) => !p)) return [undefined];
    return [{ kind: 'symbolic', value: { dtype: outputs[0]!.dtype, dims, elements: parts.flatMap((p) => [...p!]) } }];
  },
  reference(context) {
    const axis = axisOf(context.shapes);
    const inputs = context.inputs.map((_, i) => context.input(i));
    const { dims: first, dtype } = inputs[0]!;
    const dims = first.map((d, i) => (i === axis ? inputs.reduce((s, t) => s + t.dims[axis]!, 0) : d));
    const outer = sizeOf(dims.slice(0, axis));
    const data = new Float64Array(sizeOf(dims));
    let at = 0;
    for (let o = 0; o < outer; o++) {
      for (const t of inputs) {
        const length = t.data.length / Math.max(1, outer);
        data.set(t.data.subarray(o * length, (o + 1) * length), at);
        at += length;
      }
    }
    return [{ dtype, dims, data }];
  },
  rows: (row) =>
    inputsOf(row.context).some((_, i) => mixesAlong(row, i, axisOf(row.context)) === 'mixing') ? 'mixing' : 'parallel',
  keepsRows: (row) => axisOf(row.context) !== row.outputAxis && alignedRows(row),
  lower(lowering) {
    const result = lowering.output(0);
    concatSlices(lowering.context, result).forEach((slice, i) => {
      const view = lowering.view(i);
      if (sameView(view, slice)) return;
      // A value that is concatenated twice, or beside a window on itself, lies in the result already; a step may not
      // read the buffer that it writes.
      let source = view;
      if (view.storage === slice.storage) {
        source = lowering.scratch(`part${i}`, view.dtype, view.shape);
        lowering.emit(copyStep(view, source));
      }
      lowering.emit(copyStep(source, slice));
    });
  },
};
