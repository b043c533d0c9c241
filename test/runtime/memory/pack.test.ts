import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REGION_ALIGNMENT } from '../../../runtime/memory/arena.js';
import { packBuffers } from '../../../runtime/memory/pack.js';

describe('packed buffers', () => {
  it('hold every item once, aligned, within their sizes and the limit', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4096), { maxLength: 40 }), (sizes) => {
        const { items, bufferBytes } = packBuffers(sizes, 4096);
        expect(items).toHaveLength(sizes.length);
        for (const bytes of bufferBytes) expect(bytes).toBeLessThanOrEqual(4096);
        items.forEach(({ buffer, offset }, i) => {
          expect(offset % REGION_ALIGNMENT).toBe(0);
          expect(offset + sizes[i]!).toBeLessThanOrEqual(bufferBytes[buffer]!);
          items.slice(0, i).forEach((other, j) => {
            const apart =
              other.buffer !== buffer || other.offset + sizes[j]! <= offset || offset + sizes[i]! <= other.offset;
            expect(apart).toBe(true);
          });
        });
      }),
    );
  });

  it('need no more than twice the buffers that the bytes fill', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4096), { minLength: 1, maxLength: 40 }), (sizes) => {
        // Aligned sizes; first fit never leaves two buffers that are both at most half full.
        const total = sizes.reduce((n, s) => n + Math.max(1, Math.ceil(s / REGION_ALIGNMENT)) * REGION_ALIGNMENT, 0);
        expect(packBuffers(sizes, 4096).bufferBytes.length).toBeLessThanOrEqual(Math.ceil((2 * total) / 4096));
      }),
    );
  });

  it('are none for no items', () => {
    expect(packBuffers([], 4096)).toEqual({ items: [], bufferBytes: [] });
  });
});
