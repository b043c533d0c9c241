import type { DataType } from '../graph/dtype.js';
import type { Node } from '../graph/graph.js';
import { onnxCode } from '../operators/elementwise/cast.js';
import type { ValueType } from '../operators/operator.js';

/** Operators that only rename the shape of input 0. */
export const RENAMING = new Set(['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Identity']);

const INTEGERS: ReadonlySet<DataType> = new Set(['int32', 'int64']);
const DOUBLE = onnxCode('float64');

/**
 * Old Keras exports cast ids to double and back, with reshapes between. Braid keeps float64 as float32 on the device,
 * which would round ids beyond 2^24, so the round trip is cut out: the reshapes run on the integers themselves.
 * @returns the nodes that stand for `node`, or undefined where it is no such cast.
 */
export function elideCastRoundTrip(
  node: Node,
  types: ReadonlyMap<string, ValueType>,
  producers: ReadonlyMap<string, Node>,
): Node[] | undefined {
  if (node.op !== 'Cast' || node.domain !== '') return undefined;
  const chain: Node[] = [];
  let producer = producers.get(node.inputs[0]!);
  while (producer && RENAMING.has(producer.op)) {
    chain.unshift(producer);
    producer = producers.get(producer.inputs[0]!);
  }
  if (producer?.op !== 'Cast' || producer.attributes['to'] !== DOUBLE) return undefined;
  const source = producer.inputs[0]!;
  const { dtype } = types.get(source)!;
  if (!INTEGERS.has(dtype) || onnxCode(dtype) !== node.attributes['to']) return undefined;
  let value = source;
  const replayed = chain.map((link, i): Node => {
    const output = `${node.name}/${link.name}/${i}`;
    const copy = { ...link, name: output, inputs: [value, ...link.inputs.slice(1)], outputs: [output] };
    value = output;
    return copy;
  });
  return [...replayed, { ...node, op: 'Identity', attributes: {}, inputs: [value] }];
}

/** A cast to the type that a value has already is none: what is concatenated can then be written in place. */
export function elideIdleCast(node: Node, types: ReadonlyMap<string, ValueType>): Node[] | undefined {
  if (node.op !== 'Cast' || node.domain !== '') return undefined;
  const dtype = types.get(node.inputs[0]!)?.dtype;
  return dtype !== undefined && onnxCode(dtype) === node.attributes['to']
    ? [{ ...node, op: 'Identity', attributes: {} }]
    : undefined;
}
