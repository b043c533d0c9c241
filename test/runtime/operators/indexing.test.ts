import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, type Tensor } from '../../../runtime/index.js';
import { data, deviceProblems, floats, known, Random, SEED, symbolic, type Case } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { expectRejection } from '../../support/errors.js';
import { testLiteral } from '../../support/literal.js';

const int64 = (dims: number[], values: number[]): Tensor => tensorOf('int64', dims, values);
const int32 = (dims: number[], values: number[]): Tensor => tensorOf('int32', dims, values);
const square = floats([2, 2], [1, 2, 3, 4]);
const five = floats([1, 5], [1, 2, 3, 4, 5]);

/** Updates that meet: 10 at place 1, then 3 at place 1 again. */
const scatter = (reduction: string | undefined, value: number): Case => ({
  title: reduction ?? 'by default',
  op: 'ScatterElements',
  opset: 18,
  inputs: [data(five), data(int64([1, 2], [1, -4])), data(floats([1, 2], [10, 3]))],
  attributes: { axis: 1, ...(reduction ? { reduction } : {}) },
  expected: [floats([1, 5], [1, value, 3, 4, 5])],
});

const scatterNd = (reduction: string, values: number[]): Case => ({
  title: reduction,
  op: 'ScatterND',
  opset: 18,
  inputs: [data(square), data(int64([3, 1], [1, 0, -1])), data(floats([3, 2], [5, 6, 7, 8, 9, 2]))],
  attributes: { reduction },
  expected: [floats([2, 2], values)],
});

const topK = (title: string, attributes: Record<string, number>, values: number[], indices: number[]): Case => ({
  title,
  op: 'TopK',
  inputs: [data(floats([1, 4], [2, 5, 5, 1])), known(int64([1], [3]))],
  attributes,
  outputs: 2,
  expected: [floats([1, 3], values), int64([1, 3], indices)],
});

