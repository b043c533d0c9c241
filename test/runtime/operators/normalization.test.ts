import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, type Tensor } from '../../../runtime/index.js';
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

// The mean of 1, 3 is 2 and their deviation 1: with an epsilon of 3 they come to -0.5 and 0.5.
const x = floats([2, 2], [1, 3, -6, 2]);
const scale = floats([2], [1, 10]);
const bias = floats([2], [0, 100]);

// Two rows of two channels of two places each; values by the definitions in the ONNX pages, worked out in Python.
const places = floats([2, 2, 2], [1, 3, -6, 2, 5, 5.5, 0, 1]);
const GROUPED = [0.2828426, 0.8485278, -1.6970556, 0.5656852, 0.8825953, 1.0902647, -1.1940995, -0.7787605];
const pair = (a: number, b: number) => known(floats([2], [a, b]));

const OTHERS: Case[] = [
  {
    title: 'with its statistics',
    op: 'LayerNormalization',
    outputs: 3,
    inputs: [data(x), known(scale), known(bias)],
    attributes: { epsilon: 0 },
    expected: [floats([2, 2], [-1, 110, -1, 110]), floats([2, 1], [2, -2]), floats([2, 1], [1, 0.25])],
  },
  {
    title: 'with a scale that broadcasts',
    op: 'LayerNormalization',
    inputs: [data(x), known(floats([1], [10])), known(floats([2, 1], [0, 5]))],
    attributes: { epsilon: 0 },
    expected: [floats([2, 2], [-10, 10, -5, 15])],
  },
  {
    title: 'of the last axis',
    op: 'RMSNormalization',
    opset: 23,
    inputs: [data(floats([2, 2], [3, 4, 1, 7])), pair(1, 10)],
    attributes: { epsilon: 0 },
    expected: [floats([2, 2], [0.8485281, 11.3137085, 0.2, 14])],
  },
  {
    title: 'with an epsilon and a scale that broadcasts',
    op: 'RMSNormalization',
    opset: 23,
    inputs: [data(floats([1, 2], [3, -1])), known(floats([1], [2]))],
    attributes: { epsilon: 1, axis: 0 },
    expected: [floats([1, 2], [2.4494897, -0.8164966])],
  },
  {
    title: 'of channels',
    op: 'InstanceNormalization',
    inputs: [data(places), pair(1, 10), pair(0, 100)],
    attributes: { epsilon: 0 },
    expected: [floats([2, 2, 2], [-1, 1, 90, 110, -1, 1, 90, 110])],
  },
  {
    title: 'of all channels',
    op: 'GroupNormalization',
    opset: 21,
    inputs: [data(places), pair(1, 1), pair(0, 0)],
    attributes: { num_groups: 1 },
    expected: [floats([2, 2, 2], GROUPED)],
  },
  {
    title: 'scaled by channel',
    op: 'GroupNormalization',
    opset: 21,
    inputs: [data(places), pair(1, 2), pair(0, 1)],
    attributes: { num_groups: 1 },
    expected: [
      floats(
        [2, 2, 2],
        GROUPED.map((v, i) => (i % 4 < 2 ? v : 2 * v + 1)),
      ),
    ],
  },
  {
    title: 'scaled by group',
    op: 'GroupNormalization',
    opset: 18,
    inputs: [data(places), pair(1, 10), pair(0, 100)],
    attributes: { num_groups: 2, epsilon: 0 },
    expected: [floats([2, 2, 2], [-1, 1, 90, 110, -1, 1, 90, 110])],
  },
  ...[known, data].map((operand): Case => ({
    title: operand === known ? 'of constants' : 'of data',
    op: 'BatchNormalization',
    inputs: [
      data(places),
      ...[
        [2, 1],
        [0, 5],
        [1, 2],
        [3, 0],
      ].map((values) => operand(floats([2], values))),
    ],
    attributes: { epsilon: 1 },
    expected: [floats([2, 2, 2], [0, 2, -3, 5, 4, 4.5, 3, 4])],
  })),
  {
    title: 'of rank 2',
    op: 'BatchNormalization',
    inputs: [data(floats([2, 2], [1, 2, 3, 4])), pair(1, 2), pair(0, 1), pair(1, 2), pair(0, 3)],
    attributes: { epsilon: 1 },
    expected: [floats([2, 2], [0, 1, 2, 3])],
  },
  {
    title: 'by the length',
    op: 'LpNormalization',
    inputs: [data(floats([2, 2], [3, -4, 0, 0]))],
    expected: [floats([2, 2], [0.6, -0.8, 0, 0])],
  },
  {
    title: 'by the sum of magnitudes',
    op: 'LpNormalization',
    inputs: [data(floats([2, 2], [3, -4, 1, 0]))],
    attributes: { p: 1, axis: 0 },
    expected: [floats([2, 2], [0.75, -1, 0.25, 0])],
  },
  {
    title: 'of one axis',
    op: 'MeanVarianceNormalization',
    inputs: [data(x)],
    attributes: { axes: [1] },
    expected: [floats([2, 2], [-1, 1, -1, 1])],
  },
  {
    title: 'of all but the channels',
    op: 'MeanVarianceNormalization',
    inputs: [data(floats([2, 2, 1, 1], [1, 0, 3, 8]))],
    expected: [floats([2, 2, 1, 1], [-1, -1, 1, 1])],
  },
];

