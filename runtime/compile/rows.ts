import { BraidError } from '../errors.js';
import { divideExact, mul, product, shapeText, symbol, symbolsOf, type Dim } from '../graph/dim.js';
import type { Graph, Node } from '../graph/graph.js';
import { tensorOf } from '../graph/tensor.js';
import { nodeLabel } from '../operators/attributes.js';
import type { RowContext, ValueType } from '../operators/operator.js';
import { analyze, type AnalyzedGraph } from './analyze.js';
import { RENAMING } from './simplify.js';

/** Whether a plan computes every row from that row alone. If not, `reason` says what mixes them. */
export type RowAnalysis = { readonly parallel: true } | { readonly parallel: false; readonly reason: string };

/** The one dimension that depends on rows, and is a multiple of their number; undefined where there is no such. */
function rowAxis(shape: readonly Dim[], rows: string): number | undefined {
  const axes = shape.flatMap((d, i) => (symbolsOf(d).has(rows) ? [i] : []));
  const [axis] = axes;
  if (axis === undefined || axes.length > 1) return undefined;
  return typeof divideExact(shape[axis]!, symbol(rows)) === 'number' ? axis : undefined;
}

/**
 * How many times the row symbol the leading dimension is; 0 where the shape does not depend on rows, undefined where it
 * depends on them in another way.
 */
export function rowFactor(shape: readonly Dim[], rows: string): number | undefined {
  if (!shape.some((d) => symbolsOf(d).has(rows))) return 0;
  if (shape.slice(1).some((d) => symbolsOf(d).has(rows))) return undefined;
  const factor = divideExact(shape[0]!, symbol(rows));
  return typeof factor === 'number' ? factor : undefined;
}

/** As rowFactor, where a value may carry rows or queries, but not both. */
function leadingFactor(shape: readonly Dim[], symbols: readonly string[]): number | undefined {
  const factors = symbols.map((s) => rowFactor(shape, s));
  const carried = factors.filter((f) => f !== 0);
  return carried.length > 1 ? undefined : factors.includes(undefined) ? undefined : (carried[0] ?? 0);
}

/**
 * A dimension that is a multiple of the rows may hold all rows time and again, rather than each row's own elements
 * together: [steps, rows] that became one dimension does. What it holds before the rows is its run, 1 for a row's own.
 * @returns that of a shape renamed from one whose dimension had `run`; undefined where rows are no part of it any more.
 */
function renamedRun(from: readonly Dim[], to: readonly Dim[], rows: string, run: number): number | undefined {
  const [before, after] = [rowAxis(from, rows), rowAxis(to, rows)];
  if (before === undefined) return 1;
  if (after === undefined) return undefined;
  const ahead = mul(product(from.slice(0, before)), run);
  const renamed = divideExact(ahead, product(to.slice(0, after)));
  const factor = divideExact(to[after]!, symbol(rows));
  if (typeof renamed !== 'number' || typeof factor !== 'number') return undefined;
  return factor % renamed === 0 ? renamed : undefined;
}

/** The run that all operands share; undefined where they differ. */
function commonRun(runs: readonly number[]): number | undefined {
  return runs.every((run) => run === runs[0]) ? (runs[0] ?? 1) : undefined;
}

/**
 * Decides whether rows may be concatenated and cut at will: queries then share waves, and any number of rows runs in
 * chunks. Shapes show most of it; operators add what shapes do not show. What queries' rows share is held to the same:
 * one query of it may not depend on another.
 */
export function analyzeRows(analyzed: AnalyzedGraph): RowAnalysis {
  const { rows, sharing, types } = analyzed;
  if (rows === undefined) return { parallel: false, reason: 'no input has a symbolic leading dimension' };
  const symbols = sharing ? [rows, sharing.queries] : [rows];
  const axisOf = (name: string): number | undefined => {
    const type = types.get(name);
    const axes = type ? symbols.map((s) => rowAxis(type.shape, s)).filter((axis) => axis !== undefined) : [];
    return axes.length === 1 ? axes[0] : undefined;
  };
  for (const { name } of analyzed.graph.inputs) {
    const { shape } = types.get(name)!;
    if (leadingFactor(shape, symbols) === undefined)
      return { parallel: false, reason: `input '${name}' has shape ${shapeText(shape)}` };
  }
  const carried = (name: string): string => {
    const type = types.get(name);
    return (type && symbols.find((s) => rowAxis(type.shape, s) !== undefined)) ?? rows;
  };
  const runs = new Map<string, number>();
  const runOf = (name: string): number => runs.get(name) ?? 1;
  for (const { node, operator, context } of analyzed.nodes) {
    const label = nodeLabel(node);
    const axes = node.inputs.map(axisOf);
    const out = node.outputs.filter((o) => o !== '');
    const outputAxis = out.length === 0 ? undefined : axisOf(out[0]!);
    const row: RowContext = {
      context,
      carriesRows: (i) => axes[i] === 0,
      rowAxis: (i) => axes[i],
      outputAxis,
      outputRank: out.length === 0 ? 0 : types.get(out[0]!)!.shape.length,
    };
    const carrying = node.inputs.filter((name) => axisOf(name) !== undefined);
    const data = carrying.filter((name) => !analyzed.known.has(name));
    const run = RENAMING.has(node.op)
      ? renamedRun(context.input(0).shape, types.get(out[0]!)!.shape, carried(node.inputs[0]!), runOf(node.inputs[0]!))
      : commonRun(carrying.map(runOf));
    for (const name of out) {
      const { shape } = types.get(name)!;
      const elsewhere = axisOf(name) !== undefined && operator.keepsRows?.(row) === true;
      if (leadingFactor(shape, symbols) === undefined && !elsewhere)
        return { parallel: false, reason: `${label} makes shape ${shapeText(shape)}` };
      if (data.length > 0 && axisOf(name) === undefined)
        return { parallel: false, reason: `${label} reduces over the rows` };
      if (run !== undefined && run !== 1) runs.set(name, run);
    }
    const elsewhere =
      [...axes, outputAxis].some((axis) => axis !== undefined && axis > 0) ||
      [...carrying, ...out].some((name) => runOf(name) !== 1);
    const apart = elsewhere ? operator.keepsRows?.(row) === true : operator.rows(row) === 'parallel';
    if (!apart || run === undefined) return { parallel: false, reason: `${label} mixes rows` };
  }
  for (const { name } of analyzed.graph.outputs) {
    const { shape } = types.get(name)!;
    const maker = analyzed.nodes.find(({ node }) => node.outputs.includes(name));
    if (maker && (leadingFactor(shape, symbols) === undefined || runOf(name) !== 1))
      return { parallel: false, reason: `${nodeLabel(maker.node)} makes shape ${shapeText(shape)}` };
  }
  return { parallel: true };
}

