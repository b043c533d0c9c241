import { create } from '@bufbuild/protobuf';
import { TensorProto_DataLocation, TensorProtoSchema, type SparseTensorProto, type TensorProto } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import { allocate, bytesOf, bytesPerElement, viewBytes } from '../../runtime/graph/dtype.js';
import type { DataType, TensorData } from '../../runtime/graph/dtype.js';
import { sizeOf, type Tensor } from '../../runtime/graph/tensor.js';
import { externalRange, type ReadExternal } from './external.js';
import { codeName, dataTypeOf, dimsFromProto, onnxCode } from './types.js';

/** The TensorProto field that holds the elements of a type where they are not in raw_data. */
type TypedField = 'floatData' | 'int32Data' | 'int64Data' | 'doubleData' | 'uint64Data';

// onnx.proto packs every type narrower than 32 bits into int32_data, the 16-bit floats there as bit patterns.
const TYPED_FIELD: Record<DataType, TypedField> = {
  float32: 'floatData',
  float64: 'doubleData',
  float16: 'int32Data',
  bfloat16: 'int32Data',
  int8: 'int32Data',
  int16: 'int32Data',
  int32: 'int32Data',
  uint8: 'int32Data',
  uint16: 'int32Data',
  bool: 'int32Data',
  int64: 'int64Data',
  uint32: 'uint64Data',
  uint64: 'uint64Data',
};

/**
 * Decodes a tensor, in whichever of the three forms (raw, typed, external) its elements are held.
 * Raw and external bytes are viewed, not copied, wherever their alignment allows it.
 * @param label how messages name the tensor, such as `tensor 'fc1.weight'`.
 * @throws BraidError MODEL_UNSUPPORTED for a type that Braid lacks, MODEL_INVALID where the number of elements does not
 *   fit the shape, MODEL_UNREADABLE where external data cannot be had.
 */
export function tensorFromProto(proto: TensorProto, label: string, readExternal?: ReadExternal): Tensor {
  const dtype = dataTypeOf(proto.dataType);
  if (!dtype) {
    throw new BraidError(
      'MODEL_UNSUPPORTED',
      `${label} has element type ${codeName(proto.dataType)}, which Braid lacks`,
    );
  }
  if (proto.segment) throw new BraidError('MODEL_UNSUPPORTED', `${label} is split into segments`);
  const dims = dimsFromProto(proto.dims, label);
  return { dtype, dims, data: oneByteBools(dtype, elements(proto, dtype, dims, label, readExternal)) };
}

/** Encodes a tensor with its elements in raw_data. */
export function tensorToProto(tensor: Tensor, name = ''): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: tensor.dims.map(BigInt),
    dataType: onnxCode(tensor.dtype),
    rawData: bytesOf(tensor.data) as Uint8Array<ArrayBuffer>,
  });
}

/**
 * Spreads a sparse tensor out into a dense one. Its indices are either linear ([count]) or coordinates ([count, rank]).
 * @throws BraidError MODEL_INVALID for indices that are missing, of another shape or outside `dims`, and what
 *   tensorFromProto throws for its two parts.
 */
export function denseFromSparse(proto: SparseTensorProto, label: string, readExternal?: ReadExternal): Tensor {
  if (!proto.values) throw new BraidError('MODEL_INVALID', `${label} is sparse but has no values`);
  const values = tensorFromProto(proto.values, `values of ${label}`, readExternal);
  const dims = dimsFromProto(proto.dims, label);
  const data = allocateFor(values.dtype, dims, label);
  const count = values.data.length;
  if (count === 0) return { dtype: values.dtype, dims, data };
  if (!proto.indices) throw new BraidError('MODEL_INVALID', `${label} is sparse but has no indices`);
  const indices = tensorFromProto(proto.indices, `indices of ${label}`, readExternal);
  if (indices.dtype !== 'int64') {
    throw new BraidError('MODEL_INVALID', `indices of ${label} are ${indices.dtype}, expected int64`);
  }
  const rank = indices.dims.length === 1 ? 1 : dims.length;
  if (indices.dims[0] !== count || indices.data.length !== count * rank || indices.dims.length > 2) {
    throw new BraidError(
      'MODEL_INVALID',
      `indices of ${label} have shape [${indices.dims.join(', ')}], expected [${count}] or [${count}, ${dims.length}]`,
    );
  }
  const extents = indices.dims.length === 1 ? [data.length] : dims;
  for (let i = 0; i < count; i++) {
    let at = 0;
    for (let axis = 0; axis < rank; axis++) {
      const index = Number(indices.data[i * rank + axis]);
      const extent = extents[axis]!;
      if (index < 0 || index >= extent) {
        throw new BraidError('MODEL_INVALID', `index ${index} of ${label} lies outside 0 to ${extent - 1}`);
      }
      at = at * extent + index;
    }
    data[at] = values.data[i]!;
  }
  return { dtype: values.dtype, dims, data };
}

function elements(
  proto: TensorProto,
  dtype: DataType,
  dims: readonly number[],
  label: string,
  readExternal: ReadExternal | undefined,
): TensorData {
  const size = sizeOf(dims);
  const byteLength = size * bytesPerElement(dtype);
  const shape = `[${dims.join(', ')}]`;
  if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    const range = externalRange(proto.externalData, byteLength, label);
    if (!readExternal) {
      throw new BraidError(
        'MODEL_UNREADABLE',
        `${label} keeps its data in the file '${range.location}', which is out of reach of a model given as bytes`,
      );
    }
    return viewBytes(dtype, readExternal(range, label), size);
  }
  const typed = proto[TYPED_FIELD[dtype]];
  if (proto.rawData.length > 0 || typed.length === 0) {
    if (proto.rawData.length !== byteLength) {
      throw new BraidError(
        'MODEL_INVALID',
        `${label} holds ${proto.rawData.length} bytes, expected ${byteLength} for ${dtype} ${shape}`,
      );
    }
    return viewBytes(dtype, proto.rawData, size);
  }
  if (typed.length !== size) {
    throw new BraidError(
      'MODEL_INVALID',
      `${label} holds ${typed.length} elements, expected ${size} for ${dtype} ${shape}`,
    );
  }
  const data = allocateFor(dtype, dims, label);
  // uint32 travels in uint64_data as bigint; every other pair of field and array agrees on number or bigint.
  if (dtype === 'uint32') for (let i = 0; i < size; i++) data[i] = Number(typed[i]);
  else for (let i = 0; i < size; i++) data[i] = typed[i]!;
  return data;
}

function allocateFor(dtype: DataType, dims: readonly number[], label: string): TensorData {
  try {
    return allocate(dtype, sizeOf(dims));
  } catch (cause) {
    throw new BraidError('MODEL_UNSUPPORTED', `${label} of shape [${dims.join(', ')}] is too large`, { cause });
  }
}

/** Files let a bool byte be anything; a Tensor holds 0 or 1. */
export function oneByteBools(dtype: DataType, data: TensorData): TensorData {
  if (dtype !== 'bool' || !(data as Uint8Array).some((byte) => byte > 1)) return data;
  return (data as Uint8Array).map((byte) => (byte === 0 ? 0 : 1));
}
