import { broadcastView, deviceType, type View } from '../../compile/view.js';
import { equal, mul, shapesEqual, shapeText, type Dim } from '../../graph/dim.js';
import { isInteger, type DataType } from '../../graph/dtype.js';
import { sizeOf } from '../../graph/tensor.js';
import type { Lowering } from '../../compile/lowering.js';
import { dataTypeOf } from '../elementwise/cast.js';
import { elementwiseStep } from '../elementwise/kernel.js';
import { roundEven } from '../elementwise/table.js';
import type { NodeContext, Operator, ReferenceContext, ReferenceTensor } from '../operator.js';
import { emitReduction } from '../reduce/index.js';
import { rangeOf } from '../reduce/reducers.js';
import { mixesAlong, shownByShapes } from '../rows.js';

/** Where the elements of input 0 find their scale and zero point: one for all, one along an axis, or one a block. */
type Granularity =
  | { readonly kind: 'tensor' }
  | { readonly kind: 'axis'; readonly axis: number }
  | { readonly kind: 'block'; readonly axis: number; readonly size: number; readonly blocks: Dim };

function granularityOf(context: NodeContext): Granularity {
  const { shape } = context.input(0);
  const scale = context.input(1).shape;
  const zero = context.optional(2);
  if (zero && !shapesEqual(zero.shape, scale))
    throw context.invalid(`zero point of shape ${shapeText(zero.shape)} beside a scale of ${shapeText(scale)}`);
  const size = context.attributes.number('block_size', 0);
  if (scale.length === 0 || (size === 0 && shapesEqual(scale, [1]))) return { kind: 'tensor' };
  const axis = context.axis(context.attributes.number('axis', 1), shape.length);
  const fits = (along: Dim): boolean =>
    scale.length === shape.length && shape.every((d, i) => (i === axis ? equal(d, along) : equal(d, scale[i]!)));
  if (size === 0) {
    if (shapesEqual(scale, [shape[axis]!])) return { kind: 'axis', axis };
  } else if (fits(mul(scale[axis]!, size))) {
    return { kind: 'block', axis, size, blocks: scale[axis]! };
  }
  throw context.invalid(`scale of shape ${shapeText(scale)} for ${shapeText(shape)} along axis ${axis}`);
}

/** `dims` of input 0 or of a parameter with an axis of blocks as two: which block, and where in it. */
function inBlocks<T>(list: readonly T[], { axis }: { readonly axis: number }, outer: T, inner: T): T[] {
  return list.toSpliced(axis, 1, outer, inner);
}

/** `view` of input 0's shape with blocks apart. */
function blocked(view: View, granularity: Granularity): View {
  if (granularity.kind !== 'block') return view;
  const { axis, size, blocks } = granularity;
  const stride = view.strides[axis]!;
  return {
    ...view,
    shape: inBlocks<Dim>(view.shape, granularity, blocks, size),
    strides: inBlocks(view.strides, granularity, mul(stride, size), stride),
  };
}

/** A scale or zero point as an operand that broadcasts to what `blocked` gives. */
function parameter(view: View, granularity: Granularity, rank: number): View {
  switch (granularity.kind) {
    case 'tensor':
      return { ...view, shape: [], strides: [] };
    case 'axis': {
      const along = <T>(item: T, rest: T): T[] =>
        Array.from({ length: rank }, (_, i) => (i === granularity.axis ? item : rest));
      return { ...view, shape: along<Dim>(view.shape[0]!, 1), strides: along<Dim>(view.strides[0]!, 0) };
    }
    case 'block': {
      const { axis } = granularity;
      return {
        ...view,
        shape: inBlocks<Dim>(view.shape, granularity, view.shape[axis]!, 1),
        strides: inBlocks<Dim>(view.strides, granularity, view.strides[axis]!, 0),
      };
    }
  }
}

/** For each element of input 0, which element of the scale and the zero point is its own. */
function parameterIndex(granularity: Granularity, dims: readonly number[]): (element: number) => number {
  if (granularity.kind === 'tensor') return () => 0;
  const { axis } = granularity;
  const inner = sizeOf(dims.slice(axis + 1));
  const along = (element: number): number => Math.floor(element / inner) % dims[axis]!;
  if (granularity.kind === 'axis') return along;
  const { size } = granularity;
  const outerSize = inner * dims[axis]!;
  return (element) =>
    (Math.floor(element / outerSize) * (dims[axis]! / size) + Math.floor(along(element) / size)) * inner +
    (element % inner);
}

