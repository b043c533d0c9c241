import { describe, expect, it } from 'vitest';
import { tensorOf, toFloat64, type Tensor } from '../../../runtime/index.js';
import { fits, isExactInHalves, rowBytes, storedBytes, unpackedWeight } from '../../../runtime/compile/packed.js';
import { floats, Random, SEED } from '../../support/cases.js';

/** The largest error of each row, as a share of the row's range. */
function rowErrors(tensor: Tensor, stored: Tensor): number[] {
  const [rows, width] = [tensor.dims[0]!, tensor.data.length / tensor.dims[0]!];
  const [values, found] = [toFloat64(tensor), toFloat64(stored)];
  return Array.from({ length: rows }, (_, r) => {
    const row = values.slice(r * width, (r + 1) * width);
    const range = Math.max(...row) - Math.min(...row);
    const error = Math.max(...row.map((v, i) => Math.abs(v - found[r * width + i]!)));
    return range === 0 ? error : error / range;
  });
}

describe('rows of codes', () => {
  it(`are wrong by half a step of 255 at most (seed ${SEED})`, () => {
    const random = new Random();
    for (let i = 0; i < 40; i++) {
      const dims = [random.int(1, 9), ...random.dims(random.int(1, 2), 13)];
      const size = 10 ** random.int(-20, 20);
      const tensor = random.floats(dims, -size * random.next(), size);
      // A little more for what float32 rounds of scale, offset and sum.
      for (const error of rowErrors(tensor, unpackedWeight('i8', tensor))) expect(error).toBeLessThan(0.5 / 255 + 1e-6);
    }
  });

  it('of zeros, of one value and of a huge range are what they were, or near', () => {
    const table = floats(
      [5, 3],
      [0, 0, 0, 0.1, 0.1, 0.1, -7e37, 8e37, 1, -0.25, -0.25, -0.25, 3.5, 3.5, 3.5].map(Math.fround),
    );
    const stored = unpackedWeight('i8', table);
    for (const row of [0, 1, 3, 4]) {
      const at = [3 * row, 3 * row + 3] as const;
      expect(stored.data.slice(...at)).toEqual(table.data.slice(...at));
    }
    expect(rowErrors(table, stored)[2]).toBeLessThan(0.5 / 255 + 1e-6);
  });

  it('take a byte an element and eight a row, in whole words', () => {
    expect([1, 4, 5, 16, 17].map(rowBytes)).toEqual([12, 12, 16, 24, 28]);
    expect(storedBytes('i8', [10, 2, 8])).toBe(240);
    expect(storedBytes('f16', [10, 2, 8])).toBe(320);
    expect(storedBytes('f32', [10, 2, 8])).toBe(640);
    expect(unpackedWeight('i8', floats([0, 3], [])).data).toHaveLength(0);
  });
});

describe('halves', () => {
  it('are told from values that they would round', () => {
    const exact = [0, -0, 1, -1.5, 65_504, 2 ** -14, 2 ** -24, -3 * 2 ** -24, Number.POSITIVE_INFINITY];
    expect(isExactInHalves(floats([exact.length], exact))).toBe(true);
    expect(isExactInHalves(tensorOf('float64', [exact.length], exact))).toBe(true);
    expect(isExactInHalves(tensorOf('float16', [1], [0.1]))).toBe(true);
    for (const value of [0.1, 65_520, 2 ** -25, 1 + 2 ** -11, Number.NaN, 1e-30]) {
      expect(isExactInHalves(floats([2], [1, value]))).toBe(false);
      expect(isExactInHalves(tensorOf('float64', [1], [value]))).toBe(false);
    }
  });

  it('hold what they can, and codes what has a range', () => {
    expect(fits('f16', floats([2], [65_519, -1e-30]))).toBe(true);
    expect(fits('f16', floats([1], [65_520]))).toBe(false);
    expect(fits('f16', floats([1], [Number.NEGATIVE_INFINITY]))).toBe(true);
    expect(fits('i8', floats([2], [65_520, 8e37]))).toBe(true);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 3e38])
      expect(fits('i8', floats([2], [1, value]))).toBe(false);
  });

  it(`round to nearest (seed ${SEED})`, () => {
    const values = new Random().floats([500], -100, 100);
    const stored = unpackedWeight('f16', values);
    expect(stored.data).toEqual(Float32Array.from(toFloat64(tensorOf('float16', [500], values.data as Float32Array))));
  });
});
