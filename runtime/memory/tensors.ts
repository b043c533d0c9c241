import { alignUp, REGION_ALIGNMENT } from './arena.js';

/** A point in a lane's order of work: passed once the lane has done everything up to it. */
export interface Fence {
  readonly lane: number;
  readonly point: number;
}

/** The right to a region until it is released. */
export interface Lease {
  /** In bytes from the start of the memory. */
  readonly offset: number;
  readonly bytes: number;
  readonly lane: number;
  /** What the lane has to wait for on the device before it touches the region; the host waits for nothing. */
  readonly waits: readonly Fence[];
}

export interface TensorMemory {
  readonly budgetBytes: number;
  /** In leases, and released but not past their fences. */
  readonly leasedBytes: number;
  readonly pendingBytes: number;
  readonly peakBytes: number;
  /** Share of the free memory outside the largest free region; 0 where it is in one piece. */
  readonly fragmentation: number;
}

interface Free {
  offset: number;
  bytes: number;
  /** The last point of each lane that may still touch the region. */
  fences: Map<number, number>;
}

/**
 * The one owner of a stretch of device memory. A region goes back with the fences of its last readers and may be leased
 * again at once: on the lane that read it last the order of the lane keeps its contents safe, any other lane is told
 * what to wait for. Nothing waits on the host. Best fit; neighbours are joined as soon as both are free, so that free
 * memory ends in one piece when no lease is left.
 *
 * After the asynchronous tensor manager of RecOS (Guo et al., IJCAI 2025).
 */
export class TensorManager {
  readonly #budgetBytes: number;
  /** By offset. */
  #free: Free[];
  readonly #leases = new Set<Lease>();
  /** How far each lane is known to be. */
  readonly #done = new Map<number, number>();
  #leasedBytes = 0;
  #peakBytes = 0;

  constructor(budgetBytes: number) {
    this.#budgetBytes = Math.floor(budgetBytes / REGION_ALIGNMENT) * REGION_ALIGNMENT;
    this.#free = this.#budgetBytes > 0 ? [{ offset: 0, bytes: this.#budgetBytes, fences: new Map() }] : [];
  }

  get leases(): number {
    return this.#leases.size;
  }

  get memory(): TensorMemory {
    const free = this.#free.reduce((n, f) => n + f.bytes, 0);
    const largest = this.#free.reduce((n, f) => Math.max(n, f.bytes), 0);
    return {
      budgetBytes: this.#budgetBytes,
      leasedBytes: this.#leasedBytes,
      pendingBytes: this.#free.reduce((n, f) => n + (this.#pending(f).length > 0 ? f.bytes : 0), 0),
      peakBytes: this.#peakBytes,
      fragmentation: free === 0 ? 0 : 1 - largest / free,
    };
  }

  /** Whether a region of `bytes` could be leased now. */
  hasRoom(bytes: number): boolean {
    const size = this.#size(bytes);
    return this.#free.some((region) => region.bytes >= size);
  }

  /** A region of at least `bytes` for work on `lane`; undefined where no free region is large enough now. */
  lease(bytes: number, lane: number): Lease | undefined {
    const size = this.#size(bytes);
    let best: Free | undefined;
    let bestWaits = 0;
    for (const region of this.#free) {
      if (region.bytes < size) continue;
      const waits = this.#foreign(region, lane).length;
      // A wait costs more than a worse fit.
      if (!best || waits < bestWaits || (waits === bestWaits && region.bytes < best.bytes)) {
        [best, bestWaits] = [region, waits];
      }
    }
    if (!best) return undefined;
    const lease = { offset: best.offset, bytes: size, lane, waits: this.#foreign(best, lane) };
    best.offset += size;
    best.bytes -= size;
    if (best.bytes === 0) this.#free.splice(this.#free.indexOf(best), 1);
    this.#leases.add(lease);
    this.#leasedBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#leasedBytes);
    return lease;
  }

  /** Gives a region back. @param fences points past which no lane touches it; of lanes that only wrote it, too. */
  release(lease: Lease, fences: readonly Fence[]): void {
    if (!this.#leases.delete(lease)) throw new Error('a lease was released twice');
    this.#leasedBytes -= lease.bytes;
    const region: Free = { offset: lease.offset, bytes: lease.bytes, fences: new Map() };
    for (const { lane, point } of fences) region.fences.set(lane, Math.max(point, region.fences.get(lane) ?? 0));
    let at = this.#free.findIndex((f) => f.offset > region.offset);
    if (at < 0) at = this.#free.length;
    this.#free.splice(at, 0, region);
    this.#join(at);
    this.#join(at - 1);
  }

  /** The lane has done everything up to the fence. */
  passed({ lane, point }: Fence): void {
    this.#done.set(lane, Math.max(point, this.#done.get(lane) ?? 0));
  }

  #size(bytes: number): number {
    return alignUp(Math.max(1, bytes), REGION_ALIGNMENT);
  }

  /** Joins region `at` with the one behind it. */
  #join(at: number): void {
    const [left, right] = [this.#free[at], this.#free[at + 1]];
    if (!left || !right || left.offset + left.bytes !== right.offset) return;
    left.bytes += right.bytes;
    for (const [lane, point] of right.fences) left.fences.set(lane, Math.max(point, left.fences.get(lane) ?? 0));
    this.#free.splice(at + 1, 1);
  }

  #pending({ fences }: Free): Fence[] {
    return [...fences].flatMap(([lane, point]) => (point > (this.#done.get(lane) ?? 0) ? [{ lane, point }] : []));
  }

  #foreign(region: Free, lane: number): Fence[] {
    return this.#pending(region).filter((f) => f.lane !== lane);
  }
}
