import { add, evaluate, symbolsOf, type Bindings, type Dim } from '../graph/dim.js';
import type { Graph } from '../graph/graph.js';
import { BraidError } from '../errors.js';
import { analyze, type AnalyzedGraph } from './analyze.js';
import { fuseChains } from './chains.js';
import { fuseEpilogues } from './fuse.js';
import { joinProducts } from './joined-products.js';
import { joinSums } from './joined-sums.js';
import { fuseLookups } from './lookups.js';
import { fuseInteractions } from './interaction.js';
import { productsOf, type DeviceCaps, type KernelTarget, type ProductPrecision } from './kernel.js';
import type { LowerOptions, OutputSource, Program } from './lower.js';
import { fusePerceptrons } from './perceptron.js';
import { rowPitches } from './row-pitch.js';
import { turnWeights } from './turned-weights.js';
import { pickProducts } from './picked-product.js';
import { checkPrecision, lowerWith, type Precision, type PrecisionReport } from './precision.js';
import { analyzeRows, liftRows, rowFactor, type RowAnalysis } from './rows.js';
import { fuseSelfAttention } from './self-attention.js';
import { fuseShortAttention } from './short-attention.js';
import { fuseTargetAttention } from './target-attention.js';
import { splitLayers } from './split-layer.js';
import { allocate, writeNumber, type DataType, type TensorData } from '../graph/dtype.js';
import { notShareable, shareInputs } from './share.js';
import { viewText } from './view.js';

/** How a model is to be compiled, whatever the device. */
export interface ModelSettings {
  /** `lift` frees the fixed leading dimension that all inputs share; see liftRows. */
  readonly rows?: 'auto' | 'lift';
  /** Names of the inputs that all rows of a query share; see compile/share.ts. */
  readonly shared?: readonly string[];
  /** As what weights are stored; see compile/precision.ts. */
  readonly precision?: Precision;
  /** As what matrix products multiply, where the device can. Default: float32. */
  readonly products?: ProductPrecision;
}

export interface CompileOptions extends Omit<LowerOptions, 'packed' | 'pitches'>, ModelSettings {
  /** What the device can do, which decides what is fused. Default: a GPU with room for common workgroups. */
  readonly caps?: DeviceCaps;
}

const COMMON_CAPS: DeviceCaps = {
  software: false,
  maxWorkgroupInvocations: 256,
  maxWorkgroupBytes: 32_768,
  maxWorkgroupsPerDimension: 65_535,
  features: new Set(),
  multipliesHalves: false,
};

/** A declared input or output with the shape that inference gave it. */
export interface PlanValue {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly Dim[];
  /** Whether all rows of a query share this input, whose leading dimension is then 1. */
  readonly shared?: true;
}

/** A compiled model: what to run and the memory it takes, for any number of rows. Backends make it executable. */
export interface Plan {
  readonly name: string;
  /** What a query gives. The program has one input more where `queries` is set: the number of each row's query. */
  readonly inputs: readonly PlanValue[];
  readonly outputs: readonly PlanValue[];
  readonly program: Program;
  /** The symbol that counts rows, where there is one. */
  readonly rows: string | undefined;
  /** The symbol that counts the queries of a wave, where they have inputs that their rows share. */
  readonly queries: string | undefined;
  readonly rowAnalysis: RowAnalysis;
  /** Whether queries may be concatenated over their rows: rows are computed apart and every input carries them or is shared. */
  readonly concatenable: boolean;
  /** Symbols other than rows: queries must agree on them to share a wave. */
  readonly otherSymbols: readonly string[];
  readonly operators: Readonly<Record<string, number>>;
  readonly foldedNodes: number;
  readonly parameters: number;
  readonly precision: PrecisionReport;
  readonly products: ProductPrecision;
  readonly notices: readonly string[];
}

