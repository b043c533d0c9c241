import { equal, sub, type Dim } from '../../graph/dim.js';
import type { Graph, Node } from '../../graph/graph.js';
import type { Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';
import { addBags, lookupOf, type Bags } from './bags.js';
import { Body, type Element } from './body.js';
import { MODES } from './loop.js';

/** What one branch of a body makes of the rows of a bag. */
interface Row {
  /** `sum/length` divides by the number of indices from the bag's start on, which only the last bag may. */
  readonly kind: 'zero' | 'sum' | 'mean' | 'max' | 'sum/length';
  readonly rows?: Rows | undefined;
}

/** The rows of a bag: a range of them, or those that an inner loop has kept. */
interface Rows {
  readonly values: string;
  readonly start: Element;
  /** Undefined where the bag goes on to the last index. */
  readonly end: Element | undefined;
  readonly padding?: number;
  /** What holds the places that the inner loop kept. */
  readonly kept?: string;
}

/** The loop over bags: its counter, and how often it runs. */
interface Bound {
  readonly counter: string;
  readonly count: Dim;
}

function graphOf(node: Node, name: string): Graph | undefined {
  const value = node.attributes[name];
  return typeof value === 'object' && 'nodes' in value ? value : undefined;
}

function branches(node: Node): [yes: string, no: string] {
  const out = (name: string): string => graphOf(node, name)?.outputs[0]?.name ?? '';
  return [out('then_branch'), out('else_branch')];
}

function sameRows(a: Rows | undefined, b: Rows | undefined): boolean {
  return (
    a !== undefined && b !== undefined && a.values === b.values && a.kept === b.kept && a.start.list === b.start.list
  );
}

/** Reads the body of a loop that appends one row a bag. */
class Reader {
  readonly #body: Body;
  readonly #scope: Scope;
  readonly #bound: Bound;

  constructor(body: Body, scope: Scope, bound: Bound) {
    this.#body = body;
    this.#scope = scope;
    this.#bound = bound;
  }

  /** Whether a condition holds for the last bag alone. */
  #isLast(condition: Node | undefined): boolean {
    if (condition?.op !== 'Equal') return false;
    const [a, b] = condition.inputs;
    const { counter, count } = this.#bound;
    return this.#body.isCount(a, counter, 0) && this.#body.isCount(b, undefined, sub(count, 1));
  }

  /** Whether a condition says that the bag has no rows. */
  #isEmpty(condition: Node | undefined, rows: Rows): boolean {
    if (condition?.op !== 'Equal') return false;
    const [a, b] = condition.inputs;
    if (rows.kept !== undefined) {
      const size = this.#body.producer(this.#body.origin(a));
      return size?.op === 'Size' && size.inputs[0] === rows.kept && this.#body.isCount(b, undefined, 0);
    }
    const [start, end] = [this.#body.element(a), this.#body.element(b)];
    return start?.after === 0 && end?.after === 1 && start.list === rows.start.list && end.list === rows.start.list;
  }

  #isZero(name: string): boolean {
    const numbers = this.#body.numbers(name);
    if (numbers) return numbers.every((v) => v === 0);
    const node = this.#body.producer(name);
    return node?.op === 'Expand' && this.#isZero(node.inputs[0]!);
  }

  row(name: string): Row | undefined {
    const at = this.#body.origin(name)!;
    if (this.#isZero(at)) return { kind: 'zero' };
    const node = this.#body.producer(at);
    if (!node) return undefined;
    if (node.op === 'If') return this.#choice(node);
    const mode = MODES[node.op];
    if (mode && this.#body.reducesFirst(node)) {
      const rows = this.rows(node.inputs[0]!);
      return rows && { kind: mode as 'sum', rows };
    }
    return node.op === 'Div' ? this.#divided(node) : undefined;
  }

  #choice(node: Node): Row | undefined {
    const [yes, no] = branches(node).map((branch) => this.row(branch));
    if (!yes || !no) return undefined;
    const condition = this.#body.producer(this.#body.origin(node.inputs[0]));
    if (yes.kind === 'zero') return no.rows && this.#isEmpty(condition, no.rows) ? no : undefined;
    if (!sameRows(yes.rows, no.rows)) return undefined;
    if (yes.kind === 'sum/length' && no.kind === 'sum') return condition?.op === 'Greater' ? yes : undefined;
    if (!this.#isLast(condition)) return undefined;
    return yes.kind === no.kind || (yes.kind === 'sum/length' && no.kind === 'mean') ? no : undefined;
  }

  /** A sum divided by how many indices there are from the start of the bag on. */
  #divided(node: Node): Row | undefined {
    const sum = this.row(node.inputs[0]!);
    const length = this.#body.producer(this.#body.origin(node.inputs[1]));
    if (sum?.kind !== 'sum' || !sum.rows || length?.op !== 'Sub') return undefined;
    const [total, start] = length.inputs;
    const fits = this.#isTotal(total, sum.rows.values) && this.#body.element(start)?.list === sum.rows.start.list;
    return fits ? { kind: 'sum/length', rows: sum.rows } : undefined;
  }

  #isTotal(name: string | undefined, values: string): boolean {
    return this.#body.isCount(name, undefined, this.#scope.shape(values)[0]!);
  }

  rows(name: string): Rows | undefined {
    const node = this.#body.producer(name);
    if (!node) return undefined;
    if (node.op === 'If') {
      const [yes, no] = branches(node).map((branch) => this.rows(branch));
      const last = this.#isLast(this.#body.producer(this.#body.origin(node.inputs[0])));
      return last && sameRows(yes, no) && no!.end !== undefined ? no : undefined;
    }
    if (node.op === 'Gather') return this.#kept(node);
    const range = this.#body.range(node);
    const start = this.#body.element(range?.from);
    if (!range || start?.after !== 0 || start.counter !== this.#bound.counter) return undefined;
    const end = this.#body.element(range.to);
    if (!end) return this.#isTotal(range.to, range.list) ? { values: range.list, start, end } : undefined;
    return this.#endsAt(start, end) ? { values: range.list, start, end } : undefined;
  }

  #endsAt(start: Element, end: Element): boolean {
    return end.list === start.list && end.counter === start.counter && end.after === 1;
  }

  /** Rows at the places that an inner loop lists: those from the bag's start to its end whose index is not the padding. */
  #kept(gather: Node): Rows | undefined {
    const [values, places] = gather.inputs as [string, string];
    const loop = this.#body.producer(places);
    const graph = loop?.op === 'Loop' ? graphOf(loop, 'body') : undefined;
    if (!graph || !this.#body.isOuter(values) || graph.inputs.length !== 4) return undefined;
    // The exporter carries values in whatever order a set of names has.
    const at = loop!.outputs.indexOf(places);
    if ((gather.attributes['axis'] ?? 0) !== 0 || at < 0) return undefined;
    const [none, first] = [loop!.inputs[2 + at], loop!.inputs[3 - at]];
    const [listed, place] = [graph.inputs[2 + at]!.name, graph.inputs[3 - at]!.name];
    const again = graph.outputs[0]!.name;
    const [grown, next] = [graph.outputs[1 + at]!.name, graph.outputs[2 - at]!.name];
    const start = this.#body.element(first);
    const until = this.#body.producer(this.#body.origin(again));
    const end = this.#body.element(until?.inputs[1]);
    if (!start || !end || start.after !== 0 || start.counter !== this.#bound.counter || !this.#endsAt(start, end))
      return undefined;
    const counts = this.#body.isCount(next, place, 1) && this.#body.isCount(until!.inputs[0], place, 1);
    if (until!.op !== 'Less' || !counts || !this.#isNothing(none)) return undefined;
    const padding = this.#skipped(this.#body.producer(grown), listed, place, values);
    return padding === undefined ? undefined : { values, start, end, padding, kept: places };
  }

  #isNothing(name: string | undefined): boolean {
    if (this.#body.isOuter(name)) return this.#scope.shape(name).length === 1 && this.#scope.shape(name)[0] === 0;
    return this.#body.numbers(name)?.length === 0;
  }

  /** The index that `choice` leaves out of the list, where it adds the places of all others. */
  #skipped(choice: Node | undefined, listed: string, place: string, values: string): number | undefined {
    if (choice?.op !== 'If') return undefined;
    const condition = this.#body.producer(choice.inputs[0]);
    const [yes, no] = branches(choice);
    const isNot = condition?.op === 'Not';
    const equal = isNot ? this.#body.producer(condition.inputs[0]) : condition;
    const [keeps, drops] = isNot ? [yes, no] : [no, yes];
    const joined = this.#body.producer(keeps);
    const appends =
      joined?.op === 'Concat' && joined.inputs[0] === listed && this.#body.isCount(joined.inputs[1], place, 0);
    if (equal?.op !== 'Equal' || !appends || this.#body.origin(drops) !== listed) return undefined;
    const padding = this.#body.numbers(this.#body.origin(equal.inputs[1]))?.[0];
    return this.#isIndex(equal.inputs[0], place, values) ? padding : undefined;
  }

  /** Whether `name` is the index at `place`, perhaps counted from the front where it is negative. */
  #isIndex(name: string | undefined, place: string, values: string): boolean {
    const node = this.#body.producer(this.#body.origin(name));
    if (node?.op === 'If') {
      const [yes, no] = branches(node);
      const shifted = this.#body.producer(yes);
      return (
        shifted?.op === 'Add' &&
        this.#isIndex(no, place, values) &&
        this.#body.origin(shifted.inputs[0]) === this.#body.origin(no)
      );
    }
    const indices = lookupOf(this.#scope, values)?.indices;
    return node?.op === 'Gather' && node.inputs[0] === indices && this.#body.isCount(node.inputs[1], place, 0);
  }
}

/** Whether a loop's first condition asks no more than that there are bags; where there are none, their rows are none. */
function begins(scope: Scope, condition: string, count: Dim): boolean {
  if (scope.elements(condition)?.[0] === 1) return true;
  const less = scope.producer(condition);
  if (less?.op !== 'Less') return false;
  const [zero, bags] = less.inputs.map((name) => scope.elements(name)?.[0]);
  return zero === 0 && bags !== undefined && equal(bags, count);
}

/**
 * PyTorch's other exporter (torch.onnx.export with dynamo) writes torch.nn.EmbeddingBag as a loop that appends a row a
 * bag to a sequence. Where `graph` is such a body, the loop becomes one EmbeddingBag, whose rows are the sequence.
 * @returns whether it did.
 */
export function expandSequenceBag(context: NodeContext, scope: Scope, graph: Graph): boolean {
  const [trips, condition, ...carried] = context.node.inputs as [string, string, ...string[]];
  if (trips !== '' || carried.length !== 2 || graph.outputs.length !== 3) return false;
  const into = carried.findIndex((name) => scope.sequence(name) !== undefined);
  const sequence = scope.sequence(carried[into] ?? '');
  const [list, counter] = [graph.inputs[2 + into]?.name, graph.inputs[3 - into]?.name];
  const starts = scope.elements(carried[1 - into] ?? '');
  if (!sequence || !('items' in sequence) || sequence.items.length > 0 || starts?.[0] !== 0 || !counter) return false;
  const body = new Body(graph, scope);
  const insert = body.producer(graph.outputs[1 + into]!.name);
  const until = body.producer(body.origin(graph.outputs[0]!.name));
  const count = body.count(until?.inputs[1]);
  const counts =
    until?.op === 'Less' &&
    body.isCount(until.inputs[0], counter, 1) &&
    body.isCount(graph.outputs[2 - into]!.name, counter, 1);
  if (insert?.op !== 'SequenceInsert' || insert.inputs[0] !== list || insert.inputs.length > 2) return false;
  if (!counts || !count || count.counter !== undefined || !begins(scope, condition, count.plus)) return false;
  const row = new Reader(body, scope, { counter, count: count.plus }).row(insert.inputs[1]!);
  const lookup = row?.rows && lookupOf(scope, row.rows.values);
  if (!row?.rows || !lookup || row.kind === 'zero' || row.kind === 'sum/length') return false;
  const offsets = row.rows.start.list;
  if (!equal(sub(scope.shape(offsets)[0]!, 1), count.plus)) return false;
  const bags: Bags = { mode: row.kind, ...lookup, offsets, padding: row.rows.padding };
  scope.outputSequence(into, { rowsOf: addBags(scope, bags) });
  scope.output(1 - into, scope.int(count.plus));
  return true;
}
