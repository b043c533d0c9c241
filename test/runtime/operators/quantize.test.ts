import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphEngine, tensorOf, type DataType, type Tensor } from '../../../runtime/index.js';
import { data, deviceProblems, floats, known, Random, rowsOf, SEED, type Case } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { expectRejection } from '../../support/errors.js';
import { testLiteral } from '../../support/literal.js';

const list = (...values: number[]): Tensor => floats([values.length], values);
const one = (value: number): Tensor => floats([], [value]);
const whole = (dtype: DataType, dims: number[], values: number[]): Tensor => tensorOf(dtype, dims, values);

// Scales are powers of two, so that halves are exact and round to even: 0.5 to 0, 1.5 to 2, 2.5 to 2.
const LITERAL: Case[] = [
  {
    title: 'to uint8',
    op: 'QuantizeLinear',
    inputs: [data(list(0, 1, 3, 5, 1000, -254, -1000)), known(one(2)), known(whole('uint8', [], [128]))],
    expected: [whole('uint8', [7], [128, 128, 130, 130, 255, 1, 0])],
  },
  {
    title: 'to int8 by data',
    op: 'QuantizeLinear',
    inputs: [data(list(0, -1, -3, 1000, -1000)), data(one(2)), data(whole('int8', [], [1]))],
    expected: [whole('int8', [5], [1, 1, -1, 127, -128])],
  },
  {
    title: 'without a zero point',
    op: 'QuantizeLinear',
    inputs: [data(list(-1, 3, 5)), known(one(2))],
    expected: [whole('uint8', [3], [0, 2, 2])],
  },
  {
    title: 'to the type of an attribute',
    op: 'QuantizeLinear',
    opset: 21,
    inputs: [data(list(-1e6, 3, 1e6)), known(one(2))],
    attributes: { output_dtype: 5 },
    expected: [whole('int16', [3], [-32_768, 2, 32_767])],
  },
  {
    title: 'to uint16 along an axis',
    op: 'QuantizeLinear',
    opset: 21,
    inputs: [
      data(floats([2, 3], [2, 8, -8, 4, 1e6, 4])),
      known(list(1, 2, 4)),
      known(whole('uint16', [3], [10, 20, 30])),
    ],
    expected: [whole('uint16', [2, 3], [12, 24, 28, 14, 65_535, 31])],
  },
  {
    title: 'of int32',
    op: 'QuantizeLinear',
    inputs: [data(whole('int32', [3], [4, -4, 7])), known(one(2)), known(whole('int8', [], [0]))],
    expected: [whole('int8', [3], [2, -2, 4])],
  },
  {
    title: 'in blocks',
    op: 'QuantizeLinear',
    opset: 21,
    inputs: [
      data(floats([1, 4], [2, 4, 8, 16])),
      known(floats([1, 2], [1, 4])),
      known(whole('uint8', [1, 2], [0, 100])),
    ],
    attributes: { axis: 1, block_size: 2 },
    expected: [whole('uint8', [1, 4], [2, 4, 102, 104])],
  },
  {
    title: 'of uint8',
    op: 'DequantizeLinear',
    inputs: [data(whole('uint8', [4], [0, 3, 128, 255])), known(one(2)), known(whole('uint8', [], [128]))],
    expected: [list(-256, -250, 0, 254)],
  },
  {
    title: 'of int32, whose 32 bits count',
    op: 'DequantizeLinear',
    inputs: [data(whole('int32', [2], [2 ** 30 + 1, -3])), known(one(0.5)), known(whole('int32', [], [2 ** 30]))],
    expected: [list(0.5, -(2 ** 29) - 1.5)],
  },
  {
    title: 'of int8 along an axis',
    op: 'DequantizeLinear',
    inputs: [data(whole('int8', [2, 2], [-128, 1, 127, 2])), known(list(2, 0.5)), known(whole('int8', [2], [1, -1]))],
    attributes: { axis: 0 },
    expected: [floats([2, 2], [-258, 0, 64, 1.5])],
  },
  {
    title: 'in blocks along the first axis, to float16',
    op: 'DequantizeLinear',
    opset: 21,
    inputs: [data(whole('int16', [4, 2], [1, 2, 3, 4, 5, 6, 7, 8])), known(tensorOf('float16', [2, 2], [1, 2, 4, 8]))],
    attributes: { axis: 0, block_size: 2 },
    expected: [tensorOf('float16', [4, 2], [1, 4, 3, 8, 20, 48, 28, 64])],
  },
  // The example of the ONNX page: a range of -2.5 to 2 in 255 steps.
  {
    title: 'of the page',
    op: 'DynamicQuantizeLinear',
    outputs: 3,
    inputs: [data(list(0, 2, -3, -2.5, 1.34, 0.5))],
    expected: [whole('uint8', [6], [153, 255, 0, 26, 221, 179]), one(0.0196078438), whole('uint8', [], [153])],
  },
  {
    title: 'of positive values',
    op: 'DynamicQuantizeLinear',
    outputs: 3,
    inputs: [data(list(1, 2.1, 1.3, 2.5, 3.34, 4))],
    expected: [whole('uint8', [6], [64, 134, 83, 159, 213, 255]), one(0.0156862754), whole('uint8', [], [0])],
  },
  {
    title: 'of zeros',
    op: 'DynamicQuantizeLinear',
    outputs: 3,
    inputs: [data(list(0, 0))],
    expected: [whole('uint8', [2], [0, 0]), one(0), whole('uint8', [], [0])],
  },
];

/** Integers to floats: the other way, a value beside a boundary may round either way. */
function randomCases(random: Random): Case[] {
  return Array.from({ length: 16 }, (_, i): Case => {
    const dims = random.dims(random.int(1, 4), 6);
    const axis = random.int(0, dims.length - 1);
    const dtype = random.pick(['int8', 'uint8', 'int16', 'uint16', 'int32'] as const);
    const value = random.tensor(dtype, dims, dtype.startsWith('u') ? 0 : -100, 100);
    const scaleDims = i % 3 === 0 ? [] : [dims[axis]!];
    const scale = random.floats(scaleDims, 0.01, 2);
    const zero = random.tensor(dtype, scaleDims, 0, 50);
    return {
      title: `random ${dtype} [${dims.join()}] axis ${axis}`,
      op: 'DequantizeLinear',
      opset: 21,
      inputs: [axis === 0 ? data(value) : rowsOf(value), data(scale), ...(i % 2 ? [known(zero)] : [])],
      attributes: { axis },
    };
  });
}

describe('quantization', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('quantize', LITERAL, () => engine);

  it(`agrees with the reference on random shapes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it('refuses scales that fit neither the tensor nor an axis', async () => {
    const bad: Case = {
      title: 'bad',
      op: 'QuantizeLinear',
      inputs: [data(list(1, 2, 3)), data(list(1, 2))],
      attributes: { axis: 0 },
    };
    await expectRejection(
      'MODEL_INVALID',
      /scale of shape \[2\] for \[3\] along axis 0/,
      deviceProblems(engine, [bad]),
    );
  });
});
