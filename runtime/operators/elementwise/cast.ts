import { deviceType, type DeviceType } from '../../compile/view.js';
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
import type { NodeContext, Operator } from '../operator.js';
import { shownByShapes } from '../rows.js';
import { elementwiseStep } from './kernel.js';

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

/** The type that a value of TensorProto.DataType stands for. */
export function dataTypeOf(context: NodeContext, code: number): DataType {
  const dtype = ONNX_TYPES[code];
  if (!dtype) throw context.unsupported(`type ${code} of TensorProto.DataType`);
  return dtype;
}

function target(context: NodeContext): DataType {
  return dataTypeOf(context, context.attributes.requiredNumber('to'));
}

/** What the device does between its own types; narrow integers and half precision are added on top. */
const CONVERSIONS: Record<DeviceType, Record<DeviceType, string>> = {
  f32: { f32: 'a', i32: 'i32(a)', u32: 'u32(a)', i64: 'i64_from_f32(a)' },
  i32: { f32: 'f32(a)', i32: 'a', u32: 'bitcast<u32>(a)', i64: 'i64_from_i32(a)' },
  u32: { f32: 'f32(a)', i32: 'bitcast<i32>(a)', u32: 'a', i64: 'vec2<u32>(a, 0u)' },
  i64: { f32: 'i64_to_f32(a)', i32: 'bitcast<i32>(a.x)', u32: 'a.x', i64: 'a' },
};

/** Whether values keep their device representation, so that the cast is a view. */
function isFree(from: DataType, to: DataType): boolean {
  if (from === to) return true;
  if (to === 'float64' || (to === 'float32' && from !== 'float64')) return deviceType(from) === 'f32';
  if (from === 'float64' && to === 'float32') return true;
  return from === 'bool' && deviceType(to) === 'u32';
}

function expression(from: DataType, to: DataType): string | undefined {
  const [source, result] = [deviceType(from), deviceType(to)];
  if (to === 'bool')
    return source === 'i64' ? 'select(0u, 1u, any(a != vec2<u32>()))' : `select(0u, 1u, a != ${source}())`;
  const plain = CONVERSIONS[source][result];
  if (to === 'float16') return `unpack2x16float(pack2x16float(vec2<f32>(${plain}, 0.0))).x`;
  if (to === 'bfloat16') return undefined;
  const bits = { int8: 24, int16: 16, uint8: 24, uint16: 16 }[to as string];
  if (bits === undefined) return plain;
  return `(${plain} << ${bits}u) >> ${bits}u`;
}

/** Cast(X, to). Floats become integers by truncation; bool is 0 or 1. */
export const CAST: Operator = {
  type: 'Cast',
  opsets: [7, 23],
  infer: (context) => [{ dtype: target(context), shape: context.input(0).shape }],
  fold(context, outputs) {
    const known = context.known(0);
    const { dtype } = outputs[0]!;
    if (known?.kind !== 'symbolic' || !isInteger(dtype)) return [undefined];
    return [{ kind: 'symbolic', value: { ...known.value, dtype } }];
  },
  reference(context) {
    const x = context.input(0);
    const to = ONNX_TYPES[context.attributes.requiredNumber('to')]!;
    if (to === 'float64' || to === 'float32') return [{ ...x, dtype: to }];
    if (to === 'float16') return [{ ...x, dtype: to, data: x.data.map((v) => halfToNumber(numberToHalf(v))) }];
    if (to === 'bfloat16') return [{ ...x, dtype: to, data: x.data.map((v) => bfloat16ToNumber(numberToBfloat16(v))) }];
    return [{ ...x, dtype: to, data: toFloat64(castTensor({ dtype: 'float64', dims: x.dims, data: x.data }, to)) }];
  },
  rows: shownByShapes,
  lower(lowering) {
    const { context, outputs } = lowering;
    const from = context.input(0).dtype;
    const to = outputs[0]!.dtype;
    const view = lowering.view(0);
    if (isFree(from, to)) {
      lowering.alias(0, { ...view, dtype: to });
      return;
    }
    const wgsl = expression(from, to);
    if (wgsl === undefined) throw context.unsupported(`no kernel for a cast from ${from} to ${to}`);
    lowering.emit(
      elementwiseStep({ name: `Cast_${from}_${to}`, expression: wgsl, inputs: [view], output: lowering.output(0) }),
    );
  },
};
