import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { AttributeProto, GraphProto, NodeProto, ValueInfoProto } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import type { Attribute, Graph, Node, ValueInfo } from '../../runtime/graph/graph.js';
import { tensorOf, type Tensor } from '../../runtime/graph/tensor.js';
import { attributeFromProto, type AttributeContext } from './attributes.js';
import { loadExternal, type ReadExternal } from './external.js';
import { functionsOf, inlineFunctions, type Functions, type Scope } from './functions.js';
import { Narrowing } from './narrowing.js';
import { normalDomain, opsetsOf } from './opsets.js';
import { orderNodes } from './order.js';
import { parseModel, type ParsedModel } from './parse.js';
import { denseFromSparse, tensorFromProto } from './tensors.js';
import { valueFromProto } from './values.js';

export interface ImportOptions {
  /** Name of the graph and of the model in messages. Default: the name that the file gives its graph. */
  readonly name?: string;
  /** Gives the bytes of tensors that are kept in files beside the model. Without it such a model is refused. */
  readonly readExternal?: ReadExternal;
}

/**
 * Turns an ONNX model into a Graph: functions are inlined, Constant nodes and initializers become constants, nodes are
 * put into topological order and named, float64 constants are narrowed to float32 (a notice says so).
 * Weights are views of `bytes` where their alignment allows it, so `bytes` must not change afterwards.
 * @throws BraidError MODEL_UNREADABLE where the bytes are no ONNX model or external data cannot be had,
 *   MODEL_UNSUPPORTED for an opset, a type or an attribute that Braid lacks, MODEL_INVALID for a model that contradicts
 *   itself. Each message names the model and the offending value or node. Operators are not checked here.
 */
export function importOnnx(bytes: Uint8Array, options: ImportOptions = {}): Graph {
  return named(options.name ?? 'model', () => importModel(parseModel(bytes), options));
}

/**
 * Reads a model file, and the files of external data in its folder that it refers to.
 * @param options.name default: the file's name without its extension.
 * @throws BraidError as importOnnx does, its messages naming the file by its path.
 */
export async function importOnnxFile(file: string, options: { readonly name?: string } = {}): Promise<Graph> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new BraidError('MODEL_UNREADABLE', `${file}: cannot be read: ${(cause as Error).message}`, { cause });
  }
  const model = named(file, () => parseModel(bytes));
  let readExternal: ReadExternal;
  try {
    readExternal = await loadExternal(model, path.dirname(file));
  } catch (error) {
    throw prefixed(file, error);
  }
  const name = options.name ?? path.parse(file).name;
  return named(file, () => importModel(model, { name, readExternal }));
}

/** Runs `work` and puts the model's name before the message of what it throws. */
function named<T>(source: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw prefixed(source, error);
  }
}

function prefixed(source: string, error: unknown): unknown {
  if (!(error instanceof BraidError)) return error;
  return new BraidError(error.code, `${source}: ${error.message}`, { cause: error });
}

/** What one import carries through all of its graphs. */
interface Import {
  readonly functions: Functions;
  readonly readExternal: ReadExternal | undefined;
  readonly narrowing: Narrowing;
  /** Names of nodes so far: a Graph's are unique, ONNX files' need not be. */
  readonly nodeNames: Set<string>;
}

function importModel(model: ParsedModel, options: ImportOptions): Graph {
  const state: Import = {
    functions: functionsOf(model),
    readExternal: options.readExternal,
    narrowing: new Narrowing(),
    nodeNames: new Set(),
  };
  const graph = importGraph(model.graph, { opsets: opsetsOf(model.opsetImport), within: [] }, state, false);
  const notices = [...state.narrowing.notices(), ...float64Notices(graph), ...defaultNotices(model)];
  return { ...graph, name: options.name ?? (graph.name || 'model'), notices };
}

function importGraph(proto: GraphProto, scope: Scope, state: Import, nested: boolean): Graph {
  const constants = importInitializers(proto, state);
  const inputs = importInputs(proto, constants, nested);
  const given = new Set([...constants.keys(), ...inputs.map((input) => input.name)]);

  const nodes: Node[] = [];
  for (const [index, call] of inlineFunctions(proto.node, scope, state.functions, given).entries()) {
    const { node } = call;
    if (node.opType === 'Constant' && normalDomain(node.domain) === '') {
      const name = node.output[0] ?? '';
      if (given.has(name)) throw new BraidError('MODEL_INVALID', `value '${name}' is defined twice, one a Constant`);
      given.add(name);
      constants.set(name, state.narrowing.narrow(name, constantOf(node, call.scope, state)));
    } else {
      nodes.push(importNode(node, call.scope, index, state));
    }
  }

  const ordered = orderNodes(nodes, given, nested);
  const outputs = proto.output.map((output) => importValue(output, 'output', nested));
  if (!nested) checkOutputs(outputs, ordered, given);
  return { name: proto.name, inputs, outputs, nodes: ordered, constants, notices: [] };
}

function importInitializers(proto: GraphProto, state: Import): Map<string, Tensor> {
  const constants = new Map<string, Tensor>();
  const define = (name: string, tensor: Tensor): void => {
    if (name === '') throw new BraidError('MODEL_INVALID', 'an initializer has no name');
    if (constants.has(name)) throw new BraidError('MODEL_INVALID', `initializer '${name}' is defined twice`);
    constants.set(name, state.narrowing.narrow(name, tensor));
  };
  for (const initializer of proto.initializer) {
    const { name } = initializer;
    define(name, tensorFromProto(initializer, `tensor '${name}'`, state.readExternal));
  }
  for (const sparse of proto.sparseInitializer) {
    const name = sparse.values?.name ?? '';
    define(name, denseFromSparse(sparse, `tensor '${name}'`, state.readExternal));
  }
  return constants;
}

