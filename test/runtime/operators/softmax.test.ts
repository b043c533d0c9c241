import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphEngine } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  Random,
  referenceProblems,
  rowsOf,
  SEED,
  symbolic,
  uncovered,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { FAMILIES } from '../../../runtime/operators/registry.js';

// The example of the ONNX pages, and one that overflows where the largest is not taken off first.
const x = floats([2, 4], [0, 1, 2, 3, 10_000, 10_001, 10_002, 10_003]);
const P = [0.032058604, 0.08714432, 0.23688284, 0.6439143];
const L = [-3.4401896, -2.4401896, -1.4401897, -0.44018966];
const pairs = floats([2, 2, 1], [0, 0, 0, 0]);
const quarter = floats([2, 2, 1], [0.5, 0.5, 0.5, 0.5]);

const LITERAL: Case[] = [
  { title: 'of the last axis', op: 'Softmax', inputs: [data(x)], expected: [floats([2, 4], [...P, ...P])] },
  { title: 'of the last axis', op: 'LogSoftmax', inputs: [data(x)], expected: [floats([2, 4], [...L, ...L])] },
  {
    title: 'of equals, the first',
    op: 'Hardmax',
    inputs: [data(floats([2, 4], [0, 3, 3, 1, -5, -Infinity, -7, -6]))],
    expected: [floats([2, 4], [0, 1, 0, 0, 1, 0, 0, 0])],
  },
  {
    title: 'of axis 0',
    op: 'Hardmax',
    inputs: [data(floats([2, 2], [0, 3, 3, 1]))],
    attributes: { axis: 0 },
    expected: [floats([2, 2], [0, 1, 1, 0])],
  },
  {
    title: 'before opset 13 from axis 0',
    op: 'Hardmax',
    opset: 11,
    inputs: [data(floats([2, 2], [0, 3, 4, 1]))],
    attributes: { axis: 0 },
    expected: [floats([2, 2], [0, 0, 1, 0])],
  },
  {
    title: 'of axis 0',
    op: 'Softmax',
    inputs: [data(floats([4, 1], [0, 1, 2, 3]))],
    attributes: { axis: 0 },
    expected: [floats([4, 1], P)],
  },
  // From opset 13 on the axis stands alone, and is the last where it is not said ..
  { title: 'of a last axis of 1', op: 'Softmax', inputs: [data(pairs)], expected: [floats([2, 2, 1], [1, 1, 1, 1])] },
  // .. before it all that follows axis 1 is one line.
  { title: 'before opset 13', op: 'Softmax', opset: 12, inputs: [data(pairs)], expected: [quarter] },
  {
    title: 'before opset 13 from axis 0',
    op: 'Softmax',
    opset: 11,
    inputs: [data(pairs)],
    attributes: { axis: 0 },
    expected: [floats([2, 2, 1], [0.25, 0.25, 0.25, 0.25])],
  },
  { title: 'of one element', op: 'Softmax', inputs: [data(floats([1], [5]))], expected: [floats([1], [1])] },
  { title: 'of no lines', op: 'Softmax', inputs: [data(floats([0, 3], []))], expected: [floats([0, 3], [])] },
  {
    title: 'with masked elements',
    op: 'Softmax',
    inputs: [data(floats([3], [1, -Infinity, 1]))],
    expected: [floats([3], [0.5, 0, 0.5])],
  },
];

function randomCases(random: Random): Case[] {
  return Array.from({ length: 32 }, (_, i): Case => {
    const dims = random.dims(random.int(1, 4), 7);
    const axis = random.int(0, dims.length - 1);
    const opset = random.pick([11, 13, 17]);
    const value = random.floats(dims, -6, 6);
    const shaped = axis === 0 ? data : random.pick([data, rowsOf, symbolic]);
    return {
      title: `random [${dims.join()}] axis ${axis} opset ${opset}`,
      op: i % 2 ? 'LogSoftmax' : 'Softmax',
      opset,
      inputs: [shaped(value)],
      attributes: { axis: i % 3 ? axis : axis - dims.length },
    };
  });
}

/** Lines of the lengths at which lanes are added, rows beside the edges of workgroups. */
function sharedLines(random: Random): Case[] {
  return [8, 9, 21, 64, 65, 100, 257, 1024, 1025].flatMap((length, i) =>
    (['Softmax', 'LogSoftmax'] as const).map((op, o): Case => ({
      title: `of lines of ${length}`,
      op,
      inputs: [rowsOf(random.floats([[1, 16, 17, 3][(i + o) % 4]!, length], -9, 9))],
    })),
  );
}

describe('softmax', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  it('is tested in both forms', () => {
    expect(uncovered(FAMILIES.softmax, LITERAL)).toEqual([]);
  });

  it('has a reference that gives hand-written results', () => {
    expect(referenceProblems(LITERAL)).toEqual([]);
  });

  it('gives hand-written results on the device', async () => {
    expect(await deviceProblems(engine, LITERAL)).toEqual([]);
  });

  it(`agrees with the reference on random axes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it('agrees with the reference where lanes share a line, as on a GPU', async () => {
    const gpu = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24, software: false }));
    const random = new Random();
    expect(await deviceProblems(gpu, [...LITERAL, ...sharedLines(random), ...randomCases(random)])).toEqual([]);
    gpu.close();
  });
});
