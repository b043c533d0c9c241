import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  graphProblems,
  known,
  Random,
  rowsOf,
  SEED,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { testLiteral } from '../../support/literal.js';

const x = floats([2, 3], [1, 2, 3, 4, 5, 6]);
const axis = (value: number) => known(tensorOf('int64', [], [value]));
const WORD = 2 ** 32;

const running = (op: string, along: number, attributes: Record<string, number>, y: number[]): Case => ({
  title: `along ${along} ${JSON.stringify(attributes)}`,
  op,
  opset: 26,
  inputs: [data(x), axis(along)],
  attributes,
  expected: [floats([2, 3], y)],
});

// The examples of the ONNX pages, and integers that cross their words.
const LITERAL: Case[] = [
  running('CumSum', 1, {}, [1, 3, 6, 4, 9, 15]),
  running('CumSum', -2, {}, [1, 2, 3, 5, 7, 9]),
  running('CumSum', 1, { exclusive: 1 }, [0, 1, 3, 0, 4, 9]),
  running('CumSum', 1, { reverse: 1 }, [6, 5, 3, 15, 11, 6]),
  running('CumSum', 1, { reverse: 1, exclusive: 1 }, [5, 3, 0, 11, 6, 0]),
  running('CumProd', 1, {}, [1, 2, 6, 4, 20, 120]),
  running('CumProd', 0, { exclusive: 1 }, [1, 1, 1, 1, 2, 3]),
  {
    title: 'of int64',
    op: 'CumSum',
    inputs: [data(tensorOf('int64', [3], [WORD - 1, 1, -2 * WORD])), axis(0)],
    expected: [tensorOf('int64', [3], [WORD - 1, WORD, -WORD])],
  },
  {
    title: 'of int32',
    op: 'CumSum',
    inputs: [data(tensorOf('int32', [3], [5, -7, 1])), axis(0)],
    attributes: { exclusive: 1 },
    expected: [tensorOf('int32', [3], [0, 5, -2])],
  },
  { title: 'of no lines', op: 'CumSum', inputs: [data(floats([0, 3], [])), axis(1)], expected: [floats([0, 3], [])] },
  {
    title: 'of empty lines',
    op: 'CumSum',
    inputs: [data(floats([3, 0], [])), axis(1)],
    expected: [floats([3, 0], [])],
  },
];

function randomCases(random: Random): Case[] {
  return Array.from({ length: 16 }, (_, i): Case => {
    const dims = random.dims(random.int(1, 4), 6);
    const along = random.int(-dims.length, dims.length - 1);
    const value = random.floats(dims);
    const isFirst = along === 0 || along === -dims.length;
    return {
      title: `random [${dims.join()}] along ${along}`,
      op: i % 4 === 3 ? 'CumProd' : 'CumSum',
      opset: 26,
      inputs: [isFirst ? data(value) : rowsOf(value), axis(along)],
      attributes: { exclusive: i % 2, reverse: random.int(0, 1) },
    };
  });
}

describe('running sums and products', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('scan', LITERAL, () => engine);

  it(`agree with the reference on random shapes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it('run over what is transposed, backwards, into a concatenation', async () => {
    const b = new GraphBuilder('running');
    const input = b.input('x', 'float32', ['n', 'length', 3]);
    const turned = b.op('Transpose', [input], { perm: [0, 2, 1] });
    const along = b.constant('axis', tensorOf('int64', [], [2]));
    const sums = b.op('CumSum', [turned, along], { reverse: 1 });
    b.output(b.op('Concat', [sums, turned], { axis: 1 }, { outputs: ['y'] }), 'float32');
    const graph = b.build();
    const model = await engine.load(graph);
    for (const dims of [
      [1, 1, 3],
      [4, 5, 3],
    ])
      expect(await graphProblems(model, graph, { x: new Random().floats(dims) })).toEqual([]);
    await model.dispose();
  });
});
