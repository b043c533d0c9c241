import { describe, expect, it } from 'vitest';
import { drawer, MIX, queryPool, sharedNames, workload } from '../../bench/common/queries.js';
import { MLPERF_QUANTILES, poolSizes } from '../../bench/common/sizes.js';
import { mean } from '../../bench/common/statistics.js';
import { zooNames } from '../../src/index.js';

describe('sizes of MLPerf DLRM v2', () => {
  it('are a hundred quantiles from 100 to 700 with a mean of 270', () => {
    expect(MLPERF_QUANTILES).toHaveLength(100);
    expect(MLPERF_QUANTILES).toEqual([...MLPERF_QUANTILES].sort((a, b) => a - b));
    expect(MLPERF_QUANTILES[0]).toBe(100);
    expect(MLPERF_QUANTILES.at(-1)).toBe(700);
    expect(mean(MLPERF_QUANTILES)).toBe(270);
  });

  it('make up a pool, each once', () => {
    expect(poolSizes('mlperf', 5)).toEqual(MLPERF_QUANTILES);
    expect(poolSizes(256, 3)).toEqual([256, 256, 256]);
  });
});

describe('queries', () => {
  it('differ within a pool and have the rows that were asked for', () => {
    const pool = queryPool('wnd', 'tiny', 4);
    expect(pool.every(({ rows, inputs }) => rows === 4 && inputs['sparse']!.dims[0] === 4)).toBe(true);
    expect(pool[0]!.inputs['sparse']!.data).not.toEqual(pool[1]!.inputs['sparse']!.data);
  });

  it('give what describes the user once, where the model shares it', () => {
    expect(sharedNames).toEqual(['din+shared', 'bst+shared']);
    const [query] = queryPool('din+shared', 'tiny', 4);
    const leading = Object.values(query!.inputs).map(({ dims }) => dims[0]);
    expect(new Set(leading)).toEqual(new Set([1, 4]));
  });

  it('are drawn the same way again for the same stream, and evenly', () => {
    const pool = [0, 1, 2, 3];
    const [first, again, other] = ['a', 'a', 'b'].map((stream) => {
      const draw = drawer(pool, stream);
      return Array.from({ length: 4000 }, draw);
    });
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
    // Four standard deviations of 4000 draws at a quarter each: 110.
    for (const value of pool)
      expect(Math.abs(first!.filter((drawn) => drawn === value).length - 1000)).toBeLessThan(110);
  });

  it('of a mix are for all models', () => {
    expect(workload(MIX).models).toEqual(zooNames);
    expect(workload('din')).toEqual({ name: 'din', models: ['din'] });
  });
});
