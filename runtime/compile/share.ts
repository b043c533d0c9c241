import { BraidError } from '../errors.js';
import { symbolsOf } from '../graph/dim.js';
import type { DeclaredDim, Graph, Node } from '../graph/graph.js';
import { BRAID_DOMAIN, renamed, valuesRead } from '../operators/composite.js';
import { analyze, inputType, type AnalyzedGraph, type Sharing } from './analyze.js';
import { analyzeRows, RESTATED, restated, rowFactor } from './rows.js';
import { splitProducts } from './split.js';

/** A graph in which what its rows share has a row a query, and what it takes to tell rows and queries apart. */
export interface SharedGraph {
  readonly graph: Graph;
  readonly sharing: Sharing;
}

export function notShareable(graph: Graph, reason: string): BraidError {
  return new BraidError('MODEL_UNSUPPORTED', `model '${graph.name}': inputs cannot be shared: ${reason}`);
}

/** `wanted`, or that with a number where it is taken. */
function fresh(wanted: string, taken: (name: string) => boolean): string {
  let name = wanted;
  for (let i = 2; taken(name); i++) name = `${wanted}.${i}`;
  return name;
}

/** Names of `shared` and of what is computed from those and constants alone. */
function sharedValues(graph: Graph, shared: ReadonlySet<string>): Set<string> {
  const rows = new Set(graph.inputs.map((i) => i.name).filter((name) => !shared.has(name)));
  const found = new Set(shared);
  for (const node of graph.nodes) {
    const from = [...valuesRead(node)];
    const into = from.some((n) => rows.has(n)) ? rows : from.some((n) => found.has(n)) ? found : undefined;
    for (const name of node.outputs) if (name !== '') into?.add(name);
  }
  return found;
}

function checkNames(graph: Graph, shared: ReadonlySet<string>): void {
  const names = graph.inputs.map((i) => i.name);
  const list = names.map((n) => `'${n}'`).join(', ');
  for (const name of shared) {
    if (!names.includes(name))
      throw new BraidError('INPUT_UNKNOWN', `model '${graph.name}' has no input '${name}' to share; it has ${list}`);
    if (graph.outputs.some((o) => o.name === name)) throw notShareable(graph, `input '${name}' is an output as it is`);
  }
  if (names.every((name) => shared.has(name))) throw notShareable(graph, `an input has to carry rows besides ${list}`);
}

/** The symbol that leads every input which is not shared. */
function rowsOf(graph: Graph, shared: ReadonlySet<string>): string {
  let rows: string | undefined;
  for (const info of graph.inputs) {
    const { shape } = inputType(info);
    const [leading] = shape;
    const text = `'${info.name}' has shape [${shape.map(String).join(', ')}]`;
    if (shared.has(info.name)) {
      if (leading !== 1 && (leading === undefined || typeof leading === 'number'))
        throw notShareable(graph, `${text}; expected a leading dimension that is 1 or has a name`);
      continue;
    }
    const [name] = leading === undefined ? [] : symbolsOf(leading);
    if (name === undefined || name !== (rows ?? name))
      throw notShareable(graph, `${text}, which is not shared; expected ${rows ?? 'a name'} as leading dimension`);
    rows = name;
  }
  return rows!;
}

/**
 * The graph as it is where shared inputs are repeated for every row. An input declared [1, ...] has reshapes behind it
 * that name the 1; they are restated for any number.
 */
function repeated(graph: Graph, shared: ReadonlySet<string>, rows: string): Graph {
  const single = graph.inputs.some((i) => shared.has(i.name) && i.shape![0] === 1);
  const constants = new Map(graph.constants);
  let { nodes } = graph;
  if (single) {
    const fixed = analyze(graph);
    const values = sharedValues(graph, shared);
    nodes = nodes.map((node) => {
      const [output] = node.outputs as [string];
      const type = fixed.types.get(output);
      const names = RESTATED.has(node.op) && values.has(output) && !fixed.known.has(output) && type?.shape[0] === 1;
      const numbers = names && type.shape.every((d) => typeof d === 'number');
      return numbers ? restated(node, type, 1, constants) : node;
    });
  }
  const inputs = graph.inputs.map((i) => ({ ...i, shape: [rows, ...i.shape!.slice(1)] as DeclaredDim[] }));
  return { ...graph, inputs, nodes, constants };
}

/** Rewrites a graph of rows so that what its rows share is computed once a query. */
class Sharer {
  readonly #source: AnalyzedGraph;
  readonly #sharing: Sharing;
  readonly #shared: ReadonlySet<string>;
  readonly #producers = new Map<string, Node>();
  readonly #outputs: ReadonlySet<string>;
  /** What a shared value is called for the rows, where something takes it so. */
  readonly #perRow = new Map<string, string>();
  readonly #nodes: Node[] = [];

