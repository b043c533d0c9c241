import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, toFloat64, type Tensor } from '../../../runtime/index.js';
import type { Attribute } from '../../../runtime/graph/graph.js';
import {
  data,
  deviceProblems,
  floats,
  known,
  Random,
  referenceProblems,
  SEED,
  type Case,
  type Operand,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { testLiteral } from '../../support/literal.js';

const GATES = { RNN: 1, GRU: 3, LSTM: 4 } as const;
type Op = keyof typeof GATES;

/** One step of one unit's weights each 1 and no bias: what comes out is easily worked out. */
const one = (op: Op, expected: number[], outputs = 2): Case => ({
  title: 'one unit, one step',
  op,
  inputs: [
    data(floats([1, 1, 1], [0.5]), [1, 'rows', 1]),
    known(
      floats(
        [1, GATES[op], 1],
        Array.from({ length: GATES[op] }, () => 1),
      ),
    ),
    known(
      floats(
        [1, GATES[op], 1],
        Array.from({ length: GATES[op] }, () => 1),
      ),
    ),
  ],
  attributes: { hidden_size: 1 },
  outputs,
  expected: expected.map((v, i) => floats(i === 0 ? [1, 1, 1, 1] : [1, 1, 1], [v])),
});

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const gated = (1 - sigmoid(0.5)) * Math.tanh(0.5);
const cell = sigmoid(0.5) * Math.tanh(0.5);
const LITERAL: Case[] = [
  one('RNN', [Math.tanh(0.5), Math.tanh(0.5)]),
  one('GRU', [gated, gated]),
  one('LSTM', [sigmoid(0.5) * Math.tanh(cell), sigmoid(0.5) * Math.tanh(cell), cell], 3),
];

interface Shape {
  readonly steps: number;
  readonly rows: number;
  readonly features: number;
  readonly hidden: number;
  readonly directions: readonly ('forward' | 'reverse')[];
}

interface Inputs {
  readonly x: Tensor;
  readonly w: Tensor;
  readonly r: Tensor;
  readonly b: Tensor | undefined;
  readonly lengths: Tensor | undefined;
  readonly h: Tensor | undefined;
  readonly c: Tensor | undefined;
  readonly p: Tensor | undefined;
}

/** The operator as its specification writes it, a number at a time; [steps, directions, rows, hidden] and the last states. */
function recur(op: Op, shape: Shape, inputs: Inputs, resetsLast: boolean): [y: number[], h: number[], c: number[]] {
  const { steps, rows, features, hidden, directions } = shape;
  const gates = GATES[op];
  const v = (t: Tensor | undefined): Float64Array | undefined => t && toFloat64(t);
  const [x, w, r] = [v(inputs.x)!, v(inputs.w)!, v(inputs.r)!];
  const [b, lengths, h0, c0, p] = [v(inputs.b), v(inputs.lengths), v(inputs.h), v(inputs.c), v(inputs.p)];
  const D = directions.length;
  const y = Array.from({ length: steps * D * rows * hidden }, () => 0);
  const [lastH, lastC]: [number[], number[]] = [[], []];
  directions.forEach((direction, d) => {
    const at = (row: number, j: number): number => (d * rows + row) * hidden + j;
    for (let row = 0; row < rows; row++) {
      let h = Array.from({ length: hidden }, (_, j) => h0?.[at(row, j)] ?? 0);
      let c = Array.from({ length: hidden }, (_, j) => c0?.[at(row, j)] ?? 0);
      const length = lengths?.[row] ?? steps;
      for (let i = 0; i < length; i++) {
        const t = direction === 'forward' ? i : length - 1 - i;
        const bias = (gate: number, j: number, recurrent: boolean): number =>
          b?.[(d * 2 + (recurrent ? 1 : 0)) * gates * hidden + gate * hidden + j] ?? 0;
        const fromX = (gate: number, j: number): number => {
          let sum = bias(gate, j, false);
          for (let k = 0; k < features; k++)
            sum += x[(t * rows + row) * features + k]! * w[((d * gates + gate) * hidden + j) * features + k]!;
          return sum;
        };
        const fromH = (gate: number, j: number, state: readonly number[]): number =>
          state.reduce(
            (sum, s, k) => sum + s * r[((d * gates + gate) * hidden + j) * hidden + k]!,
            bias(gate, j, true),
          );
        const units = Array.from({ length: hidden }, (_, j) => j);
        const plain = (gate: number, j: number): number => fromX(gate, j) + fromH(gate, j, h);
        if (op === 'RNN') h = units.map((j) => Math.tanh(plain(0, j)));
        else if (op === 'GRU') {
          const reset = units.map((j) => sigmoid(plain(1, j)));
          const kept = h.map((s, j) => s * reset[j]!);
          h = units.map((j) => {
            const late = resetsLast ? reset[j]! * fromH(2, j, h) : fromH(2, j, kept);
            const update = sigmoid(plain(0, j));
            return (1 - update) * Math.tanh(fromX(2, j) + late) + update * h[j]!;
          });
        } else {
          const peep = (which: number, j: number, by: number): number => (p?.[(d * 3 + which) * hidden + j] ?? 0) * by;
          const next = units.map(
            (j) =>
              sigmoid(plain(2, j) + peep(2, j, c[j]!)) * c[j]! +
              sigmoid(plain(0, j) + peep(0, j, c[j]!)) * Math.tanh(plain(3, j)),
          );
          h = units.map((j) => sigmoid(plain(1, j) + peep(1, j, next[j]!)) * Math.tanh(next[j]!));
          c = next;
        }
        h.forEach((value, j) => (y[((t * D + d) * rows + row) * hidden + j] = value));
      }
      lastH.push(...h);
      lastC.push(...c);
    }
  });
  return [y, lastH, lastC];
}

function randomCase(random: Random, i: number): Case {
  const op = (['RNN', 'GRU', 'LSTM'] as const)[i % 3]!;
  const direction = random.pick(['forward', 'reverse', 'bidirectional']);
  const directions = direction === 'bidirectional' ? (['forward', 'reverse'] as const) : ([direction] as ['forward']);
  const shape: Shape = {
    steps: random.int(1, 4),
    rows: random.int(1, 4),
    features: random.int(1, 4),
    hidden: random.int(1, 5),
    directions,
  };
  const { steps, rows, features, hidden } = shape;
  const [D, columns] = [directions.length, GATES[op] * hidden];
  const maybe = <T>(make: () => T): T | undefined => (random.next() < 0.5 ? make() : undefined);
  const inputs: Inputs = {
    x: random.floats([steps, rows, features]),
    w: random.floats([D, columns, features], -1, 1),
    r: random.floats([D, columns, hidden], -1, 1),
    b: maybe(() => random.floats([D, 2 * columns])),
    lengths: maybe(() => random.tensor('int32', [rows], 0, steps + 1)),
    h: maybe(() => random.floats([D, rows, hidden])),
    c: op === 'LSTM' ? maybe(() => random.floats([D, rows, hidden])) : undefined,
    p: op === 'LSTM' ? maybe(() => random.floats([D, 3 * hidden])) : undefined,
  };
  const resetsLast = random.next() < 0.5;
  const [y, h, c] = recur(op, shape, inputs, resetsLast);
  const rowsAt = (t: Tensor, axis: number): Operand =>
    data(
      t,
      t.dims.map((d, a) => (a === axis ? 'rows' : d)),
    );
  const optional = (t: Tensor | undefined, axis: number): Operand | undefined => t && rowsAt(t, axis);
  const states = [floats([D, rows, hidden], h), ...(op === 'LSTM' ? [floats([D, rows, hidden], c)] : [])];
  return {
    title: `random ${i}: ${JSON.stringify(shape)}`,
    op,
    inputs: [
      rowsAt(inputs.x, 1),
      known(inputs.w),
      known(inputs.r),
      inputs.b && known(inputs.b),
      optional(inputs.lengths, 0),
      optional(inputs.h, 1),
      ...(op === 'LSTM' ? [optional(inputs.c, 1), inputs.p && known(inputs.p)] : []),
    ],
    attributes: {
      hidden_size: hidden,
      direction,
      ...(op === 'GRU' ? { linear_before_reset: resetsLast ? 1 : 0 } : {}),
    },
    outputs: 1 + states.length,
    expected: [floats([steps, D, rows, hidden], y), ...states],
  };
}

/** A GRU over a history, as PyTorch and Keras exporters write it. */
function overHistory(steps: number | string): GraphBuilder {
  const random = new Random();
  const b = new GraphBuilder('history', 14);
  const x = b.op('Transpose', [b.input('history', 'float32', ['n', steps, 3])], { perm: [1, 0, 2] });
  const list = (...v: number[]): string => b.constant(`list${v.join()}`, tensorOf('int64', [v.length], v));
  const rows = b.op('Slice', [b.op('Shape', ['history']), list(0), list(1)]);
  const shape = b.op('Concat', [list(1), rows, list(4)], { axis: 0 });
  const zero = b.op('Expand', [b.constant('zero', floats([1], [0])), shape]);
  const lengths = b.op('Expand', [b.constant('steps', tensorOf('int32', [1], [5])), rows]);
  const weight = (name: string, ...dims: number[]): string => b.constant(name, random.floats(dims));
  const inputs = [x, weight('w', 1, 12, 3), weight('r', 1, 12, 4), weight('b', 1, 24), lengths, zero];
  const y = b.op('GRU', inputs, { hidden_size: 4, linear_before_reset: 1 }, { outputs: ['y', 'state'], name: 'it' });
  const all = b.op('Transpose', [b.op('Squeeze', [y, list(1)])], { perm: [1, 0, 2] });
  b.output(b.op('Gather', [all, b.constant('last', tensorOf('int64', [], [-1]))], { axis: 1 }), 'float32');
  b.output(b.op('Squeeze', ['state', list(0)]), 'float32');
  return b;
}

describe('recurrent operators', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('recurrent', LITERAL, () => engine);

  it(`agrees with the specification on random sizes (seed ${SEED})`, async () => {
    const random = new Random();
    const cases = Array.from({ length: 18 }, (_, i) => randomCase(random, i));
    expect(referenceProblems(cases)).toEqual([]);
    expect(await deviceProblems(engine, cases)).toEqual([]);
  });

  it('takes the functions and the layout that attributes ask for', async () => {
    const x = data(floats([2, 1, 1], [0.5, -2]), ['rows', 1, 1]);
    const weight = known(floats([1, 1, 1], [1]));
    const rnn = (name: string, extra: Record<string, Attribute>, ...expected: [number, number]): Case => ({
      title: name,
      op: 'RNN',
      inputs: [x, weight, weight],
      attributes: { hidden_size: 1, layout: 1, activations: [name], ...extra },
      expected: [floats([2, 1, 1, 1], expected)],
    });
    const cases = [
      rnn('Relu', {}, 0.5, 0),
      rnn('Affine', { activation_alpha: [2], activation_beta: [1] }, 2, -3),
      rnn('LeakyRelu', { activation_alpha: [0.5] }, 0.5, -1),
      rnn('HardSigmoid', {}, 0.6, 0.1),
      rnn('ScaledTanh', { activation_alpha: [3], activation_beta: [2] }, 3 * Math.tanh(1), 3 * Math.tanh(-4)),
      rnn('relu', { clip: 0.25 }, 0.25, 0),
      rnn('ThresholdedRelu', {}, 0, 0),
      rnn('Elu', {}, 0.5, Math.exp(-2) - 1),
      rnn('Softsign', {}, 0.5 / 1.5, -2 / 3),
      rnn('Softplus', {}, Math.log(1 + Math.exp(0.5)), Math.log(1 + Math.exp(-2))),
    ];
    expect(referenceProblems(cases)).toEqual([]);
    expect(await deviceProblems(engine, cases)).toEqual([]);
  });

  it('keeps the rows of a history apart, and sees that every row has all steps', async () => {
    const model = await engine.load(overHistory(5).build());
    const { plan, rowsMixedBy } = await model.summary();
    expect(rowsMixedBy).toBeUndefined();
    expect(plan.filter((step) => /Where|Less|Expand/.test(step))).toEqual([]);
    // The inputs of all steps at once; of the state, nothing at first, for it is zero.
    expect(plan.filter((step) => step.startsWith('MatMul')).length).toBe(1 + 4);
    await model.dispose();
  });

  it.each<[string, RegExp, () => Promise<unknown>]>([
    [
      'as many steps as the query has',
      /GRU 'it': steps steps, which is no constant/,
      () => engine.load(overHistory('steps').build()),
    ],
    [
      'weights of another size',
      /RNN .*: recurrent weights \[1, 1, 2\], expected \[1, 2, 2\]/,
      () =>
        deviceProblems(engine, [
          {
            ...LITERAL[0]!,
            attributes: {},
            inputs: [LITERAL[0]!.inputs[0], known(floats([1, 2, 1], [1, 1])), known(floats([1, 1, 2], [1, 1]))],
          },
        ]),
    ],
    [
      'an unknown function',
      /RNN .*: activation 'Cosine'/,
      () => deviceProblems(engine, [{ ...LITERAL[0]!, attributes: { activations: ['Cosine'] } }]),
    ],
    [
      'too few functions',
      /LSTM .*: 1 activations, expected 3/,
      () => deviceProblems(engine, [{ ...LITERAL[2]!, attributes: { activations: ['Tanh'] } }]),
    ],
  ])('refuses %s', async (_, message, load) => {
    await expect(load()).rejects.toThrow(message);
  });
});
