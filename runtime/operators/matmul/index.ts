import type { Lowering } from '../../compile/lowering.js';
import { broadcastView, collapse, deviceType, reshapeView, transposeView, type View } from '../../compile/view.js';
import { equal, shapeText, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { broadcastOffsets, broadcastShapes } from '../broadcast.js';
import type { NodeContext, Operator, ReferenceTensor, ValueType } from '../operator.js';
import { shownByShapes } from '../rows.js';
import { addedOf, finishOf, othersOf, resultOf } from './finish.js';
import { matMulStep } from './kernel.js';

function requireFloat(context: NodeContext): void {
  for (let i = 0; i < Math.min(3, context.inputCount); i++) {
    const type = context.optional(i);
    if (type && deviceType(type.dtype) !== 'f32') throw context.unsupported(`no kernel for ${type.dtype}`);
  }
}

/** Shapes of the operands as matrices, a vector given the dimension that numpy's matmul gives it. */
function matrices(context: NodeContext): {
  a: readonly Dim[];
  b: readonly Dim[];
  batch: readonly Dim[];
  shape: readonly Dim[];
} {
  const [x, y] = [context.input(0).shape, context.input(1).shape];
  if (x.length === 0 || y.length === 0) throw context.invalid('a scalar has no matrix product');
  const a = x.length === 1 ? [1, x[0]!] : x;
  const b = y.length === 1 ? [y[0]!, 1] : y;
  if (!equal(a.at(-1)!, b.at(-2)!)) throw context.invalid(`shapes ${shapeText(x)} and ${shapeText(y)} do not multiply`);
  const batch = broadcastShapes([a.slice(0, -2), b.slice(0, -2)], (p) => context.invalid(p));
  const rows = x.length === 1 ? [] : [a.at(-2)!];
  const columns = y.length === 1 ? [] : [b.at(-1)!];
  return { a, b, batch, shape: [...batch, ...rows, ...columns] };
}

/** The views of a product, of equal rank; the bias and what its functions read broadcast to the output. */
interface Operands {
  readonly a: View;
  readonly b: View;
  readonly output: View;
  readonly bias?: View;
  readonly others: readonly View[];
}

function mapOperands({ a, b, output, bias, others }: Operands, f: (view: View, index: number) => View): Operands {
  return {
    a: f(a, 0),
    b: f(b, 1),
    output: f(output, 2),
    others: others.map((view, i) => f(view, 3 + i)),
    ...(bias ? { bias: f(bias, 3 + others.length) } : {}),
  };
}

function viewsOf({ a, b, output, bias, others }: Operands): View[] {
  return [a, b, output, ...others, ...(bias ? [bias] : [])];
}

/** Views of rank 4 with the batch dimensions merged to two, or undefined where their strides do not allow it. */
function mergeBatch(operands: Operands, batch: readonly Dim[]): Operands | undefined {
  const { shape, strides } = collapse({
    shape: batch,
    strides: viewsOf(operands).map((v) => v.strides.slice(0, batch.length)),
  });
  if (shape.length > 2) return undefined;
  const pad = (dims: readonly Dim[], fill: Dim): Dim[] => [
    ...Array.from({ length: 2 - dims.length }, () => fill),
    ...dims,
  ];
  return mapOperands(operands, (v, i) => ({
    ...v,
    shape: [...pad(shape, 1), ...v.shape.slice(-2)],
    strides: [...pad(strides[i]!, 0), ...v.strides.slice(-2)],
  }));
}

/** Batch dimensions join the rows where B is the same for all of them: one product instead of many. */
function foldBatchIntoRows(operands: Operands): Operands | undefined {
  const { a, b, output, bias, others } = operands;
  const batch = output.shape.slice(0, -2);
  if (batch.length === 0 || !b.strides.slice(0, batch.length).every((s) => s === 0)) return undefined;
  const walked = [a, output, ...others, ...(bias ? [bias] : [])];
  const { shape, strides } = collapse({
    shape: output.shape.slice(0, -1),
    strides: walked.map((v) => v.strides.slice(0, -1)),
  });
  if (shape.length > 1) return undefined;
  return mapOperands(operands, (v) => {
    if (v === b) return { ...v, shape: v.shape.slice(-2), strides: v.strides.slice(-2) };
    const row = strides[walked.indexOf(v)]![0] ?? 0;
    return { ...v, shape: [shape[0] ?? 1, v.shape.at(-1)!], strides: [row, v.strides.at(-1)!] };
  });
}

function lowerMatMul(lowering: Lowering): void {
  const { context } = lowering;
  requireFloat(context);
  const { a: aShape, b: bShape, batch } = matrices(context);
  const expand = (view: View, shape: readonly Dim[]): View =>
    broadcastView(reshapeView(view, shape) ?? reshapeView(lowering.dense(view), shape)!, [
      ...batch,
      ...shape.slice(-2),
    ]);
  const a = expand(lowering.view(0), aShape);
  const b = expand(lowering.view(1), bShape);
  const full = [...batch, aShape.at(-2)!, bShape.at(-1)!];
  const { output, place } = resultOf(lowering, full);
  const bias = addedOf(lowering, 2, full);
  const operands = { a, b, output, others: othersOf(lowering, full), ...(bias ? { bias } : {}) };
  const folded = foldBatchIntoRows(operands) ?? operands;
  const rest = folded.output.shape.slice(0, -2);
  const dense = (): Operands => ({ ...folded, a: lowering.dense(folded.a), b: lowering.dense(folded.b) });
  const merged = mergeBatch(folded, rest) ?? mergeBatch(dense(), rest);
  if (!merged) throw context.unsupported(`batch dimensions ${shapeText(rest)} of this layout`);
  lowering.emit(matMulStep({ name: 'MatMul', alpha: 1, beta: 1, ...merged, ...finishOf(lowering) }));
  place();
}

/** Row-major product of [m, k] and [k, n] at the given offsets, in float64. */
function multiply(
  a: Float64Array,
  aAt: number,
  b: Float64Array,
  bAt: number,
  out: Float64Array,
  at: number,
  m: number,
  k: number,
  n: number,
): void {
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      const x = a[aAt + i * k + p]!;
      for (let j = 0; j < n; j++) out[at + i * n + j]! += x * b[bAt + p * n + j]!;
    }
  }
}

