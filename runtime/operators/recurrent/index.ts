import { deviceType } from '../../compile/view.js';
import { equal, shapeText, type Dim } from '../../graph/dim.js';
import { toFloat64 } from '../../graph/tensor.js';
import type { Composite, Scope } from '../composite.js';
import { MOST_ITERATIONS } from '../control/index.js';
import type { NodeContext } from '../operator.js';
import { activationsOf, type Activation } from './activations.js';
import { CELLS, type Cell, type CellKind, type State, type Weights } from './cells.js';

const DIRECTIONS: Readonly<Record<string, readonly ('forward' | 'reverse')[]>> = {
  forward: ['forward'],
  reverse: ['reverse'],
  bidirectional: ['forward', 'reverse'],
};

interface Sizes {
  readonly steps: number;
  readonly rows: Dim;
  readonly hidden: number;
  readonly directions: readonly ('forward' | 'reverse')[];
}

function sizesOf(context: NodeContext, kind: CellKind): Sizes {
  const { attributes } = context;
  const [x, w, r] = [context.input(0), context.input(1), context.input(2)];
  if (deviceType(x.dtype) !== 'f32') throw context.unsupported(`no kernel for ${x.dtype}`);
  const direction = attributes.string('direction', 'forward');
  const directions = DIRECTIONS[direction];
  if (!directions) throw context.invalid(`direction '${direction}'`);
  if (attributes.number('input_forget', 0) !== 0) throw context.unsupported('coupled input and forget gates');
  if (x.shape.length !== 3) throw context.invalid(`input ${shapeText(x.shape)}, expected [steps, rows, features]`);
  const hidden = attributes.number('hidden_size', r.shape.at(-1) as number);
  const expect = (index: number, what: string, expected: readonly Dim[]): void => {
    const shape = context.optional(index)?.shape;
    if (shape && (shape.length !== expected.length || shape.some((d, i) => !equal(d, expected[i]!))))
      throw context.invalid(`${what} ${shapeText(shape)}, expected ${shapeText(expected)}`);
  };
  const columns = kind.gates * hidden;
  const last = attributes.number('layout', 0) !== 0;
  const [steps, rows] = last ? [x.shape[1]!, x.shape[0]!] : [x.shape[0]!, x.shape[1]!];
  const state = last ? [rows, directions.length, hidden] : [directions.length, rows, hidden];
  expect(1, 'weights', [directions.length, columns, x.shape[2]!]);
  expect(2, 'recurrent weights', [directions.length, columns, hidden]);
  expect(3, 'biases', [directions.length, 2 * columns]);
  expect(4, 'lengths', [rows]);
  expect(5, 'initial state', state);
  expect(6, 'initial cell', state);
  expect(7, 'peepholes', [directions.length, 3 * hidden]);
  if (w.dtype !== x.dtype) throw context.invalid(`inputs of different types ${x.dtype} and ${w.dtype}`);
  if (typeof steps !== 'number') throw context.unsupported(`${steps} steps, which is no constant`);
  if (steps > MOST_ITERATIONS) throw context.unsupported(`more than ${MOST_ITERATIONS} steps`);
  if (steps < 1) throw context.invalid('no steps');
  return { steps, rows, hidden, directions };
}

/** Whether every element of a value is `number`, also where exporters repeat one to a shape of the query. */
function isFilledWith(scope: Scope, name: string, number: number): boolean {
  const tensor = scope.tensor(name);
  if (tensor) return toFloat64(tensor).every((v) => v === number);
  const elements = scope.elements(name);
  if (elements) return elements.every((e) => e === number);
  const node = scope.producer(name);
  if (node?.op === 'ConstantOfShape') {
    const value = node.attributes['value'];
    const filled = typeof value === 'object' && 'data' in value ? toFloat64(value)[0] : 0;
    return filled === number;
  }
  const repeats = ['Expand', 'Tile', 'Cast', 'Identity', 'Reshape', 'Unsqueeze', 'Squeeze', 'Slice', 'Transpose'];
  return node !== undefined && repeats.includes(node.op) && isFilledWith(scope, node.inputs[0]!, number);
}

/** Everything that the directions of one node share. Values are [rows, ..], so that rows stay apart. */
class Recurrence {
  readonly #context: NodeContext;
  readonly #scope: Scope;
  readonly #kind: CellKind;
  readonly #sizes: Sizes;
  readonly #last: boolean;
  readonly #activations: Activation[][];

  constructor(context: NodeContext, scope: Scope, kind: CellKind) {
    this.#context = context;
    this.#scope = scope;
    this.#kind = kind;
    this.#sizes = sizesOf(context, kind);
    this.#last = context.attributes.number('layout', 0) !== 0;
    this.#activations = activationsOf(context, kind.activations, this.#sizes.directions.length);
  }

