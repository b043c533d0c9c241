import { create } from '@bufbuild/protobuf';
import { AttributeProto_AttributeType as Type, AttributeProtoSchema } from 'onnx-buf';
import type { AttributeProto, GraphProto } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import type { Attribute, Graph } from '../../runtime/graph/graph.js';
import type { ReadExternal } from './external.js';
import { isGraph } from './order.js';
import { denseFromSparse, tensorFromProto, tensorToProto } from './tensors.js';

/** What decoding an attribute needs of the importer. */
export interface AttributeContext {
  readonly readExternal: ReadExternal | undefined;
  readonly importGraph: (proto: GraphProto) => Graph;
}

const utf8 = new TextDecoder();

/**
 * Decodes an attribute.
 * @param owner how messages name the node.
 * @throws BraidError MODEL_UNSUPPORTED for lists of tensors or graphs and for types, MODEL_INVALID for an attribute
 *   without a type or without its value, and what decoding its tensor or graph throws.
 */
export function attributeFromProto(proto: AttributeProto, owner: string, context: AttributeContext): Attribute {
  const label = `attribute '${proto.name}' of ${owner}`;
  switch (proto.type) {
    case Type.FLOAT:
      return proto.f;
    case Type.INT:
      return Number(proto.i);
    case Type.STRING:
      return utf8.decode(proto.s);
    case Type.FLOATS:
      return proto.floats;
    case Type.INTS:
      return proto.ints.map(Number);
    case Type.STRINGS:
      return proto.strings.map((bytes) => utf8.decode(bytes));
    case Type.TENSOR:
      return tensorFromProto(present(proto.t, label), label, context.readExternal);
    case Type.SPARSE_TENSOR:
      return denseFromSparse(present(proto.sparseTensor, label), label, context.readExternal);
    case Type.GRAPH:
      return context.importGraph(present(proto.g, label));
    case Type.UNDEFINED:
      throw new BraidError('MODEL_INVALID', `${label} has no type`);
    default:
      throw new BraidError(
        'MODEL_UNSUPPORTED',
        `${label} has type ${Type[proto.type] ?? proto.type}, which Braid lacks`,
      );
  }
}

function present<T>(value: T | undefined, label: string): T {
  if (value === undefined) throw new BraidError('MODEL_INVALID', `${label} has no value`);
  return value;
}

/**
 * Names of the attributes that are FLOAT or FLOATS in some version of an operator of the ONNX domain: a Graph holds INT
 * and FLOAT alike as numbers, and a whole number does not tell. The list is that of the operator schemas of onnx 1.20
 * (all versions); other domains follow the same names. A number with a fraction is a FLOAT whatever its name.
 * Three names are INT elsewhere: `seed` of Dropout is kept apart below; `p` (LpNormalization, LpPool) was FLOAT only
 * before opset 2 and is left out; `value` is FLOAT for Pad and a tensor for all others.
 */
const FLOAT_ATTRIBUTES: ReadonlySet<string> = new Set([
  'activation_alpha',
  'activation_beta',
  'alpha',
  'beta',
  'bias',
  'clip',
  'cubic_coeff_a',
  'epsilon',
  'extrapolation_value',
  'gamma',
  'height_scale',
  'high',
  'lambd',
  'low',
  'max',
  'mean',
  'min',
  'momentum',
  'ratio',
  'scale',
  'scales',
  'seed',
  'softcap',
  'spatial_scale',
  'value',
  'value_float',
  'value_floats',
  'weights',
  'width_scale',
]);

/** Attributes that the table above would get wrong. */
const INT_ATTRIBUTES: ReadonlySet<string> = new Set(['Dropout.seed']);

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);

/** Encodes an attribute of an operator with the type that ONNX gives it. */
export function attributeToProto(
  op: string,
  name: string,
  value: Attribute,
  exportGraph: (graph: Graph) => GraphProto,
): AttributeProto {
  const make = (fields: Parameters<typeof create<typeof AttributeProtoSchema>>[1]): AttributeProto =>
    create(AttributeProtoSchema, { name, ...fields });
  if (typeof value === 'number') {
    return isFloatAttribute(op, name, [value])
      ? make({ type: Type.FLOAT, f: value })
      : make({ type: Type.INT, i: int64(value) });
  }
  if (typeof value === 'string') return make({ type: Type.STRING, s: encode(value) });
  if (isGraph(value)) return make({ type: Type.GRAPH, g: exportGraph(value) });
  if ('dtype' in value) return make({ type: Type.TENSOR, t: tensorToProto(value) });
  if (isStrings(value)) return make({ type: Type.STRINGS, strings: value.map(encode) });
  return isFloatAttribute(op, name, value)
    ? make({ type: Type.FLOATS, floats: [...value] })
    : make({ type: Type.INTS, ints: value.map(int64) });
}

function isFloatAttribute(op: string, name: string, values: readonly number[]): boolean {
  if (values.some((value) => !Number.isInteger(value))) return true;
  return FLOAT_ATTRIBUTES.has(name) && !INT_ATTRIBUTES.has(`${op}.${name}`);
}

/** INT64_MAX stands for "to the end" in Slice and rounds up to 2^63 as a double; it must come back down to fit. */
function int64(value: number): bigint {
  const big = BigInt(value);
  if (big > INT64_MAX) return INT64_MAX;
  return big < INT64_MIN ? INT64_MIN : big;
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
}

function isStrings(values: readonly number[] | readonly string[]): values is readonly string[] {
  return typeof values[0] === 'string';
}
