import { describe, expect, it } from 'vitest';
import { zooConfig, zooInputs, zooNames, describeModel, type ZooScale } from '../../../src/zoo/index.js';

const SCALES: readonly ZooScale[] = ['tiny', 'published'];
const CASES = zooNames.flatMap((model) => SCALES.map((scale) => ({ model, scale })));
const ROWS = 50;

describe.each(CASES)('$model at scale $scale', ({ model, scale }) => {
  const inputs = zooInputs(model, scale, ROWS, 3);
  const declared = describeModel(model, scale).inputs;

  it('gets every declared input, shaped as declared', () => {
    expect(Object.keys(inputs)).toEqual(declared.map((i) => i.name));
    for (const { name, dtype, shape } of declared) {
      expect(inputs[name]).toMatchObject({ dtype, dims: [ROWS, ...shape.slice(1)] });
    }
  });

  it('gets ids inside their tables that reach into the upper half', () => {
    for (const { name, values } of declared) {
      if (values.kind !== 'ids' && values.kind !== 'history') continue;
      const ids = Array.from(inputs[name]!.data, Number);
      const shares = ids.map((id, i) => id / values.limits[i % values.limits.length]!);
      expect(Math.min(...shares), name).toBeGreaterThanOrEqual(0);
      expect(Math.max(...shares), name).toBeLessThan(1);
      expect(Math.max(...shares), name).toBeGreaterThan(0.5);
    }
  });

  it('gets the same from the same seed only', () => {
    expect(zooInputs(model, scale, ROWS, 3)).toEqual(inputs);
    expect(zooInputs(model, scale, ROWS, 4)).not.toEqual(inputs);
  });
});

describe('dense features', () => {
  it('lie in [0, 1]', () => {
    const dense = zooInputs('wnd', 'tiny', ROWS, 3)['dense']!.data as Float32Array;
    expect(Math.min(...dense)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...dense)).toBeLessThanOrEqual(1);
  });
});

describe('DIN histories', () => {
  const { history } = zooConfig('din', 'tiny');
  const inputs = zooInputs('din', 'tiny', 200, 3);
  const rowOf = (name: string, row: number): number[] =>
    Array.from(inputs[name]!.data, Number).slice(row * history, (row + 1) * history);
  const lengths = [...Array(200).keys()].map((row) => rowOf('hist_mask', row).filter((m) => m === 1).length);

  it('are ones, then zeros', () => {
    for (const [row, length] of lengths.entries()) {
      const expected = Array.from({ length: history }, (_, i) => (i < length ? 1 : 0));
      expect(rowOf('hist_mask', row)).toEqual(expected);
    }
  });

  it('are full for about half of the rows, never empty, and of many lengths', () => {
    const full = lengths.filter((length) => length === history).length;
    expect(full).toBeGreaterThan(80);
    expect(full).toBeLessThan(130);
    expect(Math.min(...lengths)).toBeGreaterThan(0);
    expect(new Set(lengths).size).toBeGreaterThan(history / 2);
  });

  it('hold id 0 after their end', () => {
    for (const [row, length] of lengths.entries()) {
      for (const name of ['hist_item', 'hist_cat']) {
        expect(rowOf(name, row).slice(length)).toEqual(Array.from({ length: history - length }, () => 0));
      }
    }
  });
});
