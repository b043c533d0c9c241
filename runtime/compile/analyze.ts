import { BraidError } from '../errors.js';
import { symbol, symbolsOf, type Dim } from '../graph/dim.js';
import { isDataType } from '../graph/dtype.js';
import type { DeclaredDim, Graph, Node } from '../graph/graph.js';
import { sizeOf, tensorOf, toFloat64, type Tensor } from '../graph/tensor.js';
import { nodeLabel } from '../operators/attributes.js';
import { Scope, type ExpansionTarget, type Sequence } from '../operators/composite.js';
import { NodeContext, ReferenceContext, type Known, type Operator, type ValueType } from '../operators/operator.js';
import { findComposite, findOperator, missingReason } from '../operators/registry.js';
import type { Epilogue } from './fuse.js';
import { elideCastRoundTrip, elideIdleCast } from './simplify.js';

/** A node that has work to do on the device, with everything inference learned of it. */
export interface AnalyzedNode {
  readonly node: Node;
  readonly operator: Operator;
  readonly context: NodeContext;
  readonly outputs: readonly ValueType[];
  /** What fusion added to a matrix product, or made a chain of. */
  readonly epilogue?: Epilogue;
}

/** What a graph with inputs that queries share has besides: see compile/share.ts. */
export interface Sharing {
  /** The symbol that counts rows. */
  readonly rows: string;
  /** The symbol that counts queries. */
  readonly queries: string;
  /** The input that holds, for each row of a wave, the number of its query. */
  readonly queryOfRow: string;
}

/** A graph after shape inference and folding. */
export interface AnalyzedGraph {
  readonly graph: Graph;
  readonly types: ReadonlyMap<string, ValueType>;
  readonly known: ReadonlyMap<string, Known>;
  /** Nodes left for the device, in topological order: needed for an output and not folded. */
  readonly nodes: readonly AnalyzedNode[];
  /** Nodes that folded or turned out to be unneeded. */
  readonly foldedNodes: number;
  /** The symbol that counts rows; absent where no input has a symbolic leading dimension. */
  readonly rows: string | undefined;
  readonly sharing?: Sharing;
}

/** Constants above this many elements are not made at load where a view can stand for them. */
const LARGEST_FOLDED_EXPANSION = 1 << 16;

/** Leading dimensions without a name, or with a name that tf2onnx makes up for each input, all count the same rows. */
function isAnonymous(dim: DeclaredDim): boolean {
  return dim === null || (typeof dim === 'string' && /^unk__\d+$/.test(dim));
}

/** Name of the symbol for leading dimensions that the model leaves unnamed. */
const ANONYMOUS_ROWS = 'rows';

/** Type of an input as it is declared; a leading dimension without a name counts rows. */
export function inputType(info: Graph['inputs'][number]): ValueType {
  if (!info.shape)
    throw new BraidError('MODEL_UNSUPPORTED', `input '${info.name}' has no declared shape; its rank has to be known`);
  if (!isDataType(info.dtype))
    throw new BraidError('MODEL_UNSUPPORTED', `input '${info.name}' has type ${String(info.dtype)}`);
  const shape = info.shape.map((dim, i): Dim => {
    if (typeof dim === 'number') return dim;
    if (i === 0 && isAnonymous(dim)) return symbol(ANONYMOUS_ROWS);
    return symbol(dim ?? `${info.name}.${i}`);
  });
  return { dtype: info.dtype, shape };
}

/** The symbol that leads most inputs. */
function rowSymbol(types: readonly ValueType[]): string | undefined {
  const votes = new Map<string, number>();
  for (const { shape } of types) {
    for (const name of shape.length > 0 ? symbolsOf(shape[0]!) : []) votes.set(name, (votes.get(name) ?? 0) + 1);
  }
  return [...votes].sort(([, a], [, b]) => b - a)[0]?.[0];
}

/** Every operator the graph needs and Braid lacks, one line a node. */
export function missingOperators(graph: Graph): string[] {
  return graph.nodes
    .filter((n) => !findOperator(n) && !findComposite(n))
    .map((n) => `${nodeLabel(n)}: ${missingReason(n)}`);
}

function checkOperators(graph: Graph): void {
  const missing = missingOperators(graph);
  if (missing.length === 0) return;
  const noun = missing.length === 1 ? 'a node' : `${missing.length} nodes`;
  throw new BraidError(
    'MODEL_UNSUPPORTED',
    `model '${graph.name}' has ${noun} that Braid cannot run:\n  ${missing.join('\n  ')}`,
  );
}

/** Whether running `node` at load would make a large constant out of small ones. */
function expands(outputs: readonly ValueType[], inputs: readonly Tensor[], operator: Operator): boolean {
  if (!operator.lower) return false;
  const made = outputs.reduce((n, t) => n + sizeOf(t.shape as number[]), 0);
  return made > LARGEST_FOLDED_EXPANSION && made > 2 * inputs.reduce((n, t) => n + t.data.length, 0);
}

function foldConstants(
  operator: Operator,
  node: Node,
  inputs: readonly (Tensor | undefined)[],
  outputs: readonly ValueType[],
): Known[] {
  const context = new ReferenceContext(
    node,
    inputs.map((t) => t && { dtype: t.dtype, dims: t.dims, data: toFloat64(t) }),
  );
  return operator.reference(context).map(({ dims, data }, i) => ({
    kind: 'tensor',
    tensor: tensorOf(outputs[i]!.dtype, dims, data),
  }));
}

