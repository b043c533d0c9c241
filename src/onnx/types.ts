import { TensorProto_DataType } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import type { DataType } from '../../runtime/graph/dtype.js';
import { sizeOf } from '../../runtime/graph/tensor.js';

const TO_ONNX: Record<DataType, TensorProto_DataType> = {
  float32: TensorProto_DataType.FLOAT,
  float16: TensorProto_DataType.FLOAT16,
  bfloat16: TensorProto_DataType.BFLOAT16,
  float64: TensorProto_DataType.DOUBLE,
  int8: TensorProto_DataType.INT8,
  int16: TensorProto_DataType.INT16,
  int32: TensorProto_DataType.INT32,
  int64: TensorProto_DataType.INT64,
  uint8: TensorProto_DataType.UINT8,
  uint16: TensorProto_DataType.UINT16,
  uint32: TensorProto_DataType.UINT32,
  uint64: TensorProto_DataType.UINT64,
  bool: TensorProto_DataType.BOOL,
};

const FROM_ONNX = new Map(Object.entries(TO_ONNX).map(([dtype, code]) => [code as number, dtype as DataType]));

/** The ONNX code (TensorProto.DataType) of a type. */
export function onnxCode(dtype: DataType): number {
  return TO_ONNX[dtype];
}

/** The type that an ONNX code stands for, or undefined for one that a Graph cannot carry (STRING, INT4, FLOAT8...). */
export function dataTypeOf(code: number): DataType | undefined {
  return FROM_ONNX.get(code);
}

/** The name that onnx.proto gives a code, for messages. */
export function codeName(code: number): string {
  return TensorProto_DataType[code] ?? `type ${code}`;
}

/**
 * The shape of a tensor.
 * @throws BraidError MODEL_INVALID for a negative size, or more elements than can be counted.
 */
export function dimsFromProto(dims: readonly bigint[], label: string): number[] {
  const out = dims.map(Number);
  if (out.some((dim) => dim < 0) || !Number.isSafeInteger(sizeOf(out))) {
    throw new BraidError('MODEL_INVALID', `${label} has the impossible shape [${out.join(', ')}]`);
  }
  return out;
}
