import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alignUp, planArena, REGION_ALIGNMENT, type Region } from '../../../runtime/memory/arena.js';

const region = fc
  .record({ bytes: fc.nat(5000), first: fc.nat(12), life: fc.nat(6) })
  .map(({ bytes, first, life }): Region => ({ bytes, firstStep: first, lastStep: first + life }));
const regions = fc.array(region, { maxLength: 25 });

const taken = (r: Region): number => alignUp(Math.max(4, r.bytes), REGION_ALIGNMENT);

/** The most bytes that are alive at one step: no layout can take less. */
function peak(list: readonly Region[]): number {
  const steps = list.map((r) => r.firstStep);
  return Math.max(
    0,
    ...steps.map((s) => list.filter((r) => r.firstStep <= s && s <= r.lastStep).reduce((n, r) => n + taken(r), 0)),
  );
}

describe('an arena', () => {
  it('never lets regions overlap that are alive together', () => {
    fc.assert(
      fc.property(regions, (list) => {
        const { offsets, bytes } = planArena(list);
        list.forEach((a, i) => {
          expect(offsets[i]! % REGION_ALIGNMENT).toBe(0);
          expect(offsets[i]! + taken(a)).toBeLessThanOrEqual(bytes);
          list.slice(0, i).forEach((b, j) => {
            const together = a.firstStep <= b.lastStep && b.firstStep <= a.lastStep;
            const apart = offsets[i]! + taken(a) <= offsets[j]! || offsets[j]! + taken(b) <= offsets[i]!;
            expect(!together || apart).toBe(true);
          });
        });
      }),
    );
  });

  it('takes at least the peak, and at most the sum', () => {
    fc.assert(
      fc.property(regions, (list) => {
        const { bytes } = planArena(list);
        expect(bytes).toBeGreaterThanOrEqual(peak(list));
        expect(bytes).toBeLessThanOrEqual(list.reduce((n, r) => n + taken(r), 0));
      }),
    );
  });

  it('takes the peak exactly for a chain of equal values, which live two steps each', () => {
    fc.assert(
      fc.property(fc.nat(5000), fc.integer({ min: 1, max: 20 }), (bytes, length) => {
        const chain = Array.from({ length }, (_, i): Region => ({ bytes, firstStep: i, lastStep: i + 1 }));
        expect(planArena(chain).bytes).toBe(peak(chain));
      }),
    );
  });

  it('gives the same place to what is never alive together', () => {
    const { offsets, bytes } = planArena([0, 1, 2].map((step) => ({ bytes: 100, firstStep: step, lastStep: step })));
    expect([offsets, bytes]).toEqual([[0, 0, 0], 256]);
  });

  it('is empty without regions', () => {
    expect(planArena([])).toEqual({ offsets: [], bytes: 0 });
  });
});
