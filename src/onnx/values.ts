import { create } from '@bufbuild/protobuf';
import { ValueInfoProtoSchema, type TensorShapeProto_Dimension, type ValueInfoProto } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import type { DeclaredDim, ValueInfo } from '../../runtime/graph/graph.js';
import { codeName, dataTypeOf, onnxCode } from './types.js';

/**
 * The declared type of an input or output.
 * @throws BraidError MODEL_UNSUPPORTED for anything but a tensor of a type in DataType, MODEL_INVALID where no type is
 *   declared. Both name the value.
 */
export function valueFromProto(proto: ValueInfoProto, role: 'input' | 'output'): ValueInfo {
  const label = `${role} '${proto.name}'`;
  const type = proto.type?.value;
  if (!type?.case) throw new BraidError('MODEL_INVALID', `${label} has no declared type`);
  if (type.case !== 'tensorType') {
    const kind = type.case.replace('Type', '').replace('sparseTensor', 'sparse tensor');
    throw new BraidError('MODEL_UNSUPPORTED', `${label} is of ${kind} type, expected a tensor`);
  }
  const dtype = dataTypeOf(type.value.elemType);
  if (!dtype) {
    throw new BraidError(
      'MODEL_UNSUPPORTED',
      `${label} has element type ${codeName(type.value.elemType)}, which Braid lacks`,
    );
  }
  const { shape } = type.value;
  return { name: proto.name, dtype, ...(shape && { shape: shape.dim.map(dimFromProto) }) };
}

function dimFromProto({ value }: TensorShapeProto_Dimension): DeclaredDim {
  if (value.case === 'dimParam') return value.value === '' ? null : value.value;
  // Some exporters write -1 for a size that is not known.
  if (value.case === 'dimValue') return value.value < 0n ? null : Number(value.value);
  return null;
}

export function valueToProto({ name, dtype, shape }: ValueInfo): ValueInfoProto {
  const tensorType = { elemType: onnxCode(dtype), ...(shape && { shape: { dim: shape.map(dimToProto) } }) };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value: tensorType } } });
}

function dimToProto(dim: DeclaredDim) {
  if (dim === null) return {};
  if (typeof dim === 'string') return { value: { case: 'dimParam' as const, value: dim } };
  return { value: { case: 'dimValue' as const, value: BigInt(dim) } };
}
