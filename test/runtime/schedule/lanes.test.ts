import { describe, expect, it } from 'vitest';
import type { Bound } from '../../../runtime/compile/kernel.js';
import { chooseLane } from '../../../runtime/schedule/lanes.js';
import { LoadMonitor, type LaneLoad } from '../../../runtime/schedule/monitor.js';
import { cutPays } from '../../../runtime/schedule/policies.js';

const lanes = (...loads: [number, Bound?][]): LaneLoad[] =>
  loads.map(([outstandingUs, bound], lane) => ({ lane, waves: bound ? 1 : 0, outstandingUs, bound }));

describe('the choice of a lane', () => {
  it('takes a free lane before a busy one, and the shorter of two busy ones', () => {
    expect(chooseLane(lanes([100, 'memory'], [0]), 'memory', 50)).toBe(1);
    expect(chooseLane(lanes([100, 'memory'], [40, 'memory']), 'memory', 50)).toBe(1);
    expect(chooseLane(lanes([0], [0]), 'latency', 1)).toBe(0);
  });

  it('goes behind its own kind rather than beside it, where the other lane is of another kind', () => {
    // Beside lane 0 it would compete for memory with what lane 0 has left.
    expect(chooseLane(lanes([200, 'memory'], [190, 'arithmetic']), 'memory', 100)).toBe(1);
    expect(chooseLane(lanes([200, 'memory'], [195, 'arithmetic']), 'arithmetic', 100)).toBe(1);
    expect(chooseLane(lanes([120, 'memory'], [100, 'arithmetic']), 'memory', 200)).toBe(1);
    expect(chooseLane(lanes([110, 'memory'], [100, 'arithmetic'], [400, 'memory']), 'arithmetic', 200)).toBe(1);
  });
});

describe('cutting a wave in two', () => {
  const line = (fixed: number, slope: number) => (rows: number) => fixed + slope * rows;

  it('pays where the fixed costs are small beside what overlaps', () => {
    expect(cutPays(7680, line(150, 0.1), line(200, 0.1))).toBe(true);
    expect(cutPays(256, line(150, 0.1), line(60, 0.05))).toBe(false);
    // The host has nothing to hide behind the device.
    expect(cutPays(7680, line(150, 0.1), line(10, 0.001))).toBe(false);
  });
});

describe('the load monitor', () => {
  it('knows what each lane still has, less what its head has had', () => {
    const load = new LoadMonitor(2, false, 0);
    const a = load.begin({ lane: 0, bound: 'memory', expectedUs: 1000, rows: new Map([['m', 10]]) }, 0);
    load.submitted(a, 0);
    const b = load.begin({ lane: 1, bound: 'arithmetic', expectedUs: 500, rows: new Map([['m', 5]]) }, 0);
    load.submitted(b, 0);
    expect(load.outstandingUs(0.4)).toBeCloseTo(1100);
    expect(load.lanes(0.4).map((l) => Math.round(l.outstandingUs))).toEqual([600, 500]);
    expect(load.rowsInFlight('m')).toBe(15);
    load.end(a, 1);
    expect(load.outstandingUs(1.2)).toBeCloseTo(300);
    load.end(b, 1.5);
    expect([load.inFlight, load.outstandingUs(2), load.totals(2).busyMs]).toEqual([0, 0, 1.5]);
  });

  it('counts lanes of a concurrent device side by side', () => {
    const load = new LoadMonitor(2, true, 0);
    for (const lane of [0, 1])
      load.submitted(load.begin({ lane, bound: 'memory', expectedUs: 1000, rows: new Map([['m', 1]]) }, 0), 0);
    expect(load.outstandingUs(0.5)).toBeCloseTo(500);
  });

  it('sees the share of time in which the device has work', () => {
    const load = new LoadMonitor(1, false, 0);
    for (let t = 0; t < 10_000; t += 10) {
      const wave = load.begin({ lane: 0, bound: 'memory', expectedUs: 1, rows: new Map([['m', 1]]) }, t);
      load.submitted(wave, t);
      load.end(wave, t + 4);
      if (t % 100 === 0) load.busyShare(t + 10);
    }
    expect(load.busyShare(10_000)).toBeCloseTo(0.4, 1);
    expect(load.busyShare(20_000)).toBeLessThan(0.01);
  });
});
