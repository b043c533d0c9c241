import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateGraph, GraphBuilder, GraphEngine, tensorOf, type Graph } from '../../../runtime/index.js';
import { floats, graphProblems, uncovered } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { FAMILIES } from '../../../runtime/operators/registry.js';

const X = floats([2, 3], [1, 2, 3, 4, 5, 6]);

interface Chain {
  readonly title: string;
  readonly ops: readonly string[];
  readonly expected: readonly [dims: readonly number[], values: readonly number[]];
  build(b: GraphBuilder, x: string, at: (value: number) => string): string;
}

/** Sequences are no inputs or outputs of a graph, so that what is tested is a chain from tensor to tensor. */
const CHAINS: readonly Chain[] = [
  {
    title: 'joins what was put in',
    ops: ['SequenceEmpty', 'SequenceInsert', 'ConcatFromSequence'],
    build(b, x, at) {
      const one = b.op('SequenceInsert', [b.op('SequenceEmpty', []), x]);
      const two = b.op('SequenceInsert', [one, b.op('Neg', [x]), at(0)]);
      return b.op('ConcatFromSequence', [two], { axis: 1 });
    },
    expected: [
      [2, 6],
      [-1, -2, -3, 1, 2, 3, -4, -5, -6, 4, 5, 6],
    ],
  },
  {
    title: 'joins along a new axis',
    ops: ['SequenceConstruct', 'ConcatFromSequence'],
    build(b, x) {
      const pair = b.op('SequenceConstruct', [x, b.op('Neg', [x])]);
      return b.op('ConcatFromSequence', [pair], { axis: -1, new_axis: 1 });
    },
    expected: [
      [2, 3, 2],
      [1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6],
    ],
  },
  {
    title: 'takes what was left after erasing',
    ops: ['SequenceErase', 'SequenceAt', 'Identity'],
    build(b, x, at) {
      const three = b.op('SequenceConstruct', [x, b.op('Neg', [x]), b.op('Abs', [x])]);
      const erased = b.op('SequenceErase', [b.op('SequenceErase', [b.op('Identity', [three])]), at(0)]);
      return b.op('SequenceAt', [erased, at(-1)]);
    },
    expected: [
      [2, 3],
      [-1, -2, -3, -4, -5, -6],
    ],
  },
  {
    title: 'splits into columns, counts them and takes one',
    ops: ['SplitToSequence', 'SequenceLength', 'SequenceAt'],
    build(b, x, at) {
      const columns = b.op('SplitToSequence', [x], { axis: 1, keepdims: 0 });
      const count = b.op('Cast', [b.op('SequenceLength', [columns])], { to: 1 });
      return b.op('Mul', [b.op('SequenceAt', [columns, at(1)]), count]);
    },
    expected: [[2], [6, 15]],
  },
  {
    title: 'splits into parts of a size, the last one smaller',
    ops: ['SplitToSequence'],
    build: (b, x, at) => b.op('SequenceAt', [b.op('SplitToSequence', [x, at(2)], { axis: 1 }), at(1)]),
    expected: [
      [2, 1],
      [3, 6],
    ],
  },
  {
    title: 'splits into parts of given sizes',
    ops: ['SplitToSequence'],
    build(b, x, at) {
      const sizes = b.constant('sizes', tensorOf('int64', [2], [1, 2]));
      return b.op('SequenceAt', [b.op('SplitToSequence', [x, sizes], { axis: -1 }), at(1)]);
    },
    expected: [
      [2, 2],
      [2, 3, 5, 6],
    ],
  },
  {
    title: 'goes round a loop',
    ops: ['SequenceInsert'],
    build(b, x, at) {
      const body = new GraphBuilder('body', 17);
      body.input('i', 'int64', []);
      const go = body.input('go', 'bool', []);
      const list = body.input('list', 'float32', []);
      body.output(go, 'bool');
      body.output(body.op('SequenceInsert', [list, x]), 'float32');
      const empty = b.op('SequenceEmpty', []);
      const filled = b.op('Loop', [at(3), '', empty], { body: body.build() });
      return b.op('ConcatFromSequence', [filled], { axis: 0 });
    },
    expected: [
      [6, 3],
      [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6],
    ],
  },
];

function graphOf(build: Chain['build'], rows: number | string = 'rows'): Graph {
  const b = new GraphBuilder('sequence', 17);
  const at = (value: number): string => b.constant(`at${value}`, tensorOf('int64', [], [value]));
  b.output(b.op('Identity', [build(b, b.input('x', 'float32', [rows, 3]), at)], {}, { outputs: ['y'] }), 'float32');
  return b.build();
}

describe('sequences', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  it('leaves no operator of the family untested', () => {
    const ops = CHAINS.flatMap((c) => c.ops).filter((op) => op !== 'Identity');
    expect(
      uncovered(
        FAMILIES.sequence,
        ops.map((op) => ({ title: op, op, inputs: [] })),
      ),
    ).toEqual([]);
  });

  it.each(CHAINS)('$title', async ({ build, expected: [dims, values] }) => {
    const graph = graphOf(build);
    const reference = evaluateGraph(graph, new Map([['x', X]])).get('y')!;
    expect([reference.dims, [...reference.data]]).toEqual([dims, values]);
    const model = await engine.load(graph);
    expect(await graphProblems(model, graph, { x: X })).toEqual([]);
    await model.dispose();
  });

  const refused: [string, RegExp, Chain['build']][] = [
    [
      'a position outside',
      /SequenceAt .* position 1 is outside a sequence of 1/,
      (b, x, at) => b.op('SequenceAt', [b.op('SequenceConstruct', [x]), at(1)]),
    ],
    ['a tensor for a sequence', /SequenceLength .* input 0 is no sequence/, (b, x) => b.op('SequenceLength', [x])],
    [
      'a sequence for a tensor',
      /Relu .* is a sequence, expected a tensor/,
      (b, x) => b.op('Relu', [b.op('SequenceConstruct', [x])]),
    ],
    [
      'as many parts as rows',
      /SplitToSequence .* how many parts dimension rows has depends on the query/,
      (b, x, at) => b.op('SequenceAt', [b.op('SplitToSequence', [x]), at(0)]),
    ],
    [
      'a join of nothing',
      /ConcatFromSequence .* the sequence is empty/,
      (b) => b.op('ConcatFromSequence', [b.op('SequenceEmpty', [])], { axis: 0 }),
    ],
  ];
  it.each(refused)('refuses %s', async (_, message, build) => {
    await expect(engine.load(graphOf(build))).rejects.toThrow(message);
  });
});
