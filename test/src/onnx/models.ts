import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as Type,
  AttributeProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type GraphProtoSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from 'onnx-buf';
import type { Attribute, Graph } from '../../../runtime/graph/graph.js';

export type GraphInit = MessageInitShape<typeof GraphProtoSchema>;
type ModelInit = MessageInitShape<typeof ModelProtoSchema>;

/** The bytes of a model of IR 8 and opset 17 around `graph`. */
export function modelBytes(graph: GraphInit, model: ModelInit = {}): Uint8Array {
  const base = { irVersion: 8n, opsetImport: [{ domain: '', version: 17n }] };
  return toBinary(ModelProtoSchema, create(ModelProtoSchema, { ...base, graph, ...model } as ModelInit));
}

export function value(name: string, dims: readonly (number | string | null)[] = [], elemType = 1): ValueInfoProto {
  const dim = dims.map((dim) => {
    if (dim === null) return {};
    return typeof dim === 'string'
      ? { value: { case: 'dimParam' as const, value: dim } }
      : { value: { case: 'dimValue' as const, value: BigInt(dim) } };
  });
  const tensorType = { elemType, shape: { dim } };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value: tensorType } } });
}

export function node(
  opType: string,
  input: string[],
  output: string[],
  attribute: AttributeProto[] = [],
  more: MessageInitShape<typeof NodeProtoSchema> = {},
): NodeProto {
  return create(NodeProtoSchema, { opType, input, output, attribute, ...more });
}

export function attribute(
  name: string,
  fields: Omit<MessageInitShape<typeof AttributeProtoSchema>, '$typeName'>,
): AttributeProto {
  return create(AttributeProtoSchema, { name, ...fields });
}

export const intAttribute = (name: string, i: number): AttributeProto =>
  attribute(name, { type: Type.INT, i: BigInt(i) });
export const floatAttribute = (name: string, f: number): AttributeProto => attribute(name, { type: Type.FLOAT, f });
export const refAttribute = (name: string, refAttrName: string, type: Type): AttributeProto =>
  attribute(name, { type, refAttrName });

/** A float32 vector. */
export function floats(name: string, ...floatData: number[]): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: TensorProto_DataType.FLOAT,
    dims: [BigInt(floatData.length)],
    floatData,
  });
}

/**
 * A graph with its tensors' elements as base64 of their bytes: comparing them element by element is slow, and would take
 * NaN and -0 for other values than they are.
 */
export function comparable(graph: Graph): unknown {
  return {
    ...graph,
    constants: [...graph.constants].map(([name, tensor]) => [name, comparableAttribute(tensor)]),
    nodes: graph.nodes.map((node) => ({
      ...node,
      attributes: Object.fromEntries(
        Object.entries(node.attributes).map(([name, attribute]) => [name, comparableAttribute(attribute)]),
      ),
    })),
  };
}

function comparableAttribute(attribute: Attribute): unknown {
  if (typeof attribute !== 'object') return attribute;
  if ('nodes' in attribute) return comparable(attribute);
  if (!('dtype' in attribute)) return attribute;
  const { dtype, dims, data } = attribute;
  return { dtype, dims, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64') };
}