/** Applies `f` to each element with its scale and zero point. */
function quantizedReference(
  context: ReferenceContext,
  dtype: DataType,
  f: (x: number, scale: number, zero: number) => number,
): ReferenceTensor {
  const x = context.input(0);
  const [scale, zero] = [context.input(1), context.inputs[2]];
  const at = parameterIndex(granularityOf(context.shapes), x.dims);
  return { dtype, dims: x.dims, data: x.data.map((v, i) => f(v, scale.data[at(i)]!, zero?.data[at(i)] ?? 0)) };
}

/** An integer operand as f32; the types of quantization fit. */
function asFloat(letter: string, view: View): string {
  return deviceType(view.dtype) === 'f32' ? letter : `f32(${letter})`;
}

function emit(
  lowering: Lowering,
  name: string,
  expression: (x: string, zero: string) => string,
  scalars: Record<string, number>,
): void {
  const { context } = lowering;
  const granularity = granularityOf(context);
  const x = blocked(lowering.view(0), granularity);
  const operands = [1, 2].flatMap((i) => {
    const view = lowering.optional(i);
    return view ? [parameter(view, granularity, x.shape.length)] : [];
  });
  const inputs = [x, ...operands];
  lowering.emit(
    elementwiseStep({
      name: operands.length > 1 ? name : `${name}_symmetric`,
      expression: expression(asFloat('a', x), operands[1] ? asFloat('c', operands[1]) : '0.0'),
      inputs,
      output: blocked(lowering.output(0), granularity),
      scalars,
      operations: 4,
    }),
  );
}

const QUANTIZED: ReadonlySet<DataType> = new Set(['uint8', 'int8', 'uint16', 'int16']);

/** The type of QuantizeLinear's output: that of the zero point, or what the node says. */
function quantizedType(context: NodeContext): DataType {
  const given = context.optional(2)?.dtype;
  const code = context.attributes.number('output_dtype', 0);
  const dtype = given ?? (code === 0 ? 'uint8' : dataTypeOf(context, code));
  if (!QUANTIZED.has(dtype)) throw context.unsupported(`quantization to ${dtype}`);
  return dtype;
}

/** WGSL that rounds and saturates a float to a type whose range is `p.least` to `p.most`. */
function saturated(dtype: DataType, x: string): string {
  return `${deviceType(dtype)}(clamp(${x}, p.least, p.most))`;
}

function rangeScalars(dtype: DataType): { least: number; most: number } {
  const [least, most] = rangeOf(dtype);
  return { least, most };
}

/** The quotient is of float32, as ONNX has it: near a half, its rounding decides. */
function quantize(x: number, scale: number, zero: number, dtype: DataType): number {
  const [least, most] = rangeOf(dtype);
  return Math.min(most, Math.max(least, roundEven(Math.fround(x / scale)) + zero));
}

/** QuantizeLinear(x, y_scale, y_zero_point): x / scale rounded to even, plus the zero point, saturated. */
const QUANTIZE_LINEAR: Operator = {
  type: 'QuantizeLinear',
  types: ['f32', 'i32', 'u32'],
  opsets: [10, 27],
  infer(context) {
    granularityOf(context);
    return [{ dtype: quantizedType(context), shape: context.input(0).shape }];
  },
  reference(context) {
    const dtype = quantizedType(context.shapes);
    return [quantizedReference(context, dtype, (x, scale, zero) => quantize(x, scale, zero, dtype))];
  },
  rows: (row) => parameterRows(row),
  lower(lowering) {
    const { dtype } = lowering.outputs[0]!;
    emit(
      lowering,
      `QuantizeLinear_${lowering.context.input(0).dtype}_${dtype}`,
      (x, zero) => saturated(dtype, `round(${x} / b) + ${zero}`),
      rangeScalars(dtype),
    );
  },
};

/** A scale for each row, or for each block of rows, belongs to the rows of the whole batch. */
function parameterRows(row: Parameters<Operator['rows']>[0]): ReturnType<Operator['rows']> {
  const granularity = granularityOf(row.context);
  return granularity.kind === 'tensor' ? 'parallel' : mixesAlong(row, 0, granularity.axis);
}

