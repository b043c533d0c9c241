import { create } from '@bufbuild/protobuf';
import { NodeProtoSchema, type AttributeProto, type FunctionProto } from 'onnx-buf';
import type { GraphProto, ModelProto, NodeProto } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import { normalDomain, opsetsOf, type Opsets } from './opsets.js';

/** Where nodes stand: which versions of operators they are written against, and which functions they came out of. */
export interface Scope {
  readonly opsets: Opsets;
  /** Keys of the functions whose bodies enclose the nodes, by which recursion is found. */
  readonly within: readonly string[];
}

/** A node that calls no function, with the scope that it and the graphs in its attributes stand in. */
export interface Call {
  readonly node: NodeProto;
  readonly scope: Scope;
}

/** The functions of a model, and how many of their nodes were inlined so far. */
export interface Functions {
  readonly byKey: ReadonlyMap<string, FunctionProto>;
  inlinedNodes: number;
}

/** Functions may call functions, so a small file can ask for a number of nodes that is exponential in its size. */
const MAX_INLINED_NODES = 100_000;
/** Bounds the recursion; exporters nest a handful. */
const MAX_DEPTH = 100;

const key = (domain: string, name: string, overload: string): string =>
  JSON.stringify([normalDomain(domain), name, overload]);

export function functionsOf(model: ModelProto): Functions {
  return { byKey: new Map(model.functions.map((fn) => [key(fn.domain, fn.name, fn.overload), fn])), inlinedNodes: 0 };
}

/**
 * Replaces every call of a function by the function's body, until only operators remain. Names inside the body are
 * prefixed by the name of the call, so that no two calls share a value. Bodies of control-flow nodes are left for when
 * they are imported themselves.
 * @param given names that the graph defines without a node.
 * @throws BraidError MODEL_INVALID for a function that calls itself, MODEL_UNSUPPORTED past MAX_INLINED_NODES or
 *   MAX_DEPTH.
 */
export function inlineFunctions(
  nodes: readonly NodeProto[],
  scope: Scope,
  functions: Functions,
  given: Iterable<string>,
): Call[] {
  if (functions.byKey.size === 0) return nodes.map((node) => ({ node, scope }));
  const taken = new Set(given);
  for (const node of nodes) for (const name of [...node.input, ...node.output]) taken.add(name);
  const calls: Call[] = [];
  const visit = (node: NodeProto, scope: Scope, index: number): void => {
    const id = key(node.domain, node.opType, node.overload);
    const fn = functions.byKey.get(id);
    if (!fn) {
      calls.push({ node, scope });
      return;
    }
    if (scope.within.includes(id)) {
      throw new BraidError('MODEL_INVALID', `function '${fn.name}' of domain '${fn.domain}' calls itself`);
    }
    if (scope.within.length === MAX_DEPTH) {
      throw new BraidError('MODEL_UNSUPPORTED', `the model's functions nest deeper than ${MAX_DEPTH}`);
    }
    // A call counts as a node too, for functions with nothing in them can call each other just as often.
    functions.inlinedNodes += fn.node.length + 1;
    if (functions.inlinedNodes > MAX_INLINED_NODES) {
      throw new BraidError('MODEL_UNSUPPORTED', `the model's functions expand to over ${MAX_INLINED_NODES} nodes`);
    }
    const opsets = new Map([...scope.opsets, ...opsetsOf(fn.opsetImport)]);
    const inner: Scope = { opsets, within: [...scope.within, id] };
    const body = bodyOf(fn, node, node.name || `${node.opType}_${index}`, taken);
    for (const [at, part] of body.entries()) visit(part, inner, at);
  };
  for (const [index, node] of nodes.entries()) visit(node, scope, index);
  return calls;
}

