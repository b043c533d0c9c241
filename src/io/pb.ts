import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { TensorProtoSchema } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import { tensorFromProto, tensorToProto } from '../onnx/tensors.js';
import { unreadable } from './common.js';

/** A tensor with the name it carries, empty where it has none. */
export interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

/**
 * Reads a serialized TensorProto, as ONNX test sets hold them. float64 stays float64.
 * @param source the file's name, for messages.
 * @throws BraidError FILE_UNREADABLE for bytes that are no TensorProto, a type that Braid lacks, external data, and
 *   another number of elements than the shape needs.
 */
export function readTensorPb(bytes: Uint8Array, source = 'pb file'): NamedTensor {
  let name = '';
  try {
    const proto = fromBinary(TensorProtoSchema, bytes, { readUnknownFields: false });
    name = proto.name;
    return { name, tensor: tensorFromProto(proto, `tensor '${name}'`) };
  } catch (cause) {
    if (cause instanceof BraidError) throw unreadable(source, cause.message, cause);
    throw unreadable(source, `is no serialized TensorProto: ${(cause as Error).message}`, cause);
  }
}

/** Writes a tensor as a serialized TensorProto. */
export function writeTensorPb(tensor: Tensor, name = ''): Uint8Array {
  return toBinary(TensorProtoSchema, tensorToProto(tensor, name));
}
