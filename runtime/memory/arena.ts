/** A region that has to live from one step to another, both included. */
export interface Region {
  readonly bytes: number;
  readonly firstStep: number;
  readonly lastStep: number;
}

export interface ArenaLayout {
  /** Byte offset of each region, in the order given. */
  readonly offsets: readonly number[];
  readonly bytes: number;
}

/** Offsets are multiples of this, the strictest alignment that bindings and copies ask for. */
export const REGION_ALIGNMENT = 256;

export function alignUp(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

/**
 * Places regions so that two that are alive together never overlap: largest first, each at the lowest offset that is
 * free for its whole life (greedy by size, as in Pisarchyk and Lee, arXiv:2001.03288).
 */
export function planArena(regions: readonly Region[]): ArenaLayout {
  const offsets = regions.map(() => 0);
  const placed: { start: number; end: number; region: Region }[] = [];
  let total = 0;
  const order = regions.map((_, i) => i).sort((a, b) => regions[b]!.bytes - regions[a]!.bytes || a - b);
  for (const index of order) {
    const region = regions[index]!;
    const size = alignUp(Math.max(region.bytes, 4), REGION_ALIGNMENT);
    const rivals = placed
      .filter((p) => p.region.firstStep <= region.lastStep && region.firstStep <= p.region.lastStep)
      .sort((a, b) => a.start - b.start);
    let start = 0;
    for (const rival of rivals) {
      if (start + size <= rival.start) break;
      start = Math.max(start, rival.end);
    }
    offsets[index] = start;
    placed.push({ start, end: start + size, region });
    total = Math.max(total, start + size);
  }
  return { offsets, bytes: total };
}