/** Inputs that the caller gives: IR 3 lists weights as inputs too, and later versions those with a default. */
function importInputs(proto: GraphProto, constants: ReadonlyMap<string, Tensor>, nested: boolean): ValueInfo[] {
  const inputs: ValueInfo[] = [];
  const seen = new Set<string>();
  for (const input of proto.input) {
    if (constants.has(input.name)) continue;
    if (seen.has(input.name)) throw new BraidError('MODEL_INVALID', `input '${input.name}' is declared twice`);
    seen.add(input.name);
    inputs.push(importValue(input, 'input', nested));
  }
  return inputs;
}

/**
 * A body may leave its values untyped, and may pass sequences: they have the type of what is passed. What it declares nevertheless is kept, and
 * nothing relies on the float32 that stands for an absent type.
 */
function importValue(proto: ValueInfoProto, role: 'input' | 'output', nested: boolean): ValueInfo {
  if (nested && proto.type?.value.case !== 'tensorType') return { name: proto.name, dtype: 'float32' };
  return valueFromProto(proto, role);
}

function importNode(node: NodeProto, scope: Scope, index: number, state: Import): Node {
  const name = uniqueName(node.name || `${node.opType}_${index}`, state.nodeNames);
  const label = `node '${name}' (${node.opType})`;
  if (node.opType === '') throw new BraidError('MODEL_INVALID', `node '${name}' has no operator`);
  const domain = normalDomain(node.domain);
  const opset = scope.opsets.get(domain);
  if (opset === undefined) {
    throw new BraidError('MODEL_INVALID', `${label} is of domain '${domain}', which opset_import does not list`);
  }
  const context = attributeContext(scope, state);
  const attributes = Object.fromEntries(
    node.attribute.map((proto): [string, Attribute] => [
      proto.name,
      narrowed(proto, attributeFromProto(proto, label, context), label, state),
    ]),
  );
  return { name, op: node.opType, domain, opset, inputs: node.input, outputs: node.output, attributes };
}

function attributeContext(scope: Scope, state: Import): AttributeContext {
  return {
    readExternal: state.readExternal,
    importGraph: (proto) => importGraph(proto, scope, state, true),
  };
}

function narrowed(proto: AttributeProto, value: Attribute, owner: string, state: Import): Attribute {
  const isTensor = typeof value === 'object' && 'dtype' in value;
  return isTensor ? state.narrowing.narrow(`${proto.name} of ${owner}`, value) : value;
}

function uniqueName(name: string, taken: Set<string>): string {
  let unique = name;
  for (let suffix = 1; taken.has(unique); suffix++) unique = `${name}_${suffix}`;
  taken.add(unique);
  return unique;
}

/** The tensor that a Constant node stands for, in any of the forms its opset allows. */
function constantOf(node: NodeProto, scope: Scope, state: Import): Tensor {
  const name = node.output[0] ?? '';
  const owner = `Constant '${name}'`;
  const [attribute, ...others] = node.attribute;
  if (name === '' || !attribute || others.length > 0) {
    throw new BraidError('MODEL_INVALID', `${owner} needs an output and exactly one value`);
  }
  switch (attribute.name) {
    case 'value_int':
      return { dtype: 'int64', dims: [], data: BigInt64Array.of(attribute.i) };
    case 'value_ints':
      return { dtype: 'int64', dims: [attribute.ints.length], data: BigInt64Array.from(attribute.ints) };
    case 'value_float':
      return tensorOf('float32', [], [attribute.f]);
    case 'value_floats':
      return tensorOf('float32', [attribute.floats.length], attribute.floats);
    case 'value':
    case 'sparse_value': {
      const context = attributeContext(scope, state);
      const value = attributeFromProto(attribute, owner, context);
      if (typeof value === 'object' && 'dtype' in value) return value;
      throw new BraidError('MODEL_INVALID', `${owner} has a '${attribute.name}' that is no tensor`);
    }
    case 'value_string':
    case 'value_strings':
      throw new BraidError('MODEL_UNSUPPORTED', `${owner} is a string, which Braid lacks`);
    default:
      throw new BraidError('MODEL_INVALID', `${owner} has the unknown attribute '${attribute.name}'`);
  }
}

function checkOutputs(outputs: readonly ValueInfo[], nodes: readonly Node[], given: ReadonlySet<string>): void {
  const defined = new Set(given);
  for (const node of nodes) for (const output of node.outputs) defined.add(output);
  const missing = outputs.find((output) => !defined.has(output.name));
  if (missing)
    throw new BraidError('MODEL_INVALID', `output '${missing.name}' is defined by no node, input or constant`);
}

function float64Notices(graph: Graph): string[] {
  const declared = [
    ...graph.inputs.filter((value) => value.dtype === 'float64').map((value) => `input '${value.name}'`),
    ...graph.outputs.filter((value) => value.dtype === 'float64').map((value) => `output '${value.name}'`),
  ];
  return declared.length === 0 ? [] : [`declared float64, computed in float32: ${declared.join(', ')}`];
}

/** From IR 4 on, an initializer that is also an input is a default that a caller may override; Braid fixes it. */
function defaultNotices(model: ParsedModel): string[] {
  if (model.irVersion < 4n) return [];
  const initialized = new Set(model.graph.initializer.map((tensor) => tensor.name));
  const names = model.graph.input.filter((input) => initialized.has(input.name)).map((input) => `'${input.name}'`);
  if (names.length === 0) return [];
  const shown = names.slice(0, 3).join(', ');
  return [`input defaults taken as constants (${names.length}): ${shown}${names.length > 3 ? ', ...' : ''}`];
}
