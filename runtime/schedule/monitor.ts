import type { Bound } from '../compile/kernel.js';

/** A lane's work that is submitted and not yet over. */
export interface LaneLoad {
  readonly lane: number;
  /** Submissions, of a wave or more. */
  readonly waves: number;
  readonly outstandingUs: number;
  /** What the work in flight is bound by; undefined where the lane is free. */
  readonly bound: Bound | undefined;
}

/** A submission on the device. */
interface Flight {
  readonly lane: number;
  readonly bound: Bound;
  readonly expectedUs: number;
  /** Of each target whose wave it carries. */
  readonly rows: ReadonlyMap<unknown, number>;
  startedAt: number;
}

/** Time constant of the busy share, in milliseconds. */
const BUSY_WINDOW_MS = 500;

/**
 * Watches the device: what each lane still has to do by the cost model's word, what share of the time the device is busy
 * by the clock's, and totals. The scheduler asks it before each wave.
 */
export class LoadMonitor {
  readonly #lanes: number;
  readonly #concurrent: boolean;
  readonly #flights = new Map<symbol, Flight>();
  readonly #openedAt: number;
  #busyMs = 0;
  #busySince: number | undefined;
  #share = 0;
  #sharedAt: number;
  #busyAtShare = 0;
  #lastDoneAt = 0;
  waves = 0;
  queries = 0;
  rows = 0;
  dispatches = 0;
  hostUs = 0;

  constructor(lanes: number, concurrent: boolean, now: number) {
    this.#lanes = lanes;
    this.#concurrent = concurrent;
    this.#openedAt = now;
    this.#sharedAt = now;
  }

  /** Submissions. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /** Rows of `target` that are on the device. */
  rowsInFlight(target: unknown): number {
    let rows = 0;
    for (const flight of this.#flights.values()) rows += flight.rows.get(target) ?? 0;
    return rows;
  }

  /** What the submissions in flight were expected to take in all, however much of it is over. */
  get expectedUs(): number {
    let us = 0;
    for (const flight of this.#flights.values()) us += flight.expectedUs;
    return us;
  }

  /** Work that the device still has, less what the wave at its head has had already. */
  outstandingUs(now: number): number {
    return this.lanes(now).reduce(
      (sum, l) => (this.#concurrent ? Math.max(sum, l.outstandingUs) : sum + l.outstandingUs),
      0,
    );
  }

  lanes(now: number): readonly LaneLoad[] {
    const lanes = Array.from({ length: this.#lanes }, (_, lane) => ({
      lane,
      waves: 0,
      outstandingUs: 0,
      bound: undefined as Bound | undefined,
    }));
    let head = true;
    for (const flight of this.#flights.values()) {
      const lane = lanes[flight.lane]!;
      const running = this.#concurrent ? lane.waves === 0 : head;
      head = false;
      const spent = running ? 1000 * (now - Math.max(flight.startedAt, this.#lastDoneAt)) : 0;
      lane.waves++;
      lane.outstandingUs += Math.max(0, flight.expectedUs - spent);
      lane.bound ??= flight.bound;
    }
    return lanes;
  }

  begin(flight: Omit<Flight, 'startedAt'>, now: number): symbol {
    const id = Symbol('flight');
    this.#flights.set(id, { ...flight, startedAt: now });
    return id;
  }

  /** The wave is on the device from now on. */
  submitted(id: symbol, at: number): void {
    this.#flights.get(id)!.startedAt = at;
    this.#busySince ??= at;
  }

  end(id: symbol, at: number): void {
    this.#flights.delete(id);
    this.#lastDoneAt = at;
    if (this.#busySince === undefined) return;
    this.#busyMs += Math.max(0, at - this.#busySince);
    this.#busySince = this.#flights.size > 0 ? at : undefined;
  }

  #busyUntil(now: number): number {
    return this.#busyMs + (this.#busySince === undefined ? 0 : Math.max(0, now - this.#busySince));
  }

  /** Share of the last half second or so in which the device had work, by the host's clock; 0 to 1. */
  busyShare(now: number): number {
    const elapsed = now - this.#sharedAt;
    if (elapsed > 0) {
      const busy = this.#busyUntil(now);
      const share = Math.min(1, (busy - this.#busyAtShare) / elapsed);
      const weight = 1 - Math.exp(-elapsed / BUSY_WINDOW_MS);
      this.#share += weight * (share - this.#share);
      this.#sharedAt = now;
      this.#busyAtShare = busy;
    }
    return this.#share;
  }

  /** Milliseconds in which the device had work, and since when they are counted. */
  totals(now: number): { readonly busyMs: number; readonly elapsedMs: number } {
    return { busyMs: this.#busyUntil(now), elapsedMs: now - this.#openedAt };
  }
}
