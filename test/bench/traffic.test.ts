import { describe, expect, it } from 'vitest';
import { mean } from '../../bench/common/statistics.js';
import { arrivals } from '../../bench/traffic/arrivals.js';
import { curveNames, rateAt, rateCurve } from '../../bench/traffic/curves.js';
import { play, type Played } from '../../bench/traffic/play.js';
import { RateSearch } from '../../bench/traffic/search.js';
import { binPlayed, summarizePlayed } from '../../bench/traffic/summary.js';

describe('rate curves', () => {
  it.each(curveNames)('%s has a mean of 1', (name) => {
    // 1000 steps are added in float64.
    expect(mean(rateCurve(name).steps)).toBeCloseTo(1, 9);
  });

  it('have the peaks that they are named for', () => {
    const peaks = (name: (typeof curveNames)[number]): number => {
      const { steps } = rateCurve(name);
      const rises = steps.map((rate, i) => i > 0 && rate > steps[i - 1]!);
      return rises.filter((rising, i) => rising && rises[i + 1] === false).length;
    };
    expect(peaks('constant')).toBe(0);
    expect(peaks('pulse')).toBe(1);
    expect(peaks('unimodal')).toBe(1);
    expect(peaks('bimodal')).toBe(2);
    const pulse = rateCurve('pulse');
    expect(rateAt(pulse, 0.5) / rateAt(pulse, 0.1)).toBeCloseTo(5, 9);
  });
});

describe('arrivals', () => {
  const options = { rate: 500, seconds: 20, seed: 3 };

  it.each(curveNames)('of %s are sorted, inside the run and as many as asked for', (name) => {
    const times = arrivals(rateCurve(name), options);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times[0]).toBeGreaterThanOrEqual(0);
    expect(times.at(-1)).toBeLessThanOrEqual(20);
    // Four standard deviations of a Poisson count of 10,000.
    expect(Math.abs(times.length - 10_000)).toBeLessThan(400);
  });

  it.each(curveNames)('of %s follow the curve', (name) => {
    const curve = rateCurve(name);
    const times = arrivals(curve, options);
    for (let tenth = 0; tenth < 10; tenth++) {
      const expected = 10_000 * (mean(curve.steps.slice(100 * tenth, 100 * (tenth + 1)))! / 10);
      const found = times.filter((time) => Math.floor(time / 2) === tenth).length;
      // Five standard deviations of that tenth's count.
      expect(Math.abs(found - expected)).toBeLessThan(5 * Math.sqrt(expected));
    }
  });

  it('are memoryless: gaps of a constant rate spread as far as their mean', () => {
    const times = arrivals(rateCurve('constant'), options);
    const gaps = times.slice(1).map((time, i) => time - times[i]!);
    const average = mean(gaps)!;
    const deviation = Math.sqrt(mean(gaps.map((gap) => (gap - average) ** 2))!);
    // An exponential's deviation equals its mean; 10,000 gaps say so within 3 %.
    expect(deviation / average).toBeCloseTo(1, 1);
  });

  it('come back for the same seed only', () => {
    const curve = rateCurve('unimodal');
    expect(arrivals(curve, options)).toEqual(arrivals(curve, options));
    expect(arrivals(curve, options)).not.toEqual(arrivals(curve, { ...options, seed: 4 }));
  });
});

describe('playing arrivals', () => {
  it('does not wait for answers, and counts rejections', async () => {
    let open = 0;
    let most = 0;
    let sent = 0;
    const played = await play([0, 0, 0.001], () => ({
      rows: 1,
      run: async () => {
        const rejected = sent++ === 1;
        most = Math.max(most, ++open);
        await new Promise((resolve) => setTimeout(resolve, 20));
        open -= 1;
        return rejected ? 'rejected' : 'answered';
      },
    }));
    expect(most).toBe(3);
    expect(played.map(({ latencyMs }) => latencyMs === null)).toEqual([false, true, false]);
    expect(played.every(({ lagMs }) => lagMs >= 0)).toBe(true);
  });
});

describe('summaries of played arrivals', () => {
  const at = (dueSeconds: number, latencyMs: number | null): Played => ({ dueSeconds, latencyMs, lagMs: 0 });
  const played = [at(0.1, 4), at(0.2, 20), at(0.9, null), at(0.95, 6)];

  it('count a rejected query as one outside the SLA', () => {
    expect(summarizePlayed(played, 10)).toMatchObject({ offered: 4, rejected: 1, withinSla: 0.5, meanMs: 10 });
  });

  it('bin by when a query was due', () => {
    const bins = binPlayed(played, rateCurve('constant'), { count: 4, seconds: 1, rate: 8, slaMs: 10 });
    expect(bins.map(({ offered }) => offered)).toEqual([2, 0, 0, 2]);
    expect(bins.map(({ withinSla }) => withinSla)).toEqual([0.5, null, null, 0.5]);
    expect(bins.map(({ p99Ms }) => p99Ms)).toEqual([20, null, null, 6]);
    expect(bins[0]!.rate).toBeCloseTo(8, 9);
    expect(bins[0]!.atSeconds).toBe(0.125);
  });
});

describe('searching the highest rate', () => {
  function search(limit: number, start: number, maxProbes = 50): RateSearch {
    const found = new RateSearch({ start, tolerance: 0.05, maxProbes });
    for (let rate = found.next(); rate !== undefined; rate = found.next()) found.record(rate, rate <= limit);
    return found;
  }

  it.each([
    [1000, 10],
    [1000, 1000],
    [3, 1000],
  ])('finds %d from %d', (limit, start) => {
    const { best } = search(limit, start);
    expect(best).toBeLessThanOrEqual(limit);
    expect(best! * 1.05).toBeGreaterThanOrEqual(limit);
  });

  it('gives up after so many probes', () => {
    expect(search(0, 100, 6).best).toBeNull();
  });
});
