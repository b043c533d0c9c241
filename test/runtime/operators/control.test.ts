import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateGraph, GraphBuilder, GraphEngine, tensorOf, type Graph } from '../../../runtime/index.js';
import { data, floats, graphProblems, known, type Case } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { expectError } from '../../support/errors.js';
import { testLiteral } from '../../support/literal.js';

const truth = (value: boolean) => tensorOf('bool', [], [Number(value)]);
const int = (value: number) => tensorOf('int64', [], [value]);
const pair = floats([2], [1, 2]);

function graph(name: string, make: (b: GraphBuilder) => void): Graph {
  const b = new GraphBuilder(name);
  make(b);
  return b.build();
}

const constant = (...values: number[]): Graph =>
  graph('branch', (b) => b.output(b.op('Identity', [b.constant('c', floats([values.length], values))]), 'float32'));

/** x -> x * 2, x: what is carried, and what is kept of each iteration. Goes on while x[0] < 8 where `stops`. */
const doubling = graph('doubling', (b) => {
  b.input('i', 'int64', []);
  b.input('cond', 'bool', []);
  b.input('x', 'float32', [2]);
  b.output(b.op('Identity', ['cond']), 'bool');
  b.output(b.op('Mul', ['x', b.constant('two', floats([], [2]))]), 'float32');
  b.output(b.op('Add', ['x', b.op('Cast', ['i'], { to: 1 })]), 'float32', [2]);
});

const countdown = graph('countdown', (b) => {
  b.input('i', 'int64', []);
  b.input('cond', 'bool', []);
  b.input('n', 'int64', []);
  b.output(b.op('Greater', ['n', b.constant('one', int(1))]), 'bool');
  b.output(b.op('Sub', ['n', b.constant('by', int(1))]), 'int64');
});

const running = graph('running', (b) => {
  b.input('sum', 'float32', [1]);
  b.input('x', 'float32', [1]);
  b.output(b.op('Add', ['sum', 'x'], {}, { outputs: ['next'] }), 'float32');
  b.output(b.op('Identity', ['next']), 'float32');
});

const LITERAL: Case[] = [
  ...[true, false].map((taken): Case => ({
    title: `${taken}`,
    op: 'If',
    inputs: [known(truth(taken))],
    attributes: { then_branch: constant(1, 2), else_branch: constant(3) },
    expected: [taken ? floats([2], [1, 2]) : floats([1], [3])],
  })),
  ...[true, false].map((taken): Case => ({
    title: `by data, ${taken}`,
    op: 'If',
    inputs: [data(truth(taken))],
    attributes: { then_branch: constant(1, 2), else_branch: constant(3, 4) },
    expected: [taken ? floats([2], [1, 2]) : floats([2], [3, 4])],
  })),
  {
    title: 'of three rounds',
    op: 'Loop',
    inputs: [known(int(3)), known(truth(true)), data(pair)],
    attributes: { body: doubling },
    outputs: 2,
    expected: [floats([2], [8, 16]), floats([3, 2], [1, 2, 3, 5, 6, 10])],
  },
  {
    title: 'of none',
    op: 'Loop',
    inputs: [known(int(0)), undefined, data(pair)],
    attributes: { body: doubling },
    outputs: 2,
    expected: [pair, floats([0, 2], [])],
  },
  {
    title: 'until its condition fails',
    op: 'Loop',
    inputs: [undefined, known(truth(true)), known(int(4))],
    attributes: { body: countdown },
    expected: [int(0)],
  },
  {
    title: 'a running sum',
    op: 'Scan',
    inputs: [data(floats([1], [10])), data(floats([3, 1], [1, 2, 3]))],
    attributes: { body: running, num_scan_inputs: 1 },
    outputs: 2,
    expected: [floats([1], [16]), floats([3, 1], [11, 13, 16])],
  },
  {
    title: 'backwards, along another axis',
    op: 'Scan',
    inputs: [data(floats([1], [10])), data(floats([1, 3], [1, 2, 3]))],
    attributes: {
      body: running,
      num_scan_inputs: 1,
      scan_input_axes: [1],
      scan_output_axes: [1],
      scan_input_directions: [1],
      scan_output_directions: [1],
    },
    outputs: 2,
    expected: [floats([1], [16]), floats([1, 3], [16, 15, 13])],
  },
];

describe('control flow', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('control', LITERAL, () => engine);

  it('reads values from around it, in bodies within bodies too', async () => {
    const inner = graph('inner', (b) => b.output(b.op('Add', ['x', 'scaled']), 'float32'));
    const other = graph('other', (b) => b.output(b.op('Neg', ['x']), 'float32'));
    const body = graph('body', (b) => {
      b.input('i', 'int64', []);
      b.input('cond', 'bool', []);
      b.input('sum', 'float32', ['n', 2]);
      b.op('Mul', ['sum', b.constant('half', floats([], [0.5]))], {}, { outputs: ['scaled'] });
      const first = b.op('Equal', ['i', b.constant('zero', int(0))]);
      b.output(b.op('Identity', ['cond']), 'bool');
      b.output(b.op('If', [first], { then_branch: inner, else_branch: other }), 'float32');
    });
    const outer = graph('outer', (b) => {
      const x = b.input('x', 'float32', ['n', 2]);
      const loop = b.op('Loop', [b.constant('trips', int(2)), '', x], { body }, { outputs: ['y'] });
      b.output(loop, 'float32');
    });
    const x = floats([2, 2], [1, 2, 3, 4]);
    expect([...evaluateGraph(outer, new Map([['x', x]])).get('y')!.data]).toEqual([-1, -2, -3, -4]);
    const model = await engine.load(outer);
    expect(await graphProblems(model, outer, { x })).toEqual([]);
    // Rows stay apart in what a loop expands to.
    expect((await model.summary()).rowsMixedBy).toBeUndefined();
    await model.dispose();
  });

  it('refuses what only data decides, and loops without end', async () => {
    const of = (count: boolean): Graph =>
      graph('loop', (b) => {
        const trips = count ? b.input('trips', 'int64', []) : '';
        const x = b.input('x', 'float32', [2]);
        b.output(b.op('Loop', [trips, '', x], { body: doubling }, { outputs: ['y', 'all'] }), 'float32');
      });
    await expect(engine.load(of(true))).rejects.toThrow(/Loop 'Loop_0': the trip count .* has to be known at load/);
    await expect(engine.load(of(false))).rejects.toThrow(/more than 1024 iterations/);
    const choice = graph('choice', (b) => {
      const condition = b.input('c', 'bool', []);
      const branches = { then_branch: constant(1, 2), else_branch: constant(3) };
      b.output(b.op('If', [condition], branches, { outputs: ['y'] }), 'float32');
    });
    await expect(engine.load(choice)).rejects.toThrow(/data decides between float32\[2\] and float32\[1\]/);
    expectError('MODEL_INVALID', /attribute 'then_branch' is missing/, () =>
      evaluateGraph(
        graph('no branches', (b) => b.output(b.op('If', [b.constant('c', truth(true))]), 'float32')),
        new Map(),
      ),
    );
  });
});