function matMulReference(context: NodeContext, x: ReferenceTensor, y: ReferenceTensor): ReferenceTensor {
  const { a, b, batch, shape } = matrices(context) as { a: number[]; b: number[]; batch: number[]; shape: number[] };
  const [m, k, n] = [a.at(-2)!, a.at(-1)!, b.at(-1)!];
  const aOffsets = broadcastOffsets(a.slice(0, -2), batch);
  const bOffsets = broadcastOffsets(b.slice(0, -2), batch);
  const data = new Float64Array(sizeOf(shape));
  aOffsets.forEach((ao, i) => multiply(x.data, ao * m * k, y.data, bOffsets[i]! * k * n, data, i * m * n, m, k, n));
  return { dtype: x.dtype, dims: shape, data };
}

/** MatMul(A, B): numpy's matmul, batched and broadcast. */
const MATMUL: Operator = {
  type: 'MatMul',
  types: ['f32'],
  opsets: [7, 27],
  infer: (context) => [{ dtype: context.input(0).dtype, shape: matrices(context).shape }],
  reference: (context) => [matMulReference(context.shapes, context.input(0), context.input(1))],
  rows: shownByShapes,
  keepsRows({ context, rowAxis, outputAxis, outputRank }) {
    const [a, b] = [0, 1].map((i) => {
      const axis = rowAxis(i);
      return axis === undefined ? undefined : axis - context.input(i).shape.length;
    });
    if (context.input(0).shape.length < 2 || context.input(1).shape.length < 2) return false;
    // Counted from the end: products are summed over the last dimension of the one and the last but one of the other.
    const summed = a === -1 || b === -2;
    const together = a === undefined || b === undefined || (a === b && a < -2);
    return !summed && together && outputAxis === (a ?? b)! + outputRank;
  },
  lower: lowerMatMul,
};