const LITERAL: Case[] = [
  {
    title: 'along columns',
    op: 'GatherElements',
    inputs: [data(square), data(int64([2, 2], [0, 0, 1, -2]))],
    attributes: { axis: 1 },
    expected: [floats([2, 2], [1, 1, 4, 3])],
  },
  {
    title: 'along rows, of fewer columns',
    op: 'GatherElements',
    inputs: [data(int64([2, 2], [-1, 2, 3, 2 ** 40])), data(int32([3, 1], [1, 0, -1]))],
    expected: [int64([3, 1], [3, -1, 3])],
  },
  {
    title: 'of whole tuples',
    op: 'GatherND',
    inputs: [data(square), data(int64([2, 2], [0, 0, 1, -1]))],
    expected: [floats([2], [1, 4])],
  },
  {
    title: 'of slices',
    op: 'GatherND',
    inputs: [data(square), data(int64([2, 1], [1, 0]))],
    expected: [floats([2, 2], [3, 4, 1, 2])],
  },
  {
    title: 'of a batch',
    op: 'GatherND',
    inputs: [data(floats([2, 2, 2], [0, 1, 2, 3, 4, 5, 6, 7])), data(int32([2, 1], [1, 0]))],
    attributes: { batch_dims: 1 },
    expected: [floats([2, 2], [2, 3, 4, 5])],
  },
  scatter(undefined, 3),
  scatter('add', 15),
  scatter('mul', 60),
  scatter('max', 10),
  scatter('min', 2),
  {
    title: 'of int64, few indices',
    op: 'ScatterElements',
    inputs: [data(int64([2, 2], [1, 2, 3, 4])), data(int64([1, 1], [1])), data(int64([1, 1], [-7]))],
    expected: [int64([2, 2], [1, 2, -7, 4])],
  },
  {
    title: 'of int64, products',
    op: 'ScatterElements',
    opset: 18,
    inputs: [data(int64([1], [3])), data(int64([2], [0, 0])), data(int64([2], [-5, 2 ** 33]))],
    attributes: { reduction: 'mul' },
    expected: [int64([1], [-15 * 2 ** 33])],
  },
  {
    title: 'of uint64 beyond int64',
    op: 'ScatterElements',
    opset: 18,
    inputs: [data(tensorOf('uint64', [1], [1])), data(int64([1], [0])), data(tensorOf('uint64', [1], [2 ** 63]))],
    attributes: { reduction: 'max' },
    expected: [tensorOf('uint64', [1], [2 ** 63])],
  },
  {
    title: 'under its old name',
    op: 'Scatter',
    opset: 9,
    inputs: [data(five), data(int64([1, 1], [4])), data(floats([1, 1], [9]))],
    attributes: { axis: 1 },
    expected: [floats([1, 5], [1, 2, 3, 4, 9])],
  },
  scatterNd('none', [7, 8, 9, 2]),
  scatterNd('add', [8, 10, 17, 12]),
  scatterNd('max', [7, 8, 9, 6]),
  {
    title: 'of single elements',
    op: 'ScatterND',
    inputs: [data(square), data(int64([1, 2], [0, 1])), data(floats([1], [-1]))],
    expected: [floats([2, 2], [1, -1, 3, 4])],
  },
  {
    title: 'with what is nowhere',
    op: 'OneHot',
    inputs: [data(int64([4], [0, -1, 3, -4])), known(int64([], [3])), known(floats([2], [0, 2]))],
    expected: [floats([4, 3], [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0])],
  },
  {
    title: 'in front, of floats',
    op: 'OneHot',
    inputs: [data(floats([2], [1, 0])), known(floats([1], [2])), data(int64([2], [5, -5]))],
    attributes: { axis: 0 },
    expected: [int64([2, 2], [5, -5, -5, 5])],
  },
  {
    title: 'by time',
    op: 'ReverseSequence',
    inputs: [data(floats([3, 2], [1, 2, 3, 4, 5, 6])), data(int64([2], [3, 2]))],
    expected: [floats([3, 2], [5, 4, 3, 2, 1, 6])],
  },
  {
    title: 'by batch',
    op: 'ReverseSequence',
    inputs: [data(floats([2, 3], [1, 2, 3, 4, 5, 6])), data(int64([2], [2, 0]))],
    attributes: { time_axis: 1, batch_axis: 0 },
    expected: [floats([2, 3], [2, 1, 3, 4, 5, 6])],
  },
  topK('largest', {}, [5, 5, 2], [1, 2, 0]),
  topK('smallest', { largest: 0 }, [1, 2, 5], [3, 0, 1]),
  {
    title: 'of int64 along rows',
    op: 'TopK',
    inputs: [data(int64([3, 1], [-1, 2 ** 40, 7])), known(int64([1], [1]))],
    attributes: { axis: 0 },
    outputs: 2,
    expected: [int64([1, 1], [2 ** 40]), int64([1, 1], [1])],
  },
  {
    title: 'of uint64 beyond int64',
    op: 'TopK',
    inputs: [data(tensorOf('uint64', [2], [2 ** 63, 1])), known(int64([1], [1]))],
    outputs: 2,
    expected: [tensorOf('uint64', [1], [2 ** 63]), int64([1], [0])],
  },
  {
    title: 'by an attribute',
    op: 'TopK',
    opset: 9,
    inputs: [data(five)],
    attributes: { k: 1 },
    outputs: 2,
    expected: [floats([1, 1], [5]), int64([1, 1], [4])],
  },
];

