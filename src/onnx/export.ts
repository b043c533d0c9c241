import { create, toBinary } from '@bufbuild/protobuf';
import { GraphProtoSchema, ModelProtoSchema, NodeProtoSchema, type GraphProto, type NodeProto } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import type { Graph, Node } from '../../runtime/graph/graph.js';
import { attributeToProto } from './attributes.js';
import { isGraph } from './order.js';
import { tensorToProto } from './tensors.js';
import { valueToProto } from './values.js';

/** Opset of a graph without nodes of the ONNX domain. */
const DEFAULT_OPSET = 17;

/** Protobuf's limit on a message. Weights beyond it would need external data. */
const MAX_MODEL_BYTES = 2 ** 31 - 1;

/**
 * Writes a Graph as an ONNX model with all weights inside. Notices are not part of ONNX and are left out.
 * @throws BraidError MODEL_UNSUPPORTED where the weights exceed the 2 GiB that protobuf allows, or nodes of one domain are
 *   written against different opsets, which a model cannot say.
 */
export function exportOnnx(graph: Graph): Uint8Array {
  const opsets = new Map<string, number>();
  collectOpsets(graph, opsets);
  const opset = opsets.get('') ?? DEFAULT_OPSET;
  opsets.set('', opset);
  const weightBytes = [...graph.constants.values()].reduce((sum, tensor) => sum + tensor.data.byteLength, 0);
  if (weightBytes > MAX_MODEL_BYTES) {
    throw new BraidError(
      'MODEL_UNSUPPORTED',
      `${graph.name}: ${weightBytes} bytes of weights do not fit an ONNX file, whose limit is ${MAX_MODEL_BYTES}`,
    );
  }
  const model = create(ModelProtoSchema, {
    irVersion: irVersionFor(opset),
    producerName: 'braid',
    opsetImport: [...opsets].map(([domain, version]) => ({ domain, version: BigInt(version) })),
    graph: graphToProto(graph),
  });
  return toBinary(ModelProtoSchema, model);
}

/** The IR version of the ONNX release that brought an opset: readers of that age take no later one. */
function irVersionFor(opset: number): bigint {
  if (opset <= 18) return 8n;
  if (opset <= 20) return 9n;
  return opset <= 22 ? 10n : 11n;
}

function collectOpsets(graph: Graph, opsets: Map<string, number>): void {
  for (const node of graph.nodes) {
    const known = opsets.get(node.domain) ?? node.opset;
    if (known !== node.opset) {
      throw new BraidError(
        'MODEL_UNSUPPORTED',
        `${graph.name}: nodes use opsets ${known} and ${node.opset} of domain '${node.domain}', ` +
          `but an ONNX file states one ('${node.name}')`,
      );
    }
    opsets.set(node.domain, node.opset);
    for (const attribute of Object.values(node.attributes)) {
      if (isGraph(attribute)) collectOpsets(attribute, opsets);
    }
  }
}

function graphToProto(graph: Graph): GraphProto {
  return create(GraphProtoSchema, {
    name: graph.name,
    node: graph.nodes.map(nodeToProto),
    initializer: [...graph.constants].map(([name, tensor]) => tensorToProto(tensor, name)),
    input: graph.inputs.map(valueToProto),
    output: graph.outputs.map(valueToProto),
  });
}

function nodeToProto(node: Node): NodeProto {
  return create(NodeProtoSchema, {
    name: node.name,
    opType: node.op,
    domain: node.domain,
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: Object.entries(node.attributes).map(([name, value]) =>
      attributeToProto(node.op, name, value, graphToProto),
    ),
  });
}