/** DequantizeLinear(x, x_scale, x_zero_point): (x - zero point) * scale. */
const DEQUANTIZE_LINEAR: Operator = {
  type: 'DequantizeLinear',
  types: ['f32', 'i32', 'u32'],
  opsets: [10, 27],
  infer(context) {
    granularityOf(context);
    const { dtype, shape } = context.input(0);
    if (!isInteger(dtype) || deviceType(dtype) === 'i64') throw context.unsupported(`quantized values of ${dtype}`);
    const code = context.attributes.number('output_dtype', 0);
    return [{ dtype: code === 0 ? context.input(1).dtype : dataTypeOf(context, code), shape }];
  },
  reference(context) {
    const code = context.attributes.number('output_dtype', 0);
    const dtype = code === 0 ? context.input(1).dtype : dataTypeOf(context.shapes, code);
    return [quantizedReference(context, dtype, (x, scale, zero) => (x - zero) * scale)];
  },
  rows: (row) => parameterRows(row),
  // int32 has more bits than float32: the zero point is taken off before.
  lower: (lowering) =>
    emit(
      lowering,
      `DequantizeLinear_${lowering.context.input(0).dtype}`,
      (x, zero) => (zero === '0.0' ? `${x} * b` : 'f32(i32(a) - i32(c)) * b'),
      {},
    ),
};

/** DynamicQuantizeLinear(x): to uint8 by the range of x, which is made to hold 0; the range is of the whole tensor. */
const DYNAMIC_QUANTIZE_LINEAR: Operator = {
  type: 'DynamicQuantizeLinear',
  types: ['f32'],
  opsets: [11, 27],
  infer: (context) => [
    { dtype: 'uint8', shape: context.input(0).shape },
    { dtype: 'float32', shape: [] },
    { dtype: 'uint8', shape: [] },
  ],
  reference(context) {
    const x = context.input(0);
    const least = x.data.reduce((a, b) => Math.min(a, b), 0);
    const most = x.data.reduce((a, b) => Math.max(a, b), 0);
    // A result of its own, in float32.
    const scale = Math.fround((most - least) / 255);
    const zero = scale === 0 ? 0 : quantize(-least, scale, 0, 'uint8');
    const data = x.data.map((v) => (scale === 0 ? zero : quantize(v, scale, zero, 'uint8')));
    return [
      { dtype: 'uint8', dims: x.dims, data },
      { dtype: 'float32', dims: [], data: Float64Array.of(scale) },
      { dtype: 'uint8', dims: [], data: Float64Array.of(zero) },
    ];
  },
  rows: shownByShapes,
  lower(lowering) {
    const view = lowering.view(0);
    const axes = view.shape.map((_, i) => i);
    const [least, most] = ['ReduceMin', 'ReduceMax'].map((type) => {
      const result = lowering.scratch(type, view.dtype, []);
      emitReduction(lowering, type, view, result, axes);
      return result;
    }) as [View, View];
    const { node } = lowering.context;
    const place = (i: number, dtype: DataType): View =>
      node.outputs[i] ? lowering.output(i) : lowering.scratch(`output${i}`, dtype, []);
    const [scale, zero] = [place(1, 'float32'), place(2, 'uint8')];
    const name = 'DynamicQuantizeLinear';
    lowering.emit(
      elementwiseStep({
        name: `${name}_scale`,
        expression: '(max(b, 0.0) - min(a, 0.0)) / 255.0',
        inputs: [least, most],
        output: scale,
      }),
    );
    lowering.emit(
      elementwiseStep({
        name: `${name}_zero`,
        expression: 'u32(select(clamp(round(-min(a, 0.0) / b), 0.0, 255.0), 0.0, b == 0.0))',
        inputs: [least, scale],
        output: zero,
      }),
    );
    if (!node.outputs[0]) return;
    const output = lowering.output(0);
    lowering.emit(
      elementwiseStep({
        name,
        expression: 'u32(select(clamp(round(a / b) + f32(c), 0.0, 255.0), f32(c), b == 0.0))',
        inputs: [view, ...[scale, zero].map((v) => broadcastView(v, output.shape))],
        output,
        operations: 4,
      }),
    );
  },
};

/** Between floats and narrow integers. */
export const QUANTIZE_OPERATORS: readonly Operator[] = [QUANTIZE_LINEAR, DEQUANTIZE_LINEAR, DYNAMIC_QUANTIZE_LINEAR];
