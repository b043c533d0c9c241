import type { BraidError } from '../../errors.js';
import { shapesEqual, shapeText } from '../../graph/dim.js';
import type { Graph } from '../../graph/graph.js';
import { tensorOf, toFloat64 } from '../../graph/tensor.js';
import type { Composite, Scope } from '../composite.js';
import { expandEmbeddingBag } from '../embedding-bag/loop.js';
import { expandSequenceBag } from '../embedding-bag/sequence-loop.js';
import type { NodeContext } from '../operator.js';

/** Most iterations that a loop is unrolled to. */
export const MOST_ITERATIONS = 1024;

function body(context: NodeContext, name: string): Graph {
  const graph = context.attributes.graph(name);
  if (!graph) throw context.invalid(`attribute '${name}' is missing`);
  return graph;
}

/** The truth of a condition that is known at load. */
function truth(scope: Scope, name: string): boolean | undefined {
  const tensor = scope.tensor(name);
  return tensor && toFloat64(tensor)[0] !== 0;
}

/** If(cond): the branch that a condition known at load takes; of one that data decides, both, and a choice of results. */
const IF: Composite = {
  type: 'If',
  note: 'one branch where the condition is known at load, otherwise both and `Where`',
  opsets: [7, 27],
  expand(context, scope) {
    const [condition] = context.node.inputs as [string];
    const known = truth(scope, condition);
    const branch = (taken: boolean): string[] => scope.inline(body(context, taken ? 'then_branch' : 'else_branch'), []);
    if (known !== undefined) {
      branch(known).forEach((value, i) => scope.output(i, value));
      return;
    }
    const [yes, no] = [branch(true), branch(false)];
    const choice = scope.reshape(condition, []);
    yes.forEach((value, i) => {
      const [a, b] = [scope.type(value), scope.type(no[i]!)];
      if (a.dtype !== b.dtype || !shapesEqual(a.shape, b.shape))
        throw context.unsupported(
          `data decides between ${a.dtype}${shapeText(a.shape)} and ${b.dtype}${shapeText(b.shape)}; both have to be alike`,
        );
      scope.output(i, scope.add('Where', [choice, value, no[i]!]));
    });
  },
};

/** The stacked results of all iterations. */
function stack(
  context: NodeContext,
  scope: Scope,
  values: readonly string[],
  axis: number,
  empty: Graph['outputs'][number],
): string {
  if (values.length > 0) {
    const rank = scope.shape(values[0]!).length + 1;
    const at = context.axis(axis, rank);
    const parts = values.map((value) => scope.add('Unsqueeze', [value, scope.ints(at)]));
    return scope.add('Concat', parts, { axis: at });
  }
  const dims = empty.shape?.map((d) => (typeof d === 'number' ? d : undefined));
  if (!dims || dims.includes(undefined))
    throw context.unsupported(`no iteration tells the shape of '${empty.name}', and it declares none`);
  return scope.constant(tensorOf(empty.dtype, [0, ...(dims as number[])], []));
}

function tooMany(context: NodeContext): BraidError {
  return context.unsupported(`more than ${MOST_ITERATIONS} iterations`);
}

/** Loop(M, cond, v): an EmbeddingBag where it is one, otherwise unrolled where the number of iterations is known at load. */
const LOOP: Composite = {
  type: 'Loop',
  note: `unrolled to at most ${MOST_ITERATIONS} iterations, known at load`,
  opsets: [7, 27],
  expand(context, scope) {
    const graph = body(context, 'body');
    if (expandEmbeddingBag(context, scope, graph) || expandSequenceBag(context, scope, graph)) return;
    const [count, condition, ...initial] = context.node.inputs as [string, string | undefined, ...string[]];
    const trips = count ? context.requiredInts(0, 'the trip count')[0]! : Infinity;
    let goesOn = condition ? truth(scope, condition) : true;
    let carried = initial;
    const scanned: string[][] = graph.outputs.slice(1 + initial.length).map(() => []);
    for (let i = 0; i < trips; i++) {
      if (goesOn === undefined) throw context.unsupported('data decides whether it goes on');
      if (!goesOn) break;
      if (i === MOST_ITERATIONS) throw tooMany(context);
      const results = scope.inline(graph, [scope.int(i), scope.scalar('bool', 1), ...carried]);
      goesOn = truth(scope, results[0]!);
      carried = results.slice(1, 1 + initial.length);
      results.slice(1 + initial.length).forEach((value, s) => scanned[s]!.push(value));
    }
    carried.forEach((value, i) => scope.output(i, value));
    scanned.forEach((values, s) => {
      if (!context.node.outputs[initial.length + s]) return;
      scope.output(initial.length + s, stack(context, scope, values, 0, graph.outputs[1 + initial.length + s]!));
    });
  },
};

/** Scan(state, inputs): unrolled over an axis of fixed size. */
const SCAN: Composite = {
  type: 'Scan',
  note: `unrolled to at most ${MOST_ITERATIONS} iterations, known at load`,
  opsets: [9, 27],
  expand(context, scope) {
    const graph = body(context, 'body');
    const scans = context.attributes.requiredNumber('num_scan_inputs');
    const states = context.inputCount - scans;
    const inputs = context.node.inputs.slice(states);
    const option = (name: string, index: number): number => context.attributes.numbers(name)?.[index] ?? 0;
    const axes = inputs.map((_, i) =>
      context.axis(option('scan_input_axes', i), context.input(states + i).shape.length),
    );
    const length = inputs.length === 0 ? 0 : context.input(states).shape[axes[0]!]!;
    if (typeof length !== 'number') throw context.unsupported(`${length} iterations, which is no constant`);
    if (length > MOST_ITERATIONS) throw tooMany(context);
    let state = context.node.inputs.slice(0, states);
    const scanned: string[][] = graph.outputs.slice(states).map(() => []);
    for (let t = 0; t < length; t++) {
      const items = inputs.map((value, i) => {
        const at = option('scan_input_directions', i) === 0 ? t : length - 1 - t;
        return scope.add('Gather', [value, scope.int(at)], { axis: axes[i]! });
      });
      const results = scope.inline(graph, [...state, ...items]);
      state = results.slice(0, states);
      results.slice(states).forEach((value, s) => scanned[s]!.push(value));
    }
    state.forEach((value, i) => scope.output(i, value));
    scanned.forEach((values, s) => {
      if (!context.node.outputs[states + s]) return;
      const forward = option('scan_output_directions', s) === 0;
      const ordered = forward ? values : values.toReversed();
      scope.output(
        states + s,
        stack(context, scope, ordered, option('scan_output_axes', s), graph.outputs[states + s]!),
      );
    });
  },
};

export const CONTROL_FLOW: readonly Composite[] = [IF, LOOP, SCAN];
