/** Query sets hold at most this many timestamps. */
const MOST_TIMESTAMPS = 4096;

/**
 * The device's clock: timestamps written by passes and read back with a wave's results. Shared by the waves in flight,
 * since the queue resolves those of one wave before the next writes its own.
 */
export class DeviceClock {
  readonly #querySet: GPUQuerySet;
  readonly #resolved: GPUBuffer;

  constructor(device: GPUDevice) {
    this.#querySet = device.createQuerySet({ label: 'timestamps', type: 'timestamp', count: MOST_TIMESTAMPS });
    this.#resolved = device.createBuffer({
      label: 'timestamps',
      size: MOST_TIMESTAMPS * 8,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
  }

  /** How many stretches of time a wave can measure. */
  get intervals(): number {
    return MOST_TIMESTAMPS / 2;
  }

  /** What a pass writes at its beginning and its end. */
  interval(index: number): GPUComputePassTimestampWrites {
    return { querySet: this.#querySet, beginningOfPassWriteIndex: 2 * index, endOfPassWriteIndex: 2 * index + 1 };
  }

  /** Copies the first `intervals` into `target` at `offset`. */
  read(encoder: GPUCommandEncoder, intervals: number, target: GPUBuffer, offset: number): void {
    encoder.resolveQuerySet(this.#querySet, 0, 2 * intervals, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, target, offset, 16 * intervals);
  }

  destroy(): void {
    this.#querySet.destroy();
    this.#resolved.destroy();
  }
}

/** Bytes that the timestamps of `intervals` take in a read-back. */
export function clockBytes(intervals: number): number {
  return 16 * intervals;
}

/** Microseconds of each interval in what was read back. */
export function readIntervals(mapped: ArrayBuffer, offset: number, intervals: number): number[] {
  const times = new BigUint64Array(mapped, offset, 2 * intervals);
  return Array.from({ length: intervals }, (_, i) => Number(times[2 * i + 1]! - times[2 * i]!) / 1000);
}