/** Name of the symbol that a lifted graph counts its rows by. */
const LIFTED_ROWS = 'rows';

/** Operators whose target shape a lifted graph has to restate. */
export const RESTATED = new Set(['Reshape', 'Flatten']);

/** `node`, a Reshape or Flatten that makes `type` of `batch` rows, for any number of rows. */
export function restated(
  node: Node,
  type: ValueType,
  batch: number,
  constants: Map<string, ReturnType<typeof tensorOf>>,
): Node {
  const shape = type.shape as readonly number[];
  if (shape.length === 0 || shape[0]! % batch !== 0) {
    throw new BraidError(
      'MODEL_UNSUPPORTED',
      `${nodeLabel(node)}: shape ${shapeText(shape)} does not start with the ${batch} rows to lift`,
    );
  }
  const name = `${node.name}/lifted_shape`;
  constants.set(name, tensorOf('int64', [shape.length], [-1, ...shape.slice(1)]));
  return { ...node, op: 'Reshape', opset: Math.max(node.opset, 7), inputs: [node.inputs[0]!, name], attributes: {} };
}

/**
 * Turns the fixed leading dimension that every input shares (1, or the batch of the export) into a free number of rows.
 *
 * Inference with the fixed sizes gives each Reshape and Flatten its shape; they are restated with -1 in front, which
 * keeps what a row is. The result is checked: every value must have grown in its leading dimension alone, and every
 * operator must treat rows apart.
 * @throws BraidError MODEL_UNSUPPORTED naming the input or node that does not allow it.
 */
export function liftRows(graph: Graph): Graph {
  const batches = new Set(graph.inputs.map((i) => i.shape?.[0]));
  const [batch] = batches;
  if (batches.size !== 1 || typeof batch !== 'number' || batch < 1) {
    const found = graph.inputs.map(
      (i) => `'${i.name}' ${i.shape ? shapeText(i.shape.map(String) as never) : 'without a shape'}`,
    );
    throw new BraidError(
      'MODEL_UNSUPPORTED',
      `rows can be lifted where all inputs share one fixed leading dimension; found ${found.join(', ')}`,
    );
  }
  const fixed = analyze(graph);
  const constants = new Map(graph.constants);
  const nodes = graph.nodes.map((node) => {
    if (!RESTATED.has(node.op) || fixed.known.has(node.outputs[0]!)) return node;
    return restated(node, fixed.types.get(node.outputs[0]!)!, batch, constants);
  });
  const rows = (shape: readonly (number | string | null)[]): (number | string | null)[] => [
    LIFTED_ROWS,
    ...shape.slice(1),
  ];
  const lifted: Graph = {
    ...graph,
    constants,
    nodes,
    inputs: graph.inputs.map((i) => ({ ...i, shape: rows(i.shape!) })),
    outputs: graph.outputs.map(({ name, dtype }) => ({ name, dtype })),
    notices: [...graph.notices, `leading dimension ${batch} of every input lifted to a free number of rows`],
  };
  const analyzed = analyze(lifted);
  const analysis = analyzeRows(analyzed);
  if (!analysis.parallel) throw new BraidError('MODEL_UNSUPPORTED', `rows cannot be lifted: ${analysis.reason}`);
  for (const { name } of graph.outputs) {
    const before = fixed.types.get(name)!.shape;
    const after = analyzed.types.get(name)!.shape;
    const grown = after.length === before.length && after.slice(1).every((d, i) => d === before[i + 1]);
    if (!grown) {
      throw new BraidError(
        'MODEL_UNSUPPORTED',
        `rows cannot be lifted: output '${name}' became ${shapeText(after)} from ${shapeText(before)}`,
      );
    }
  }
  return lifted;
}