function countOperators(graph: Graph): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { op } of graph.nodes) counts[op] = (counts[op] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Patterns of whole layers before operators in a row: they are told by the nodes that fusion would join. Layers that
 * follow each other come last, once each is a node.
 */
function fuse(analyzed: AnalyzedGraph, target: KernelTarget): AnalyzedGraph {
  return [
    splitLayers,
    fuseShortAttention,
    pickProducts,
    fuseInteractions,
    fuseLookups,
    joinSums,
    fuseChains,
    fuseEpilogues,
    fuseTargetAttention,
    fuseSelfAttention,
    fusePerceptrons,
    joinProducts,
  ].reduce((graph, pass) => pass(graph, target), analyzed);
}

/** Compiles a graph. @throws BraidError MODEL_UNSUPPORTED, MODEL_INVALID, REQUEST_INVALID. */
export function compile(graph: Graph, options: CompileOptions): Plan {
  const { precision = {}, caps = COMMON_CAPS, products = 'float32' } = options;
  checkPrecision(precision);
  const source = options.rows === 'lift' ? liftRows(graph) : graph;
  const shared = options.shared && options.shared.length > 0 ? shareInputs(source, options.shared) : undefined;
  const analyzed = shared ? analyze(shared.graph, shared.sharing) : analyze(source);
  const target = { ...caps, products };
  const fused = turnWeights(fuse(analyzed, target), target);
  const { program, report } = lowerWith(
    fused,
    { ...options, pitches: rowPitches(fused, target) },
    precision,
    productsOf(target) === 'float16',
  );
  const shown = analyzeRows(analyzed);
  const { countsRows } = program;
  const rowAnalysis: RowAnalysis =
    shown.parallel && countsRows !== undefined
      ? { parallel: false, reason: `'${countsRows}' reckons with the number of rows` }
      : shown;
  if (shared && !rowAnalysis.parallel) throw notShareable(source, rowAnalysis.reason);
  const value = ({ name }: { name: string }): PlanValue => ({ name, ...analyzed.types.get(name)! });
  const { rows } = analyzed;
  const inputs = source.inputs.map((input): PlanValue => {
    const given = value(input);
    return options.shared?.includes(input.name)
      ? { ...given, shape: [1, ...given.shape.slice(1)], shared: true }
      : given;
  });
  return {
    name: source.name,
    inputs,
    outputs: source.outputs.map(value),
    program,
    rows,
    queries: shared?.sharing.queries,
    rowAnalysis,
    concatenable:
      rowAnalysis.parallel && rows !== undefined && inputs.every((i) => i.shared || rowFactor(i.shape, rows) === 1),
    otherSymbols: otherSymbols(analyzed),
    operators: countOperators(graph),
    foldedNodes: analyzed.foldedNodes,
    products,
    parameters: program.weights.reduce((n, w) => n + w.tensor.data.length, 0),
    precision: report,
    notices: [...(shared?.graph ?? source).notices, ...report.outOfRange.map(outOfRangeNotice)],
  };
}

function outOfRangeNotice(name: string): string {
  return `weight '${name}' is stored in more bits than asked: these do not hold its values`;
}

function otherSymbols({ graph, types, rows, sharing }: AnalyzedGraph): string[] {
  const symbols = new Set(graph.inputs.flatMap((i) => types.get(i.name)!.shape.flatMap((d) => [...symbolsOf(d)])));
  if (rows !== undefined) symbols.delete(rows);
  if (sharing) symbols.delete(sharing.queries);
  return [...symbols].sort();
}

/**
 * What the symbols stand for in a query with inputs of these sizes.
 * @throws BraidError INPUT_SHAPE naming the input, what was found and what was expected.
 */
export function bindSymbols(inputs: readonly PlanValue[], dims: readonly (readonly number[])[]): Map<string, number> {
  const bindings = new Map<string, number>();
  const origin = new Map<string, string>();
  inputs.forEach((input, i) => {
    const found = dims[i]!;
    const shared = input.shared ? ': all rows of a query share this input' : '';
    const refuse = (detail = ''): BraidError =>
      new BraidError(
        'INPUT_SHAPE',
        `input '${input.name}': found shape [${found.join(', ')}], expected [${input.shape.map(String).join(', ')}]${detail}${shared}`,
      );
    if (found.length !== input.shape.length) throw refuse();
    input.shape.forEach((dim, d) => {
      const size = found[d]!;
      if (typeof dim === 'number') {
        if (size !== dim) throw refuse();
        return;
      }
      const name = String(dim);
      const known = bindings.get(name);
      if (known === undefined) {
        if (!Number.isInteger(size) || size < 0) throw refuse();
        bindings.set(name, size);
        origin.set(name, input.name);
      } else if (known !== size) {
        throw refuse(` with ${name} = ${known} from input '${origin.get(name)}'`);
      }
    });
  });
  return bindings;
}

/** Bindings of a wave of `plan`, its other symbols as in `bindings`. */
export function waveBindings(plan: Plan, bindings: Bindings, rows: number, queries: number): Map<string, number> {
  const all = new Map(bindings);
  if (plan.rows !== undefined) all.set(plan.rows, rows);
  if (plan.queries !== undefined) all.set(plan.queries, queries);
  return all;
}

/** Sizes of a shape under bindings. */
export function concreteShape(shape: readonly Dim[], bindings: Bindings): number[] {
  return shape.map((d) => evaluate(d, bindings));
}

/** The elements of an output that was known at load, up to the sizes of the query. */
export function knownData(output: Extract<OutputSource, { kind: 'known' }>, bindings: Bindings): TensorData {
  if (output.known.kind === 'tensor') return output.known.tensor.data.slice();
  const { dtype, elements } = output.known.value;
  const data = allocate(dtype, elements.length);
  elements.forEach((e, i) => writeNumber(dtype, data, i, evaluate(e, bindings)));
  return data;
}

/** The plan as lines of text, a step a line: what `braid inspect` prints and tests read. */
export function printPlan(plan: Plan): string[] {
  return plan.program.steps.map((step) => {
    const side = (access: 'read' | 'write'): string =>
      step.operands
        .filter((o) => o.access === access)
        .map((o) => viewText(o.view))
        .join(', ');
    return `${step.kernel}(${side('read')}) -> ${side('write')}${step.detail ? `  {${step.detail}}` : ''}`;
  });
}

/** Operations and bytes of all steps, as formulas over the symbols. */
export function planCost(plan: Plan): { operations: Dim; bytes: Dim } {
  return plan.program.steps.reduce<{ operations: Dim; bytes: Dim }>(
    (sum, { cost }) => ({ operations: add(sum.operations, cost.operations), bytes: add(sum.bytes, cost.bytes) }),
    { operations: 0, bytes: 0 },
  );
}