  constructor(source: AnalyzedGraph, sharing: Sharing, shared: ReadonlySet<string>) {
    const { graph } = source;
    this.#source = source;
    this.#sharing = sharing;
    this.#shared = shared;
    this.#outputs = new Set(graph.outputs.map((o) => o.name));
    for (const node of graph.nodes) for (const name of node.outputs) this.#producers.set(name, node);
  }

  run(): readonly Node[] {
    for (const node of this.#source.graph.nodes) {
      const once = node.outputs.some((name) => this.#shared.has(name));
      this.#nodes.push(renamed(node, node.name, (name) => (once ? this.#once(name) : this.#rows(name))));
    }
    for (const name of this.#outputs) this.#rows(name);
    return this.#nodes;
  }

  /** The name of a value that queries have once. Outputs keep theirs for the rows, which is how callers get them. */
  #once(name: string): string {
    return this.#shared.has(name) && this.#outputs.has(name) ? this.#fresh(`${name}/query`) : name;
  }

  /** The name of a value for the rows, made where nothing took it so before. */
  #rows(name: string): string {
    if (!this.#shared.has(name)) return name;
    const made = this.#perRow.get(name);
    if (made !== undefined) return made;
    const producer = this.#producers.get(name);
    if (producer && this.#source.known.has(name)) this.#repeat(producer);
    else this.#spread(name);
    return this.#perRow.get(name)!;
  }

  #fresh(name: string): string {
    return fresh(name, (taken) => this.#source.types.has(taken));
  }

  #rowName(name: string): string {
    return this.#outputs.has(name) ? name : this.#fresh(`${name}/rows`);
  }

  /** Sizes are not spread: they are computed again from those of the rows, at load. */
  #repeat(producer: Node): void {
    for (const name of producer.outputs) if (name !== '') this.#perRow.set(name, this.#rowName(name));
    this.#nodes.push(renamed(producer, `${producer.name}/rows`, (name) => this.#rows(name)));
  }

  #spread(name: string): void {
    const { rows, queryOfRow } = this.#sharing;
    const entries = rowFactor(this.#source.types.get(name)!.shape, rows) ?? 1;
    const result = this.#rowName(name);
    this.#perRow.set(name, result);
    // Where there are no rows there is nothing to spread.
    const [op, domain, opset] = entries === 0 ? ['Identity', '', 17] : ['Spread', BRAID_DOMAIN, 1];
    this.#nodes.push({
      name: `${name}/rows`,
      op: op as string,
      domain: domain as string,
      opset: opset as number,
      inputs: entries === 0 ? [this.#once(name)] : [this.#once(name), queryOfRow],
      outputs: [result],
      attributes: entries > 1 ? { entries } : {},
    });
  }
}

/**
 * Lets the inputs `names` have one row a query, shared by all its rows: what depends on them alone is computed once a
 * query. Where it meets the rows, or is an output, Spread repeats it for each of them; a value is spread once, as late as
 * the graph allows. The engine gives Spread the number of each row's query, as one more input.
 * @throws BraidError INPUT_UNKNOWN; MODEL_UNSUPPORTED saying which input or node does not allow it.
 */
export function shareInputs(graph: Graph, names: readonly string[]): SharedGraph {
  const shared = new Set(names);
  checkNames(graph, shared);
  const rows = rowsOf(graph, shared);
  let source: AnalyzedGraph;
  try {
    source = analyze(repeated(graph, shared, rows));
  } catch (error) {
    if (error instanceof BraidError && error.code === 'MODEL_INVALID') throw notShareable(graph, error.message);
    throw error;
  }
  const analysis = analyzeRows(source);
  if (!analysis.parallel) throw notShareable(graph, analysis.reason);
  const split = splitProducts(source, sharedValues(source.graph, shared));
  if (split !== source.graph) source = analyze(split);

  const symbols = new Set(graph.inputs.flatMap((i) => i.shape ?? []));
  const sharing: Sharing = {
    rows,
    queries: fresh('queries', (name) => symbols.has(name)),
    queryOfRow: fresh('query_of_row', (name) => source.types.has(name)),
  };
  const leading = (name: string): string => (shared.has(name) ? sharing.queries : rows);
  return {
    sharing,
    graph: {
      ...source.graph,
      inputs: [
        ...source.graph.inputs.map((i) => ({ ...i, shape: [leading(i.name), ...i.shape!.slice(1)] })),
        { name: sharing.queryOfRow, dtype: 'int32', shape: [rows] },
      ],
      outputs: graph.outputs.map(({ name, dtype }) => ({ name, dtype })),
      nodes: new Sharer(source, sharing, sharedValues(source.graph, shared)).run(),
      notices: [...graph.notices, `shared by all rows of a query: ${[...shared].map((n) => `'${n}'`).join(', ')}`],
    },
  };
}