/** The body of a function as nodes of the caller: values renamed, references to the function's attributes resolved. */
function bodyOf(fn: FunctionProto, call: NodeProto, prefix: string, taken: Set<string>): NodeProto[] {
  if (call.input.length > fn.input.length || call.output.length > fn.output.length) {
    throw new BraidError(
      'MODEL_INVALID',
      `node '${prefix}' passes ${call.input.length} inputs and ${call.output.length} outputs to function '${fn.name}', ` +
        `which has ${fn.input.length} and ${fn.output.length}`,
    );
  }
  const names = new Map<string, string>(fn.input.map((formal, i) => [formal, call.input[i] ?? '']));
  const passedThrough: NodeProto[] = [];
  for (const [i, formal] of fn.output.entries()) {
    const actual = call.output[i] ?? '';
    const source = names.get(formal);
    if (actual === '') continue;
    if (source === undefined) names.set(formal, actual);
    else passedThrough.push(identity(source, actual, `${prefix}/Identity_${i}`));
  }
  const rename = (name: string): string => {
    if (name === '') return '';
    const known = names.get(name);
    if (known !== undefined) return known;
    let fresh = `${prefix}/${name}`;
    while (taken.has(fresh)) fresh += '_';
    taken.add(fresh);
    names.set(name, fresh);
    return fresh;
  };

  const attributes = new Map(fn.attributeProto.map((attribute) => [attribute.name, attribute]));
  for (const attribute of call.attribute) attributes.set(attribute.name, attribute);

  const body = fn.node.map((node, index) => {
    const copy = rewrite(node, rename, attributes);
    copy.name = `${prefix}/${node.name || `${node.opType}_${index}`}`;
    return copy;
  });
  return [...body, ...passedThrough];
}

type AttributeTable = ReadonlyMap<string, AttributeProto>;

function rewrite(node: NodeProto, rename: (name: string) => string, attributes: AttributeTable): NodeProto {
  return create(NodeProtoSchema, {
    name: node.name,
    opType: node.opType,
    domain: node.domain,
    overload: node.overload,
    input: node.input.map(rename),
    output: node.output.map(rename),
    attribute: node.attribute.flatMap((attribute) => resolve(attribute, rename, attributes)),
  });
}

/** An attribute with its reference resolved, or nothing: a reference to an attribute that the caller left out is absent. */
function resolve(
  attribute: AttributeProto,
  rename: (name: string) => string,
  attributes: AttributeTable,
): AttributeProto[] {
  if (attribute.refAttrName !== '') {
    const given = attributes.get(attribute.refAttrName);
    // The caller's attribute is already in the caller's names.
    return given ? [changed(given, { name: attribute.name })] : [];
  }
  if (!attribute.g) return [attribute];
  return [changed(attribute, { g: rewriteGraph(attribute.g, rename, attributes) })];
}

/**
 * A copy that shares its parts, for a deep one would duplicate tensors. It keeps the prototype, where a proto2 message
 * has the defaults of its unset fields.
 */
function changed<T extends object>(message: T, changes: Partial<T>): T {
  return Object.assign(Object.create(Object.getPrototypeOf(message) as object) as T, message, changes);
}

function rewriteGraph(graph: GraphProto, rename: (name: string) => string, attributes: AttributeTable): GraphProto {
  const renamed = <T extends { name: string }>(part: T): T =>
    changed(part, { name: rename(part.name) } as unknown as Partial<T>);
  return changed(graph, {
    node: graph.node.map((node) => rewrite(node, rename, attributes)),
    input: graph.input.map(renamed),
    output: graph.output.map(renamed),
    valueInfo: graph.valueInfo.map(renamed),
    initializer: graph.initializer.map(renamed),
    sparseInitializer: graph.sparseInitializer.map((sparse) =>
      sparse.values ? changed(sparse, { values: renamed(sparse.values) }) : sparse,
    ),
  });
}

function identity(input: string, output: string, name: string): NodeProto {
  return create(NodeProtoSchema, { opType: 'Identity', name, input: [input], output: [output] });
}