function randomCases(random: Random): Case[] {
  return Array.from({ length: 42 }, (_, i): Case => {
    const dims = random.dims(3, 6);
    const axis = 1 + (i % 2);
    const size = dims[axis]!;
    const x = random.floats(dims);
    const title = `random ${i} [${dims.join()}] axis ${axis}`;
    const narrower = dims.map((d, j) => (j === axis ? random.int(1, 7) : random.int(1, d)));
    const indices = random.tensor(random.pick(['int32', 'int64']), narrower, -size, size);
    switch (i % 6) {
      case 0:
        return { title, op: 'GatherElements', inputs: [data(x), data(indices)], attributes: { axis } };
      case 1: {
        const reduction = random.pick(['none', 'add', 'mul', 'max', 'min']);
        return {
          title: `${title} ${reduction}`,
          op: 'ScatterElements',
          opset: 18,
          inputs: [data(x), data(indices), data(random.floats(narrower))],
          attributes: { axis, reduction },
        };
      }
      case 2: {
        const tuples = random.int(1, 6);
        const of = Array.from({ length: tuples * 2 }, (_, j) => random.int(-dims[j % 2]!, dims[j % 2]! - 1));
        return { title, op: 'GatherND', inputs: [data(x), data(int64([tuples, 2], of))] };
      }
      case 3: {
        const tuples = random.int(1, 6);
        const of = Array.from({ length: tuples * 2 }, (_, j) => random.int(-dims[j % 2]!, dims[j % 2]! - 1));
        return {
          title,
          op: 'ScatterND',
          opset: 18,
          inputs: [data(x), data(int64([tuples, 2], of)), data(random.floats([tuples, dims[2]!]))],
          attributes: { reduction: random.pick(['none', 'add']) },
        };
      }
      case 4:
        return {
          title,
          op: 'OneHot',
          inputs: [
            symbolic(random.tensor('int64', dims.slice(0, 2), -6, 6)),
            known(int64([], [4])),
            known(floats([2], [0, 1])),
          ],
          attributes: { axis },
        };
      default: {
        // Values that repeat, so that ties have to be broken.
        const ties = floats(
          dims,
          Array.from({ length: x.data.length }, () => random.int(0, 3)),
        );
        return {
          title,
          op: 'TopK',
          inputs: [data(ties), known(int64([1], [random.int(1, size)]))],
          attributes: { axis, largest: random.int(0, 1) },
          outputs: 2,
        };
      }
    }
  });
}

describe('operators that index', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('indexing', LITERAL, () => engine);

  it(`agree with the reference on random shapes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it('name the input, row, position and value of an index that is out of range', async () => {
    const b = new GraphBuilder('checked', 18);
    const x = b.input('x', 'float32', ['n', 4]);
    const ids = b.input('ids', 'int64', ['n', 2]);
    const values = b.input('values', 'float32', ['n', 2]);
    b.output(b.op('GatherElements', [x, ids], { axis: 1 }, { outputs: ['picked'] }), 'float32');
    b.output(b.op('ScatterElements', [x, ids, values], { axis: 1 }, { outputs: ['put'] }), 'float32');
    const model = await engine.load(b.build());
    const run = (last: number) =>
      model.run({
        x: floats([2, 4], [1, 2, 3, 4, 5, 6, 7, 8]),
        ids: int64([2, 2], [0, 1, 2, last]),
        values: square,
      });
    expect((await run(3))['picked']!.data).toEqual(Float32Array.of(1, 2, 7, 8));
    for (const bad of [4, -5, 2 ** 32])
      await expectRejection(
        'INDEX_OUT_OF_RANGE',
        new RegExp(`input 'ids': row 1, position 1: found id ${bad}, expected -4 to 3 for table 'x'`),
        run(bad),
      );
    await model.dispose();
  });

  it('check tuples of indices by the dimension that each picks from', async () => {
    const b = new GraphBuilder('tuples', 18);
    const x = b.input('x', 'float32', [2, 3]);
    const at = b.input('at', 'int64', [2, 2]);
    const to = b.input('to', 'int64', [1, 2]);
    b.output(b.op('GatherND', [x, at], {}, { outputs: ['picked'] }), 'float32');
    b.output(b.op('ScatterND', [x, to, b.constant('one', floats([1], [1]))], {}, { outputs: ['put'] }), 'float32');
    const model = await engine.load(b.build());
    const run = (at: number[], to: number[]) =>
      model.run({ x: floats([2, 3], [1, 2, 3, 4, 5, 6]), at: int64([2, 2], at), to: int64([1, 2], to) });
    expect((await run([0, 2, 1, 2], [1, 2]))['put']!.data).toEqual(Float32Array.of(1, 2, 3, 4, 5, 1));
    await expectRejection(
      'INDEX_OUT_OF_RANGE',
      /input 'at': position 2: found id 2, expected -2 to 1 for table 'x'/,
      run([0, 2, 2, 0], [1, 2]),
    );
    await expectRejection(
      'INDEX_OUT_OF_RANGE',
      /input 'to': position 1: found id 3, expected -3 to 2 for table 'x'/,
      run([0, 2, 1, 0], [1, 3]),
    );
    await model.dispose();
  });
});
