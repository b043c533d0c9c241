import { equal } from '../../graph/dim.js';
import type { Graph, Node } from '../../graph/graph.js';
import { toFloat64 } from '../../graph/tensor.js';
import { BRAID_DOMAIN, type Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';

const MODES: Readonly<Record<string, string>> = { ReduceSum: 'sum', ReduceMean: 'mean', ReduceMax: 'max' };

/** Operators that leave a single number, or what is carried, as it is. */
const PASSING = new Set(['Unsqueeze', 'Squeeze', 'Reshape', 'Identity', 'Cast']);

/** The nodes of a loop's body by what they make, and what its names stand for. */
class Body {
  readonly graph: Graph;
  readonly #scope: Scope;
  readonly #producers = new Map<string, Node>();

  constructor(graph: Graph, scope: Scope) {
    this.graph = graph;
    this.#scope = scope;
    for (const node of graph.nodes) for (const output of node.outputs) this.#producers.set(output, node);
  }

  producer(name: string | undefined): Node | undefined {
    return name === undefined ? undefined : this.#producers.get(name);
  }

  /** Whether `name` is a value from around the loop. */
  isOuter(name: string | undefined): name is string {
    const own = name === undefined || name === '' || this.#producers.has(name) || this.graph.constants.has(name);
    return !own && !this.graph.inputs.some((i) => i.name === name);
  }

  numbers(name: string | undefined): readonly number[] | undefined {
    if (name === undefined || name === '') return undefined;
    const tensor = this.graph.constants.get(name) ?? (this.isOuter(name) ? this.#scope.tensor(name) : undefined);
    return tensor && [...toFloat64(tensor)];
  }

  /** What `name` is before it was reshaped or cast. */
  origin(name: string | undefined): string | undefined {
    let at = name;
    for (let node = this.producer(at); node && PASSING.has(node.op); node = this.producer(at)) at = node.inputs[0];
    return at;
  }

  /** The list from around the loop of which `name` is the element of this iteration. */
  elementOf(name: string | undefined): string | undefined {
    const pick = this.producer(this.origin(name));
    if (pick?.op !== 'Gather' || (pick.attributes['axis'] ?? 0) !== 0) return undefined;
    const [list, at] = pick.inputs;
    return this.origin(at) === this.graph.inputs[0]!.name && this.isOuter(list) ? list : undefined;
  }

  /** What `node` slices from a value around the loop, where it takes the rows of one bag. */
  bagOf(node: Node | undefined): { list: string; starts: string; ends: string } | undefined {
    if (node?.op !== 'Slice' || !this.isOuter(node.inputs[0])) return undefined;
    const [list, from, to, axes, steps] = node.inputs;
    const [starts, ends] = [this.elementOf(from), this.elementOf(to)];
    const plain = (this.numbers(axes) ?? [0]).join() === '0' && (this.numbers(steps) ?? [1]).join() === '1';
    return starts !== undefined && ends !== undefined && plain ? { list: list!, starts, ends } : undefined;
  }

  /** Whether the loop never ends itself. */
  goesOn(): boolean {
    const condition = this.origin(this.graph.outputs[0]!.name);
    return condition === this.graph.inputs[1]!.name || this.numbers(condition)?.[0] === 1;
  }
}

function sumsFirstAxis(body: Body, node: Node): boolean {
  const axes = node.attributes['axes'] ?? body.numbers(node.inputs[1]);
  return Array.isArray(axes) && axes.join() === '0' && node.attributes['keepdims'] === 0;
}

/**
 * PyTorch's TorchScript exporter writes torch.nn.EmbeddingBag as a loop over the bags: slice the indices by offsets,
 * gather their rows, weigh them, reduce. Where `graph` is such a body, the whole loop becomes one EmbeddingBag.
 * @returns whether it did.
 */
export function expandEmbeddingBag(context: NodeContext, scope: Scope, graph: Graph): boolean {
  if (context.inputCount > 2 || graph.outputs.length !== 2 || graph.inputs.length !== 2) return false;
  const body = new Body(graph, scope);
  const reduce = body.producer(graph.outputs[1]!.name);
  const mode = reduce && MODES[reduce.op];
  if (!mode || !sumsFirstAxis(body, reduce) || !body.goesOn()) return false;
  const product = body.producer(reduce.inputs[0]);
  const factors = product?.op === 'Mul' ? product.inputs.map((name) => body.producer(name)) : [product];
  const gather = factors.find((node) => node?.op === 'Gather');
  const [table, rows] = gather?.inputs ?? [];
  if (!body.isOuter(table) || (gather!.attributes['axis'] ?? 0) !== 0 || scope.shape(table).length !== 2) return false;
  const bag = body.bagOf(body.producer(rows));
  if (!bag) return false;
  let samples = '';
  const scale = factors.find((node) => node !== gather);
  if (factors.length > 1) {
    const sliced = body.bagOf(body.producer(body.origin(scale?.outputs[0])));
    if (sliced?.starts !== bag.starts || sliced.ends !== bag.ends) return false;
    samples = sliced.list;
  }
  const trips = context.elements(0)?.[0];
  if (trips === undefined || !equal(trips, scope.shape(bag.ends)[0]!)) return false;
  const inputs = [table, bag.list, bag.starts, samples, bag.ends];
  scope.output(0, scope.add('EmbeddingBag', inputs, { mode }, { domain: BRAID_DOMAIN }));
  return true;
}
