import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  graphProblems,
  known,
  Random,
  referenceProblems,
  rowsOf,
  SEED,
  uncovered,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { FAMILIES } from '../../support/families.js';

// The mean of 1, 3 is 2 and their deviation 1: with an epsilon of 3 they come to -0.5 and 0.5.
const x = floats([2, 2], [1, 3, -6, 2]);
const scale = floats([2], [1, 10]);
const bias = floats([2], [0, 100]);

const LITERAL: Case[] = [
  {
    title: 'without bias',
    op: 'LayerNormalization',
    inputs: [data(x), known(scale)],
    attributes: { epsilon: 0 },
    expected: [floats([2, 2], [-1, 10, -1, 10])],
  },
  {
    title: 'with bias',
    op: 'LayerNormalization',
    inputs: [data(x), known(scale), known(bias)],
    attributes: { epsilon: 0 },
    expected: [floats([2, 2], [-1, 110, -1, 110])],
  },
  {
    title: 'with epsilon',
    op: 'LayerNormalization',
    inputs: [data(x), known(scale)],
    attributes: { epsilon: 3 },
    expected: [floats([2, 2], [-0.5, 5, -4 / Math.sqrt(19), 40 / Math.sqrt(19)])],
  },
  {
    title: 'from axis 0',
    op: 'LayerNormalization',
    inputs: [data(floats([2, 2], [1, 3, 1, 3])), data(floats([2, 2], [1, 2, 3, 4]))],
    attributes: { axis: 0, epsilon: 0 },
    expected: [floats([2, 2], [-1, 2, -3, 4])],
  },
];

function randomCases(random: Random): Case[] {
  return Array.from({ length: 24 }, (_, i): Case => {
    const dims = random.dims(random.int(1, 4), 7);
    const axis = random.int(0, dims.length - 1);
    const tail = dims.slice(axis);
    const value = random.floats(dims, -3, 5);
    return {
      title: `random [${dims.join()}] axis ${axis}`,
      op: 'LayerNormalization',
      inputs: [
        axis === 0 ? data(value) : rowsOf(value),
        known(random.floats(tail)),
        ...(i % 2 ? [data(random.floats(tail))] : []),
      ],
      attributes: { axis: i % 3 ? axis : axis - dims.length, ...(i % 4 ? {} : { epsilon: 0.01 }) },
    };
  });
}

describe('layer normalization', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  it('is tested', () => {
    expect(uncovered(FAMILIES.normalization, LITERAL)).toEqual([]);
  });

  it('has a reference that gives hand-written results', () => {
    expect(referenceProblems(LITERAL)).toEqual([]);
  });

  it('gives hand-written results on the device', async () => {
    expect(await deviceProblems(engine, LITERAL)).toEqual([]);
  });

  it(`agrees with the reference on random shapes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it('reads lines with gaps, and writes into a concatenation', async () => {
    const random = new Random();
    const b = new GraphBuilder('strided');
    const x = b.input('x', 'float32', ['n', 6, 5]);
    const turned = b.op('Transpose', [x], { perm: [0, 2, 1] });
    const scale = b.constant('scale', random.floats([6]));
    const normal = b.op('LayerNormalization', [turned, scale], {});
    b.output(b.op('Concat', [normal, b.op('Relu', [turned])], { axis: 1 }, { outputs: ['rows'] }), 'float32');
    b.output(
      b.op('Concat', [b.op('LayerNormalization', [turned, scale]), turned], { axis: 2 }, { outputs: ['columns'] }),
      'float32',
    );
    const graph = b.build();
    const model = await engine.load(graph);
    for (const n of [1, 4]) expect(await graphProblems(model, graph, { x: random.floats([n, 6, 5]) })).toEqual([]);
    await model.dispose();
  });
});
