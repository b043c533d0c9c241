import type { Lowering } from '../../compile/lowering.js';
import { deviceType } from '../../compile/view.js';
import { castTensor } from '../../graph/tensor.js';
import {
  bfloat16ToNumber,
  halfToNumber,
  isInteger,
  numberToBfloat16,
  numberToHalf,
  type DataType,
} from '../../graph/dtype.js';
import { toFloat64 } from '../../graph/tensor.js';
import type { NodeContext, Operator, ReferenceTensor } from '../operator.js';
import { shownByShapes } from '../rows.js';
import { HOLDS_SIZES } from './fold.js';
import { elementwiseStep } from './kernel.js';
import { arithmeticType, IS_NAN, wrapped, type ArithmeticType } from './types.js';

/** TensorProto.DataType, the values of the `to` attribute. */
const ONNX_TYPES: Readonly<Record<number, DataType>> = {
  1: 'float32',
  2: 'uint8',
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  6: 'int32',
  7: 'int64',
  9: 'bool',
  10: 'float16',
  11: 'float64',
  12: 'uint32',
  13: 'uint64',
  16: 'bfloat16',
};

const ONNX_CODES = new Map(Object.entries(ONNX_TYPES).map(([code, dtype]) => [dtype, Number(code)]));

/** The value of TensorProto.DataType that stands for a type. */
export function onnxCode(dtype: DataType): number {
  return ONNX_CODES.get(dtype)!;
}

/** The type that a value of TensorProto.DataType stands for. */
export function dataTypeOf(context: NodeContext, code: number): DataType {
  const dtype = ONNX_TYPES[code];
  if (!dtype) throw context.unsupported(`type ${code} of TensorProto.DataType`);
  return dtype;
}

function target(context: NodeContext): DataType {
  return dataTypeOf(context, context.attributes.requiredNumber('to'));
}

/**
 * What the device does between its own types; narrow integers and half precision are added on top. Floats that an
 * integer type cannot hold are undefined in ONNX; here NaN is 0.
 */
const CONVERSIONS: Record<ArithmeticType, Record<ArithmeticType, string>> = {
  f32: {
    f32: 'a',
    i32: 'select(i32(a), 0, is_nan(a))',
    u32: 'select(select(u32(a), bitcast<u32>(i32(a)), a < 0.0), 0u, is_nan(a))',
    i64: 'i64_from_f32(a)',
    u64: 'u64_from_f32(a)',
  },
  i32: { f32: 'f32(a)', i32: 'a', u32: 'bitcast<u32>(a)', i64: 'i64_from_i32(a)', u64: 'i64_from_i32(a)' },
  u32: { f32: 'f32(a)', i32: 'bitcast<i32>(a)', u32: 'a', i64: 'vec2<u32>(a, 0u)', u64: 'vec2<u32>(a, 0u)' },
  i64: { f32: 'i64_to_f32(a)', i32: 'bitcast<i32>(a.x)', u32: 'a.x', i64: 'a', u64: 'a' },
  u64: { f32: 'u64_to_f32(a)', i32: 'bitcast<i32>(a.x)', u32: 'a.x', i64: 'a', u64: 'a' },
};

// Rounded to nearest even by the bits: packing leaves what lies beyond float16 open, and knows no bfloat16.
const ROUND_HALF = `${IS_NAN}
fn round_f16(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let sign_bit = bits & 0x80000000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) { return x; }
  if (magnitude >= 0x477ff000u) { return bitcast<f32>(sign_bit | 0x7f800000u); }
  // Subnormals are multiples of 2^-24.
  if (magnitude < 0x38800000u) { return round(x * 16777216.0) / 16777216.0; }
  return bitcast<f32>(sign_bit | ((magnitude + 0xfffu + ((magnitude >> 13u) & 1u)) & 0xffffe000u));
}
fn round_bf16(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if (is_nan(x)) { return x; }
  return bitcast<f32>((bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u);
}`;

/** Whether values keep their device representation, so that the cast is a view. */
function isFree(from: DataType, to: DataType): boolean {
  if (from === to) return true;
  if (to === 'float64' || to === 'float32') return deviceType(from) === 'f32';
  if (from === 'bool') return deviceType(to) === 'u32';
  // 64-bit integers reinterpret each other's bits.
  return deviceType(from) === 'i64' && deviceType(to) === 'i64';
}

function expression(from: DataType, to: DataType): string {
  const [source, result] = [arithmeticType(from), arithmeticType(to)];
  if (to === 'bool') {
    // By the bits: NaN is true, and comparisons may not see it.
    if (source === 'f32') return 'select(0u, 1u, (bitcast<u32>(a) & 0x7fffffffu) != 0u)';
    return deviceType(from) === 'i64' ? 'select(0u, 1u, any(a != vec2<u32>()))' : `select(0u, 1u, a != ${source}())`;
  }
  const plain = CONVERSIONS[source][result];
  if (to === 'float16') return `round_f16(${plain})`;
  if (to === 'bfloat16') return `round_bf16(${plain})`;
  // Floats go to narrow unsigned integers by way of int32, which wraps around as ONNX's own implementation does.
  const narrow = source === 'f32' && (to === 'uint8' || to === 'uint16');
  return wrapped(to, narrow ? `bitcast<u32>(${CONVERSIONS.f32.i32})` : plain);
}

/** `x` as values of type `to`, rounded or truncated and wrapped. */
export function castReference(x: ReferenceTensor, to: DataType): ReferenceTensor {
  if (to === 'float64') return { ...x, dtype: to };
  if (to === 'float32') return { ...x, dtype: to, data: x.data.map(Math.fround) };
  if (to === 'float16') return { ...x, dtype: to, data: x.data.map((v) => halfToNumber(numberToHalf(v))) };
  if (to === 'bfloat16') return { ...x, dtype: to, data: x.data.map((v) => bfloat16ToNumber(numberToBfloat16(v))) };
  return { ...x, dtype: to, data: toFloat64(castTensor({ dtype: 'float64', dims: x.dims, data: x.data }, to)) };
}

function lower(lowering: Lowering): void {
  const from = lowering.context.input(0).dtype;
  const to = lowering.outputs[0]!.dtype;
  const view = lowering.view(0);
  if (isFree(from, to)) {
    lowering.alias(0, { ...view, dtype: to });
    return;
  }
  lowering.emit(
    elementwiseStep({
      name: `Cast_${from}_${to}`,
      expression: expression(from, to),
      helpers: ROUND_HALF,
      inputs: [view],
      output: lowering.output(0),
    }),
  );
}

function casting(type: string, opsets: Operator['opsets'], to: (context: NodeContext) => DataType): Operator {
  return {
    type,
    opsets,
    aliases: 'sometimes',
    infer: (context) => [{ dtype: to(context), shape: context.input(0).shape }],
    fold(context, outputs) {
      const known = context.known(0);
      const { dtype } = outputs[0]!;
      if (known?.kind !== 'symbolic' || !(isInteger(dtype) || HOLDS_SIZES.has(dtype))) return [undefined];
      return [{ kind: 'symbolic', value: { ...known.value, dtype } }];
    },
    reference: (context) => [castReference(context.input(0), to(context.shapes))],
    rows: shownByShapes,
    keepsRows: () => true,
    lower,
  };
}

/** Cast(X, to). Floats become integers by truncation; bool is 0 or 1. */
export const CAST = casting('Cast', [7, 27], target);

/** CastLike(X, T): to the type of T, whose values do not matter. */
export const CAST_LIKE = casting('CastLike', [15, 27], (context) => context.input(1).dtype);