/** A symbolic value without symbols in it is a plain constant. */
function settle(known: Known | undefined): Known | undefined {
  if (known?.kind !== 'symbolic') return known;
  const { dtype, dims, elements } = known.value;
  if (!elements.every((e) => typeof e === 'number')) return known;
  return { kind: 'tensor', tensor: tensorOf(dtype, dims, elements) };
}

/**
 * Infers the type of every value, folds what is known at load and drops what no output needs.
 *
 * Shape, Gather, Concat and Reshape chains that exporters emit are followed with symbolic elements, so that they are
 * gone before the device sees the graph.
 * @throws BraidError MODEL_UNSUPPORTED with the full list of missing operators, or naming the node that does not fit;
 *   MODEL_INVALID where the model contradicts itself.
 */
export function analyze(graph: Graph, sharing?: Sharing): AnalyzedGraph {
  checkOperators(graph);
  const types = new Map<string, ValueType>();
  const known = new Map<string, Known>();
  for (const [name, value] of graph.constants) {
    types.set(name, { dtype: value.dtype, shape: value.dims });
    known.set(name, { kind: 'tensor', tensor: value });
  }
  for (const info of graph.inputs) types.set(info.name, inputType(info));

  const done: AnalyzedNode[] = [];
  const producers = new Map<string, Node>();
  const sequences = new Map<string, Sequence>();
  const isDefined = (name: string): boolean => types.has(name) || sequences.has(name);
  const visit = (node: Node): void => {
    const absent = node.inputs.find((name) => name !== '' && !isDefined(name));
    if (absent !== undefined)
      throw new BraidError('MODEL_INVALID', `${nodeLabel(node)}: input '${absent}' is not defined`);
    const at = <T>(map: ReadonlyMap<string, T>): (T | undefined)[] => node.inputs.map((name) => map.get(name));
    const context = new NodeContext(node, at(types), at(known));
    const composite = findComposite(node);
    if (composite) {
      composite.expand(context, new Scope(expansion, node));
      const missing = node.outputs.find((name) => name !== '' && !isDefined(name));
      if (missing !== undefined) throw context.unsupported(`output '${missing}'`);
      return;
    }
    const list = node.inputs.find((name) => sequences.has(name));
    if (list !== undefined) {
      if (node.op !== 'Identity') throw context.invalid(`input '${list}' is a sequence, expected a tensor`);
      sequences.set(node.outputs[0]!, sequences.get(list)!);
      return;
    }
    const operator = findOperator(node);
    if (!operator) throw context.unsupported(missingReason(node));
    const outputs = operator.infer(context);
    const values = at(known);
    const constants = values.map((k) => (k?.kind === 'tensor' ? k.tensor : undefined));
    const isConstant = node.inputs.every((name, i) => name === '' || constants[i]);
    const results =
      isConstant &&
      !expands(
        outputs,
        constants.filter((t) => t !== undefined),
        operator,
      )
        ? foldConstants(operator, node, constants, outputs)
        : (operator.fold?.(context, outputs) ?? []);
    node.outputs.forEach((name, i) => {
      if (name === '' || !outputs[i]) return;
      types.set(name, outputs[i]);
      producers.set(name, node);
      const value = settle(results[i]);
      if (value) known.set(name, value);
    });
    done.push({ node, operator, context, outputs });
  };
  const simplify = (node: Node): void => {
    const replacements = elideIdleCast(node, types) ?? elideCastRoundTrip(node, types, producers) ?? [node];
    for (const replacement of replacements) visit(replacement);
  };
  const expansion: ExpansionTarget = {
    visit: simplify,
    define(name, value) {
      const settled = settle(value)!;
      const { dtype, dims } = settled.kind === 'tensor' ? settled.tensor : settled.value;
      types.set(name, { dtype, shape: dims });
      known.set(name, settled);
    },
    type: (name) => types.get(name)!,
    known: (name) => known.get(name),
    producer: (name) => producers.get(name),
    sequence: (name) => sequences.get(name),
    defineSequence: (name, sequence) => void sequences.set(name, sequence),
  };
  for (const node of graph.nodes) simplify(node);

  const undefinedOutput = graph.outputs.find((o) => !types.has(o.name));
  if (undefinedOutput)
    throw new BraidError('MODEL_INVALID', `output '${undefinedOutput.name}' is not produced by any node`);
  const nodes = needed(graph, done, known);
  for (const { node, operator } of nodes) {
    if (operator.lower) continue;
    throw new BraidError(
      'MODEL_UNSUPPORTED',
      `${nodeLabel(node)}: has to be known at load, but depends on the data of the inputs`,
    );
  }
  return {
    graph,
    types,
    known,
    nodes,
    foldedNodes: done.length - nodes.length,
    rows: sharing?.rows ?? rowSymbol(graph.inputs.map((i) => types.get(i.name)!)),
    ...(sharing ? { sharing } : {}),
  };
}

/** The nodes that an output needs. */
export function needed(graph: Graph, done: readonly AnalyzedNode[], known: ReadonlyMap<string, Known>): AnalyzedNode[] {
  const wanted = new Set(graph.outputs.map((o) => o.name).filter((name) => !known.has(name)));
  const kept: AnalyzedNode[] = [];
  for (const analyzed of [...done].reverse()) {
    const { node } = analyzed;
    if (!node.outputs.some((name) => wanted.has(name))) continue;
    kept.push(analyzed);
    for (const name of node.inputs) if (name !== '' && !known.has(name)) wanted.add(name);
  }
  return kept.reverse();
}