  /** What an input has for one direction. */
  #own(index: number, direction: number, axis = 0): string | undefined {
    const name = this.#context.node.inputs[index];
    return name ? this.#scope.add('Gather', [name, this.#scope.int(direction)], { axis }) : undefined;
  }

  #initial(index: number, direction: number): string | undefined {
    const name = this.#context.node.inputs[index];
    if (!name || isFilledWith(this.#scope, name, 0)) return undefined;
    return this.#own(index, direction, this.#last ? 1 : 0);
  }

  /** The inputs of all steps times their weights, [rows, steps, gates * hidden], and the weights of the state. */
  #project(direction: number): { projected: string; weights: Weights } {
    const [scope, context] = [this.#scope, this.#context];
    const { hidden } = this.#sizes;
    const x = scope.transpose(context.node.inputs[0]!, this.#last ? [0, 1, 2] : [1, 0, 2]);
    const turned = (index: number): string => scope.transpose(this.#own(index, direction)!, [1, 0]);
    const product = scope.add('MatMul', [x, turned(1)]);
    const biases = this.#own(3, direction);
    const part = (value: string, index: number, size: number): string =>
      scope.add('Slice', [value, scope.ints(index * size), scope.ints((index + 1) * size), scope.ints(0)]);
    const columns = this.#kind.gates * hidden;
    const [input, recurrent] = biases ? [part(biases, 0, columns), part(biases, 1, columns)] : [];
    const joins = this.#kind.joinsBiases(context);
    const bias = input && (joins ? scope.add('Add', [input, recurrent!]) : input);
    const peepholes = this.#own(7, direction);
    return {
      projected: bias ? scope.add('Add', [product, bias]) : product,
      weights: {
        recurrent: turned(2),
        bias: joins ? undefined : recurrent,
        peepholes: peepholes === undefined ? undefined : [0, 1, 2].map((i) => part(peepholes, i, hidden)),
      },
    };
  }

  /** For each row whether step `t` is one of its own; undefined where every row has all steps. */
  #mask(t: number): string | undefined {
    const lengths = this.#context.node.inputs[4];
    if (!lengths || isFilledWith(this.#scope, lengths, this.#sizes.steps)) return undefined;
    const { dtype } = this.#scope.type(lengths);
    const within = this.#scope.add('Less', [this.#scope.scalar(dtype, t), lengths]);
    return this.#scope.reshape(within, [this.#sizes.rows, 1]);
  }

  #choose(mask: string | undefined, value: string | undefined, otherwise: string | undefined): string | undefined {
    if (mask === undefined || value === undefined) return value;
    const zero = (): string => this.#scope.scalar(this.#scope.type(value).dtype, 0);
    return this.#scope.add('Where', [mask, value, otherwise ?? zero()]);
  }

  /** The hidden states of all steps in order, and the last state. */
  run(direction: number): { hidden: string[]; state: State } {
    const { steps, hidden, directions } = this.#sizes;
    const { projected, weights } = this.#project(direction);
    const cell: Cell = { scope: this.#scope, hidden, weights, activations: this.#activations[direction]! };
    let state: State = {
      hidden: this.#initial(5, direction),
      cell: this.#kind.hasCell ? this.#initial(6, direction) : undefined,
    };
    const backwards = directions[direction] === 'reverse';
    const made: string[] = [];
    for (let i = 0; i < steps; i++) {
      const t = backwards ? steps - 1 - i : i;
      const input = this.#scope.add('Gather', [projected, this.#scope.int(t)], { axis: 1 });
      const next = this.#kind.step(cell, this.#context, input, state);
      const mask = this.#mask(t);
      made[t] = this.#choose(mask, next.hidden, undefined)!;
      state = {
        hidden: this.#choose(mask, next.hidden, state.hidden),
        cell: this.#choose(mask, next.cell, state.cell),
      };
    }
    return { hidden: made, state };
  }

  expand(): void {
    const [scope, { rows, hidden, directions }] = [this.#scope, this.#sizes];
    const runs = directions.map((_, d) => this.run(d));
    const joined = (values: readonly string[], axis: number): string =>
      values.length === 1 ? values[0]! : scope.add('Concat', values, { axis });
    const all = runs.map((run) => {
      const steps = run.hidden.map((value) => scope.reshape(value, [rows, 1, 1, hidden]));
      return joined(steps, 1);
    });
    const y = joined(all, 2);
    scope.output(0, this.#last ? y : scope.transpose(y, [1, 2, 0, 3]));
    const states = (of: (state: State) => string | undefined): string => {
      const values = runs.map(({ state }) => scope.reshape(of(state)!, [rows, 1, hidden]));
      return scope.transpose(joined(values, 1), this.#last ? [0, 1, 2] : [1, 0, 2]);
    };
    if (this.#context.node.outputs[1])
      scope.output(
        1,
        states((s) => s.hidden),
      );
    if (this.#context.node.outputs[2])
      scope.output(
        2,
        states((s) => s.cell),
      );
  }
}

/** RNN, GRU and LSTM: a product for the inputs of all steps, then a step after the other. */
export const RECURRENT_OPERATORS: readonly Composite[] = CELLS.map((kind) => ({
  type: kind.type,
  types: ['f32'],
  note: `at most ${MOST_ITERATIONS} steps, known at load`,
  opsets: [7, 27],
  expand: (context, scope) => new Recurrence(context, scope, kind).expand(),
}));
