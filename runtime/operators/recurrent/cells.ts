import type { Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';
import type { Activation } from './activations.js';

/** The state between steps, each [rows, hidden]; undefined for one that is zero. */
export interface State {
  readonly hidden: string | undefined;
  readonly cell?: string | undefined;
}

/** The weights of one direction. */
export interface Weights {
  /** [hidden, gates * hidden]. */
  readonly recurrent: string;
  /** Bias of the recurrent product, [gates * hidden]; absent where the projection of the inputs has it. */
  readonly bias?: string | undefined;
  /** What the cell adds to gates by its own state, [hidden] each. */
  readonly peepholes?: readonly string[] | undefined;
}

export interface Cell {
  readonly scope: Scope;
  readonly hidden: number;
  readonly weights: Weights;
  readonly activations: readonly Activation[];
}

/** A recurrent operator: its gates, and a step from one state to the next by the projected inputs, [rows, gates * hidden]. */
export interface CellKind {
  readonly type: string;
  readonly gates: number;
  readonly activations: readonly string[];
  readonly hasCell: boolean;
  /** Whether the bias of the recurrent product can be added to the projection of the inputs. */
  joinsBiases(context: NodeContext): boolean;
  step(cell: Cell, context: NodeContext, projected: string, state: State): State;
}

/** Gates `from` up to `to` of a value that has `hidden` columns for each. */
function gates({ scope, hidden }: Cell, value: string, from: number, to = from + 1): string {
  const axis = scope.shape(value).length - 1;
  const bounds = [from * hidden, to * hidden].map((at) => scope.ints(at));
  return scope.add('Slice', [value, ...bounds, scope.ints(axis)]);
}

const add = (scope: Scope, a: string, b: string | undefined): string =>
  b === undefined ? a : scope.add('Add', [a, b]);
const times = (scope: Scope, a: string, b: string): string => scope.add('Mul', [a, b]);

/** `weights` times a state that is not zero. */
function recurred({ scope }: Cell, state: string | undefined, weights: string): string | undefined {
  return state === undefined ? undefined : scope.add('MatMul', [state, weights]);
}

const RNN: CellKind = {
  type: 'RNN',
  gates: 1,
  activations: ['Tanh'],
  hasCell: false,
  joinsBiases: () => true,
  step(cell, _, projected, { hidden }) {
    const sum = add(cell.scope, projected, recurred(cell, hidden, cell.weights.recurrent));
    return { hidden: cell.activations[0]!(cell.scope, sum) };
  },
};

/** Gates z (update), r (reset) and h (candidate). */
const GRU: CellKind = {
  type: 'GRU',
  gates: 3,
  activations: ['Sigmoid', 'Tanh'],
  hasCell: false,
  // Reset after the product scales the candidate's bias too.
  joinsBiases: (context) => context.attributes.number('linear_before_reset', 0) === 0,
  step(cell, context, projected, { hidden }) {
    const { scope, weights } = cell;
    const [f, g] = cell.activations as [Activation, Activation];
    const [early, candidate] = [gates(cell, projected, 0, 2), gates(cell, projected, 2)];
    let both: string;
    let late: string | undefined;
    if (GRU.joinsBiases(context)) {
      both = f(scope, add(scope, early, recurred(cell, hidden, gates(cell, weights.recurrent, 0, 2))));
      const kept = hidden && times(scope, gates(cell, both, 1), hidden);
      late = recurred(cell, kept, gates(cell, weights.recurrent, 2));
    } else {
      const product = recurred(cell, hidden, weights.recurrent);
      const sums = product === undefined ? weights.bias : add(scope, product, weights.bias);
      both = f(scope, add(scope, early, sums && gates(cell, sums, 0, 2)));
      late = sums && times(scope, gates(cell, both, 1), gates(cell, sums, 2));
    }
    const fresh = g(scope, add(scope, candidate, late));
    // (1 - update) * fresh + update * hidden.
    const change = hidden === undefined ? scope.add('Neg', [fresh]) : scope.add('Sub', [hidden, fresh]);
    return { hidden: scope.add('Add', [fresh, times(scope, gates(cell, both, 0), change)]) };
  },
};

/** Gates i (input), o (output), f (forget) and c (candidate). */
const LSTM: CellKind = {
  type: 'LSTM',
  gates: 4,
  activations: ['Sigmoid', 'Tanh', 'Tanh'],
  hasCell: true,
  joinsBiases: () => true,
  step(cell, _, projected, state) {
    const { scope, weights } = cell;
    const [f, g, h] = cell.activations as [Activation, Activation, Activation];
    const sums = add(scope, projected, recurred(cell, state.hidden, weights.recurrent));
    const [input, output, forget] = weights.peepholes ?? [];
    // Without peepholes three gates are one call.
    const all = weights.peepholes ? undefined : f(scope, gates(cell, sums, 0, 3));
    const gate = (index: number, peephole: string | undefined, by: string | undefined): string =>
      all ? gates(cell, all, index) : f(scope, add(scope, gates(cell, sums, index), by && times(scope, by, peephole!)));
    const taken = times(scope, gate(0, input, state.cell), g(scope, gates(cell, sums, 3)));
    const next =
      state.cell === undefined ? taken : add(scope, times(scope, gate(2, forget, state.cell), state.cell), taken);
    return { hidden: times(scope, gate(1, output, next), h(scope, next)), cell: next };
  },
};

export const CELLS: readonly CellKind[] = [RNN, GRU, LSTM];