const LITERAL: Case[] = [
  ...OTHERS,
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

/** Lines of the lengths at which lanes are added, rows beside the edges of workgroups. */
function sharedLines(random: Random): Case[] {
  return [8, 9, 21, 64, 65, 100, 257, 1024, 1025].map((length, i): Case => {
    const rows = [1, 16, 17, 3][i % 4]!;
    const operands = [random.floats([length]), ...(i % 2 ? [random.floats([length])] : [])];
    return {
      title: `of lines of ${length}`,
      op: 'LayerNormalization',
      inputs: [rowsOf(random.floats([rows, length], -3, 5)), ...operands.map((t) => known(t))],
    };
  });
}

/** The other normalizations, and layer normalization's general form. */
function randomOthers(random: Random): Case[] {
  const operators = [
    'LayerNormalization',
    'RMSNormalization',
    'InstanceNormalization',
    'GroupNormalization',
    'BatchNormalization',
    'LpNormalization',
    'MeanVarianceNormalization',
  ];
  return Array.from({ length: 4 * operators.length }, (_, i): Case => {
    const op = operators[i % operators.length]!;
    const dims = random.dims(op === 'MeanVarianceNormalization' ? 4 : random.int(3, 5), 5);
    dims[1] = 2 * random.int(1, 3);
    const value = random.floats(dims, -3, 5);
    const channels = () => random.floats([dims[1]!], 0.5, 2);
    const axis = random.int(1, dims.length - 1);
    const tail = dims.slice(axis);
    const operands: Record<string, () => Tensor[]> = {
      LayerNormalization: () => [random.floats(random.broadcastable(tail)), random.floats(tail)],
      RMSNormalization: () => [random.floats(random.broadcastable(tail))],
      InstanceNormalization: () => [channels(), channels()],
      GroupNormalization: () => [channels(), channels()],
      BatchNormalization: () => [channels(), channels(), channels(), channels()],
    };
    const attributes: Record<string, Case['attributes']> = {
      LayerNormalization: { axis },
      RMSNormalization: { axis },
      GroupNormalization: { num_groups: dims[1]! / 2 },
      LpNormalization: { axis, p: random.int(1, 2) },
    };
    return {
      title: `random [${dims.join()}] axis ${axis}`,
      op,
      opset: 23,
      outputs: op === 'LayerNormalization' ? 3 : 1,
      inputs: [
        op === 'MeanVarianceNormalization' ? data(value) : rowsOf(value),
        ...(operands[op]?.() ?? []).map((t) => (i % 2 ? known(t) : data(t))),
      ],
      attributes: attributes[op] ?? {},
    };
  });
}

describe('normalizations', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('normalization', LITERAL, () => engine);

  it(`agree with the reference on random shapes (seed ${SEED})`, async () => {
    const random = new Random();
    expect(await deviceProblems(engine, [...randomCases(random), ...randomOthers(random)])).toEqual([]);
  });

  it('agree with the reference where lanes share a line, as on a GPU', async () => {
    const gpu = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24, software: false }));
    const random = new Random();
    expect(await deviceProblems(gpu, [...sharedLines(random), ...randomCases(random)])).toEqual([]);
    gpu.close();
  });

  it('read lines with gaps, and write into a concatenation', async () => {
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
