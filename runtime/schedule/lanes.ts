import type { Bound } from '../compile/kernel.js';
import type { LaneLoad } from './monitor.js';

/** How much longer work takes beside work that is bound by the same thing, as a share. */
const CONTENTION = 0.5;

/**
 * The lane on which a wave of `bound` work, `us` microseconds of it, would be over first: what the lane still has, and the
 * wave, stretched by the share of the other lanes' work that competes for the same units. Memory-bound work so goes
 * beside arithmetic-bound work, and nothing behind a long lane while a short one is free. After the stream selection of
 * RecOS (Guo et al., IJCAI 2025).
 */
export function chooseLane(lanes: readonly LaneLoad[], bound: Bound, us: number): number {
  let best = 0;
  let bestUs = Number.POSITIVE_INFINITY;
  for (const { lane, outstandingUs } of lanes) {
    const rivals = lanes.filter((l) => l.lane !== lane && l.bound === bound && l.outstandingUs > 0);
    const overlap = rivals.reduce((sum, r) => sum + Math.max(0, Math.min(us, r.outstandingUs - outstandingUs)), 0);
    const end = outstandingUs + us + CONTENTION * overlap;
    if (end < bestUs) [best, bestUs] = [lane, end];
  }
  return best;
}
