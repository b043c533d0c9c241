import { add, equal, mul, sub, type Dim } from '../../graph/dim.js';
import type { Attribute, Graph, Node } from '../../graph/graph.js';
import { toFloat64, type Tensor } from '../../graph/tensor.js';
import type { Scope } from '../composite.js';

/** Operators that leave a single number, or what is carried, as it is. */
const PASSING = new Set(['Unsqueeze', 'Squeeze', 'Reshape', 'Identity', 'Cast', 'CastLike']);

/** `counter + plus`, or `plus` alone. */
export interface Count {
  readonly counter: string | undefined;
  readonly plus: Dim;
}

/** The element of a list around the loop, as many places after the counter's. */
export interface Element {
  readonly list: string;
  readonly counter: string;
  readonly after: number;
}

const isGraph = (value: Attribute): value is Graph => typeof value === 'object' && 'nodes' in value;

/** The nodes of a loop's body and of the bodies in it, by what they make, and what their names stand for. */
export class Body {
  readonly #scope: Scope;
  readonly #producers = new Map<string, Node>();
  readonly #constants = new Map<string, Tensor>();
  readonly #inputs = new Set<string>();

  constructor(graph: Graph, scope: Scope) {
    this.#scope = scope;
    this.#collect(graph);
  }

  #collect(graph: Graph): void {
    for (const { name } of graph.inputs) this.#inputs.add(name);
    for (const [name, tensor] of graph.constants) this.#constants.set(name, tensor);
    for (const node of graph.nodes) {
      for (const output of node.outputs) this.#producers.set(output, node);
      for (const value of Object.values(node.attributes)) if (isGraph(value)) this.#collect(value);
    }
  }

  producer(name: string | undefined): Node | undefined {
    return name === undefined ? undefined : this.#producers.get(name);
  }

  /** Whether `name` is a value from around the loop. */
  isOuter(name: string | undefined): name is string {
    return (
      name !== undefined &&
      name !== '' &&
      !this.#producers.has(name) &&
      !this.#constants.has(name) &&
      !this.#inputs.has(name)
    );
  }

  numbers(name: string | undefined): readonly number[] | undefined {
    if (name === undefined || name === '') return undefined;
    const tensor = this.#constants.get(name) ?? (this.isOuter(name) ? this.#scope.tensor(name) : undefined);
    return tensor && [...toFloat64(tensor)];
  }

  /** What `name` is before it was reshaped or cast. */
  origin(name: string | undefined): string | undefined {
    let at = name;
    for (let node = this.producer(at); node && PASSING.has(node.op); node = this.producer(at)) at = node.inputs[0];
    return at;
  }

  /** `name` as a number: of sizes, and of at most one of the values that change from iteration to iteration. */
  count(name: string | undefined): Count | undefined {
    const at = this.origin(name);
    if (at === undefined) return undefined;
    if (this.#inputs.has(at)) return { counter: at, plus: 0 };
    const node = this.producer(at);
    if (!node) {
      const elements = this.isOuter(at) ? this.#scope.elements(at) : this.numbers(at);
      return elements?.length === 1 ? { counter: undefined, plus: elements[0]! } : undefined;
    }
    if (node.op === 'Shape' && this.isOuter(node.inputs[0])) {
      const { shape } = this.#scope.type(node.inputs[0]);
      return shape.length === 1 ? { counter: undefined, plus: shape[0]! } : undefined;
    }
    if (node.op !== 'Add' && node.op !== 'Sub') return undefined;
    const [a, b] = node.inputs.map((input) => this.count(input));
    if (!a || !b || (a.counter !== undefined && b.counter !== undefined)) return undefined;
    if (node.op === 'Sub' && b.counter !== undefined) return undefined;
    return { counter: a.counter ?? b.counter, plus: node.op === 'Add' ? add(a.plus, b.plus) : sub(a.plus, b.plus) };
  }

  /** Whether `name` is `counter + plus`. */
  isCount(name: string | undefined, counter: string | undefined, plus: Dim): boolean {
    const count = this.count(name);
    return count !== undefined && count.counter === counter && equal(count.plus, plus);
  }

  /** The one element of a list around the loop that `name` is. */
  element(name: string | undefined): Element | undefined {
    const pick = this.producer(this.origin(name));
    const [list, from, to] = pick?.inputs ?? [];
    if (!this.isOuter(list)) return undefined;
    const at = this.count(from);
    if (at?.counter === undefined || typeof at.plus !== 'number') return undefined;
    const element = { list, counter: at.counter, after: at.plus };
    if (pick?.op === 'Gather') return (pick.attributes['axis'] ?? 0) === 0 ? element : undefined;
    return pick?.op === 'Slice' && this.#isPlain(pick) && this.isCount(to, at.counter, at.plus + 1)
      ? element
      : undefined;
  }

  /** Whether a Slice takes every element of a range of the leading dimension. */
  #isPlain(slice: Node): boolean {
    const [, , , axes, steps] = slice.inputs;
    return (this.numbers(axes) ?? [0]).join() === '0' && (this.numbers(steps) ?? [1]).join() === '1';
  }

  /** What `node` takes a range of rows from, where it takes nothing else. */
  range(node: Node | undefined): { list: string; from: string | undefined; to: string | undefined } | undefined {
    if (node?.op !== 'Slice' || !this.isOuter(node.inputs[0]) || !this.#isPlain(node)) return undefined;
    return { list: node.inputs[0], from: node.inputs[1], to: node.inputs[2] };
  }

  /** Whether `node` reduces over the leading dimension alone. */
  reducesFirst(node: Node): boolean {
    const axes = node.attributes['axes'] ?? this.numbers(node.inputs[1]);
    return Array.isArray(axes) && axes.join() === '0';
  }
}

/** The length of the bags that start at these offsets, where all have as many indices; the last offset ends the last bag. */
export function equalLength(scope: Scope, offsets: string): number | undefined {
  const elements = scope.elements(offsets);
  if (elements) {
    const length = elements[1];
    const even = typeof length === 'number' && elements.every((e, i) => equal(e, i * length));
    return even && length > 0 ? length : undefined;
  }
  // arange(0, bags * length, length), and the number of indices.
  const joined = scope.producer(offsets);
  if (joined?.op !== 'Concat' || joined.inputs.length !== 2) return undefined;
  const [starts, end] = joined.inputs as [string, string];
  const range = scope.producer(starts);
  if (range?.op !== 'Range') return undefined;
  const [first, length] = [scope.elements(range.inputs[0]!)?.[0], scope.elements(range.inputs[2]!)?.[0]];
  const last = scope.elements(end)?.[0];
  if (first !== 0 || typeof length !== 'number' || length <= 0 || last === undefined) return undefined;
  return equal(last, mul(scope.shape(starts)[0]!, length)) ? length : undefined;
}