function gemmShape(context: NodeContext): {
  a: ValueType;
  b: ValueType;
  m: Dim;
  n: Dim;
  k: Dim;
  transA: boolean;
  transB: boolean;
} {
  const [a, b] = [context.input(0), context.input(1)];
  if (a.shape.length !== 2 || b.shape.length !== 2) {
    throw context.invalid(`expected two matrices, found ${shapeText(a.shape)} and ${shapeText(b.shape)}`);
  }
  const transA = context.attributes.number('transA', 0) !== 0;
  const transB = context.attributes.number('transB', 0) !== 0;
  const [m, k] = transA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const [kb, n] = transB ? [b.shape[1]!, b.shape[0]!] : [b.shape[0]!, b.shape[1]!];
  if (!equal(k, kb)) throw context.invalid(`shapes ${shapeText(a.shape)} and ${shapeText(b.shape)} do not multiply`);
  return { a, b, m, n, k, transA, transB };
}

/** Gemm(A, B, C): alpha A' B' + beta C, C broadcast. Transposes are strides. */
const GEMM: Operator = {
  type: 'Gemm',
  types: ['f32'],
  opsets: [7, 27],
  infer(context) {
    const { a, m, n } = gemmShape(context);
    const c = context.optional(2);
    if (c) broadcastShapes([c.shape, [m, n]], (p) => context.invalid(p));
    return [{ dtype: a.dtype, shape: [m, n] }];
  },
  reference(context) {
    const { m, n, k, transA, transB } = gemmShape(context.shapes) as {
      m: number;
      n: number;
      k: number;
      transA: boolean;
      transB: boolean;
    };
    const [a, b, c] = [context.input(0).data, context.input(1).data, context.inputs[2]];
    const alpha = context.attributes.number('alpha', 1);
    const beta = context.attributes.number('beta', 1);
    const offsets = c && broadcastOffsets(c.dims, [m, n]);
    const data = new Float64Array(m * n);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let p = 0; p < k; p++) sum += a[transA ? p * m + i : i * k + p]! * b[transB ? j * k + p : p * n + j]!;
        const at = i * n + j;
        data[at] = alpha * sum + (c && offsets ? beta * c.data[offsets[at]!]! : 0);
      }
    }
    return [{ dtype: context.input(0).dtype, dims: [m, n], data }];
  },
  rows: shownByShapes,
  keepsRows: ({ context, rowAxis }) =>
    context.attributes.number('transA', 0) === 0 &&
    rowAxis(0) === 0 &&
    rowAxis(1) === undefined &&
    rowAxis(2) === undefined,
  lower(lowering) {
    const { context } = lowering;
    requireFloat(context);
    const { m, n, transA, transB } = gemmShape(context);
    const matrix = (view: View, transposed: boolean): View => (transposed ? transposeView(view, [1, 0]) : view);
    const lift = (view: View): View => ({ ...view, shape: [1, 1, ...view.shape], strides: [0, 0, ...view.strides] });
    const { output, place } = resultOf(lowering, [m, n]);
    const c = lowering.optional(2);
    const bias = addedOf(lowering, 2, [m, n]) ?? (c && broadcastView(c, [m, n]));
    const fused = lowering.epilogue?.shapes.has(2) ?? false;
    lowering.emit(
      matMulStep({
        name: 'Gemm',
        a: lift(matrix(lowering.view(0), transA)),
        b: lift(matrix(lowering.view(1), transB)),
        output: lift(output),
        others: othersOf(lowering, [m, n]).map(lift),
        ...(bias ? { bias: lift(bias) } : {}),
        alpha: context.attributes.number('alpha', 1),
        // An addend that fusion brought was added as it is.
        beta: fused ? 1 : context.attributes.number('beta', 1),
        ...finishOf(lowering),
      }),
    );
    place();
  },
};

export const MATMUL_OPERATORS: readonly Operator[] = [MATMUL, GEMM];
