import { equal, sub } from '../../graph/dim.js';
import type { Graph } from '../../graph/graph.js';
import { BRAID_DOMAIN, type Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';
import { addBags } from './bags.js';
import { Body } from './body.js';

export const MODES: Readonly<Record<string, string>> = { ReduceSum: 'sum', ReduceMean: 'mean', ReduceMax: 'max' };

/** Whether the loop never ends itself. */
function goesOn(body: Body, graph: Graph): boolean {
  const condition = body.origin(graph.outputs[0]!.name);
  return condition === graph.inputs[1]!.name || body.numbers(condition)?.[0] === 1;
}

/** Whether `ends` are the elements of `starts` from the second on. */
function follows(scope: Scope, starts: string, ends: string): boolean {
  const slice = scope.producer(ends);
  const [list, from] = slice?.op === 'Slice' ? slice.inputs : [];
  return (
    list === starts && scope.elements(from!)?.[0] === 1 && equal(scope.shape(ends)[0]!, sub(scope.shape(starts)[0]!, 1))
  );
}

/**
 * PyTorch's TorchScript exporter writes torch.nn.EmbeddingBag as a loop over the bags: slice the indices by offsets,
 * gather their rows, weigh them, reduce. Where `graph` is such a body, the whole loop becomes one EmbeddingBag.
 * @returns whether it did.
 */
export function expandEmbeddingBag(context: NodeContext, scope: Scope, graph: Graph): boolean {
  if (context.inputCount > 2 || graph.outputs.length !== 2 || graph.inputs.length !== 2) return false;
  const body = new Body(graph, scope);
  const counter = graph.inputs[0]!.name;
  const reduce = body.producer(graph.outputs[1]!.name);
  const mode = reduce && MODES[reduce.op];
  if (!mode || !body.reducesFirst(reduce) || reduce.attributes['keepdims'] !== 0 || !goesOn(body, graph)) return false;
  const product = body.producer(reduce.inputs[0]);
  const factors = product?.op === 'Mul' ? product.inputs.map((name) => body.producer(name)) : [product];
  const gather = factors.find((node) => node?.op === 'Gather');
  const [table, rows] = gather?.inputs ?? [];
  if (!body.isOuter(table) || (gather!.attributes['axis'] ?? 0) !== 0 || scope.shape(table).length !== 2) return false;
  const bag = body.range(body.producer(rows));
  const [start, end] = [body.element(bag?.from), body.element(bag?.to)];
  if (!bag || !start || !end) return false;
  if ([start, end].some((e) => e.counter !== counter || e.after !== 0)) return false;
  let samples: string | undefined;
  if (factors.length > 1) {
    const scale = factors.find((node) => node !== gather);
    const sliced = body.range(body.producer(body.origin(scale?.outputs[0])));
    if (!sliced || body.element(sliced.from)?.list !== start.list || body.element(sliced.to)?.list !== end.list)
      return false;
    samples = sliced.list;
  }
  const trips = context.elements(0)?.[0];
  if (trips === undefined || !equal(trips, scope.shape(end.list)[0]!)) return false;
  if (follows(scope, start.list, end.list)) {
    scope.output(0, addBags(scope, { mode, table, indices: bag.list, offsets: start.list, samples }));
    return true;
  }
  const inputs = [table, bag.list, start.list, samples ?? '', end.list];
  scope.output(0, scope.add('EmbeddingBag', inputs, { mode }, { domain: BRAID_DOMAIN }));
  return true;
}
