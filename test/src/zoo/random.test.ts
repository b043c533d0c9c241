import { describe, expect, it } from 'vitest';
import { DRAWN_BLOCK, Random, uniformArray } from '../../../src/zoo/random.js';

function statistics(values: ArrayLike<number>): { mean: number; variance: number } {
  const all = Array.from(values);
  const mean = all.reduce((sum, v) => sum + v, 0) / all.length;
  return { mean, variance: all.reduce((sum, v) => sum + (v - mean) ** 2, 0) / all.length };
}

describe('Random', () => {
  it('draws the same numbers one by one as in bulk', () => {
    const [single, bulk] = [new Random(7, 'weights'), new Float32Array(1000)];
    new Random(7, 'weights').fillUniform(bulk, 1, 0);
    for (const value of bulk) expect(value).toBe(Math.fround((single.uint32() | 0) / 2 ** 31));
  });

  it('goes on where a bulk draw ended', () => {
    const [a, b] = [new Random(7, 'weights'), new Random(7, 'weights')];
    a.fillUniform(new Float32Array(3), 1, 0);
    for (let i = 0; i < 3; i++) b.uint32();
    expect(a.uint32()).toBe(b.uint32());
  });

  it('depends on the seed and on the name', () => {
    const streams = [new Random(1, 'a'), new Random(2, 'a'), new Random(1, 'b'), new Random(2, 'b')];
    expect(new Set(streams.map((random) => random.uint32())).size).toBe(4);
  });

  it('spreads evenly', () => {
    const { mean, variance } = statistics(uniformArray(new Random(3, 'x'), 100_000, 2, 1));
    expect(mean).toBeCloseTo(1, 1);
    expect(variance).toBeCloseTo(4 / 3, 1);
    const counts = Array.from({ length: 10 }, () => 0);
    const random = new Random(3, 'ids');
    for (let i = 0; i < 100_000; i++) counts[random.below(10)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });
});

describe('a large array', () => {
  const length = 3 * DRAWN_BLOCK + 1000;
  const values = uniformArray(new Random(5, 'table'), length, 1);

  it('repeats the block that was drawn', () => {
    for (const i of [0, 1, 999, DRAWN_BLOCK - 1]) expect(values[i + 2 * DRAWN_BLOCK]).toBe(values[i]);
    expect(values.subarray(3 * DRAWN_BLOCK)).toEqual(values.subarray(0, 1000));
  });

  it('has no two rows alike', () => {
    const [dim, rows] = [16, Math.floor(length / 16)];
    // Rows that start with the same number are rows at the same place of the block.
    const starts = new Set(Array.from({ length: rows }, (_, row) => (row * dim) % DRAWN_BLOCK));
    expect(starts.size).toBe(rows);
  });
});
