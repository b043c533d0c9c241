import { describe, expect, test } from 'vitest';
import { numberToHalf } from '../../../runtime/graph/dtype.js';
import { tensor } from '../../../runtime/graph/tensor.js';
import { compareTensors, passes } from '../../../src/cli/compare.js';

const TOLERANCE = { rtol: 1e-4, atol: 1e-5 };

function floats(values: number[], dims = [values.length]) {
  return tensor('float64', dims, Float64Array.from(values));
}

const int64 = (value: bigint) => tensor('int64', [1], new BigInt64Array([value]));
const half = (value: number) => tensor('float16', [1], new Uint16Array([numberToHalf(value)]));
const bool = (value: number) => tensor('bool', [1], new Uint8Array([value]));

function compare(actual: number[], expected: number[], tolerance = TOLERANCE, dims?: number[]) {
  return compareTensors(floats(actual, dims), floats(expected, dims), tolerance);
}

describe('compareTensors', () => {
  test('equal tensors', () => {
    const comparison = compare([1, -0, 3], [1, 0, 3]);
    expect(comparison).toEqual({ elements: 3, failures: 0, maxAbsolute: 0, maxRelative: 0 });
    expect(passes(comparison)).toBe(true);
  });

  test('the bound is atol + rtol * |expected|, itself included', () => {
    expect(compare([1.5], [1], { rtol: 0.25, atol: 0.25 }).failures).toBe(0);
    expect(compare([1.5000001], [1], { rtol: 0.25, atol: 0.25 }).failures).toBe(1);
    expect(compare([-1.5], [-1], { rtol: 0.25, atol: 0.25 }).failures).toBe(0);
    expect(compare([0.25], [0], { rtol: 9, atol: 0.25 }).failures).toBe(0);
    expect(compare([0.26], [0], { rtol: 9, atol: 0.25 }).failures).toBe(1);
  });

  test('the largest errors and where the worst stands', () => {
    const comparison = compare([1, 2.5, 103, 0.3], [1, 2, 100, 0], TOLERANCE, [2, 2]);
    expect(comparison).toEqual({
      elements: 4,
      failures: 3,
      maxAbsolute: 3,
      maxRelative: 0.25,
      worst: { position: [1, 0], actual: '103', expected: '100' },
    });
  });

  test('NaN equals NaN only', () => {
    expect(compare([Number.NaN], [Number.NaN]).failures).toBe(0);
    expect(compare([Number.NaN], [1])).toMatchObject({ failures: 1, maxAbsolute: Number.POSITIVE_INFINITY });
    expect(compare([1], [Number.NaN])).toMatchObject({ failures: 1, worst: { actual: '1', expected: 'NaN' } });
  });

  test('an infinity equals itself only', () => {
    const { POSITIVE_INFINITY: inf, NEGATIVE_INFINITY: minus } = Number;
    expect(compare([inf, minus], [inf, minus]).failures).toBe(0);
    expect(compare([1], [inf]).failures).toBe(1);
    expect(compare([minus], [inf]).failures).toBe(1);
    expect(compare([inf], [1]).failures).toBe(1);
    expect(compare([Number.NaN], [inf]).failures).toBe(1);
  });

  test('64-bit integers beyond 2^53 are told apart', () => {
    const comparison = compareTensors(int64(2n ** 60n + 1n), int64(2n ** 60n), { rtol: 0, atol: 0 });
    expect(comparison).toMatchObject({
      failures: 1,
      maxAbsolute: 1,
      worst: { actual: '1152921504606846977', expected: '1152921504606846976' },
    });
  });

  test('16-bit floats are compared by value, bools as 0 and 1', () => {
    expect(compareTensors(half(1.5), half(1), TOLERANCE)).toMatchObject({ maxAbsolute: 0.5, failures: 1 });
    expect(compareTensors(bool(1), bool(0), TOLERANCE)).toMatchObject({ maxAbsolute: 1, failures: 1 });
  });

  test('a scalar, and no elements', () => {
    expect(compare([2], [1], TOLERANCE, []).worst!.position).toEqual([]);
    expect(compare([], []).failures).toBe(0);
  });

  test('another type or shape is a mismatch', () => {
    const shape = compareTensors(floats([1, 2], [1, 2]), floats([1, 2], [2, 1]), TOLERANCE);
    expect(shape.mismatch).toBe('shape [1, 2], expected [2, 1]');
    expect(passes(shape)).toBe(false);
    const type = compareTensors(tensor('float32', [0], new Float32Array()), floats([]), TOLERANCE);
    expect(type.mismatch).toBe('type float32, expected float64');
    expect(passes(type)).toBe(false);
  });
});
