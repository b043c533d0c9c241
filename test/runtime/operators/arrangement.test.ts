import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphEngine, tensorOf } from '../../../runtime/index.js';
import { data, deviceProblems, floats, ints, known, Random, SEED, symbolic, type Case } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { testLiteral } from '../../support/literal.js';

const row = floats([1, 3], [1, 2, 3]);
const square = floats([2, 2], [1, 2, 3, 4]);
const scalar = (value: number) => known(tensorOf('int64', [], [value]));

const pad = (mode: string, pads: number[], values: number[]): Case => ({
  title: `${mode} ${pads.join()}`,
  op: 'Pad',
  inputs: [symbolic(row), ints(...pads)],
  attributes: { mode },
  expected: [floats([1, values.length], values)],
});

const trilu = (upper: number, k: number | undefined, values: number[]): Case => ({
  title: `upper ${upper} k ${k ?? 'absent'}`,
  op: 'Trilu',
  inputs: [data(square), ...(k === undefined ? [] : [scalar(k)])],
  attributes: { upper },
  expected: [floats([2, 2], values)],
});

const LITERAL: Case[] = [
  pad('constant', [0, 1, 0, 2], [0, 1, 2, 3, 0, 0]),
  pad('edge', [0, 2, 0, 1], [1, 1, 1, 2, 3, 3]),
  pad('reflect', [0, 2, 0, 2], [3, 2, 1, 2, 3, 2, 1]),
  pad('wrap', [0, 2, 0, 4], [2, 3, 1, 2, 3, 1, 2, 3, 1]),
  pad('constant', [0, -1, 0, 1], [2, 3, 0]),
  pad('constant', [0, 0, 0, 0], [1, 2, 3]),
  {
    title: 'with a value, by axes',
    op: 'Pad',
    opset: 18,
    inputs: [data(square), ints(1, 0), known(floats([], [7])), ints(-1)],
    expected: [floats([2, 3], [7, 1, 2, 7, 3, 4])],
  },
  {
    title: 'with a value from data',
    op: 'Pad',
    inputs: [data(tensorOf('int64', [1], [-3])), ints(1, 0), data(tensorOf('int64', [], [-9]))],
    expected: [tensorOf('int64', [2], [-9, -3])],
  },
  {
    title: 'by attributes',
    op: 'Pad',
    opset: 10,
    inputs: [data(row)],
    attributes: { pads: [1, 0, 0, 0], value: 0.5 },
    expected: [floats([2, 3], [0.5, 0.5, 0.5, 1, 2, 3])],
  },
  {
    title: 'both ways',
    op: 'Tile',
    inputs: [symbolic(square), ints(2, 2)],
    expected: [floats([4, 4], [1, 2, 1, 2, 3, 4, 3, 4, 1, 2, 1, 2, 3, 4, 3, 4])],
  },
  {
    title: 'a dimension of 1',
    op: 'Tile',
    inputs: [data(row), ints(2, 1)],
    expected: [floats([2, 3], [1, 2, 3, 1, 2, 3])],
  },
  {
    title: 'of bools',
    op: 'Tile',
    inputs: [data(tensorOf('bool', [2], [1, 0])), ints(2)],
    expected: [tensorOf('bool', [4], [1, 0, 1, 0])],
  },
  trilu(1, undefined, [1, 2, 0, 4]),
  trilu(0, undefined, [1, 0, 3, 4]),
  trilu(1, 1, [0, 2, 0, 0]),
  trilu(0, -1, [0, 0, 3, 0]),
  trilu(1, -5, [1, 2, 3, 4]),
  {
    title: 'of int64, k from data',
    op: 'Trilu',
    inputs: [data(tensorOf('int64', [1, 2], [-5, -6])), data(tensorOf('int64', [], [1]))],
    expected: [tensorOf('int64', [1, 2], [0, -6])],
  },
  {
    title: 'of a symbolic shape',
    op: 'EyeLike',
    inputs: [symbolic(floats([2, 3], [9, 9, 9, 9, 9, 9]))],
    attributes: { k: 1 },
    expected: [floats([2, 3], [0, 1, 0, 0, 0, 1])],
  },
  {
    title: 'of another type, below the diagonal',
    op: 'EyeLike',
    inputs: [symbolic(square)],
    attributes: { k: -1, dtype: 7 },
    expected: [tensorOf('int64', [2, 2], [0, 0, 1, 0])],
  },
  {
    title: 'of a batch',
    op: 'Diagonal',
    domain: 'braid',
    inputs: [symbolic(floats([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]), ['b', 'd', 'd'])],
    attributes: { axis1: 1, axis2: 2 },
    expected: [floats([2, 2], [1, 4, 5, 8])],
  },
  {
    title: 'in blocks',
    op: 'SpaceToDepth',
    inputs: [data(floats([1, 1, 2, 4], [1, 2, 3, 4, 5, 6, 7, 8]))],
    attributes: { blocksize: 2 },
    expected: [floats([1, 4, 1, 2], [1, 3, 2, 4, 5, 7, 6, 8])],
  },
  {
    title: 'columns first',
    op: 'DepthToSpace',
    inputs: [data(floats([1, 8, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8]))],
    attributes: { blocksize: 2 },
    expected: [floats([1, 2, 2, 2], [1, 3, 5, 7, 2, 4, 6, 8])],
  },
  {
    title: 'rows first',
    op: 'DepthToSpace',
    inputs: [data(floats([1, 8, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8]))],
    attributes: { blocksize: 2, mode: 'CRD' },
    expected: [floats([1, 2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8])],
  },
  {
    title: 'along an axis',
    op: 'Compress',
    inputs: [data(square), known(tensorOf('bool', [2], [0, 1]))],
    attributes: { axis: 1 },
    expected: [floats([2, 1], [2, 4])],
  },
  {
    title: 'flat',
    op: 'Compress',
    inputs: [data(square), known(tensorOf('bool', [3], [1, 0, 1]))],
    expected: [floats([2], [1, 3])],
  },
  {
    title: 'cut in one axis, padded in the other',
    op: 'CenterCropPad',
    opset: 18,
    inputs: [data(floats([3, 2], [1, 2, 3, 4, 5, 6])), ints(2, 5)],
    expected: [floats([2, 5], [0, 1, 2, 0, 0, 0, 3, 4, 0, 0])],
  },
  {
    title: 'by an axis from the end, the rows left alone',
    op: 'CenterCropPad',
    opset: 18,
    inputs: [data(floats([2, 3], [1, 2, 3, 4, 5, 6]), ['rows', 3]), ints(1)],
    attributes: { axes: [-1] },
    expected: [floats([2, 1], [2, 5])],
  },
];

function randomCases(random: Random): Case[] {
  return Array.from({ length: 24 }, (_, i): Case => {
    const dims = random.dims(3, 5);
    const x = random.floats(dims);
    const title = `random ${i} [${dims.join()}]`;
    if (i % 3 === 0) return { title, op: 'Tile', inputs: [symbolic(x), ints(...random.dims(3, 3))] };
    if (i % 3 === 1) {
      const upper = random.int(0, 1);
      return { title, op: 'Trilu', inputs: [symbolic(x), scalar(random.int(-4, 4))], attributes: { upper } };
    }
    // One set of padded axes for each mode, so that few pipelines serve all sizes. A reflection needs other elements.
    const mode = random.pick(['constant', 'edge', 'reflect', 'wrap']);
    const most = mode === 'reflect' ? Math.min(dims[1]!, dims[2]!) - 1 : 4;
    const pads = [0, random.int(0, most), random.int(0, most), 0, random.int(0, most), random.int(0, most)];
    return { title: `${title} ${mode}`, op: 'Pad', inputs: [symbolic(x), ints(...pads)], attributes: { mode } };
  });
}

describe('operators that arrange elements anew', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('arrangement', LITERAL, () => engine);

  it(`agree with the reference on random shapes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });
});
