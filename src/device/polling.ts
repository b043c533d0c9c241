/**
 * How often Dawn asks the device for completed work.
 *
 * While anything is pending, Dawn's Node binding asks at every turn of the event loop, each time by a new native function given
 * to `setImmediate`. Node-API holds such functions by weak handles that only a full collection frees: 100,000 a second make
 * Scavenges of 2 ms and Mark-Compacts of 50 ms, the tail of the latencies. So they are held back here for a while: a turn that
 * only looks at the clock costs nothing that lasts.
 */

import { pauseBriefly } from '../../runtime/backends/common/pause.js';

/** Milliseconds between two questions. On a GPU little beside a wave. On a software adapter whoever asks takes the device's time. */
export const POLL_MS = { hardware: 0.05, software: 2 } as const;

/** Around a moment at which an answer is expected questions come closer, in milliseconds: how close, from how long before, until how long after. */
const CLOSE = { intervalMs: 0.01, beforeMs: 0.015, afterMs: 0.06 } as const;

/**
 * How long a turn only looks at the clock, in milliseconds. A turn of the event loop leaves some 300 bytes of garbage: turns that
 * end at once, a million a second, have a Scavenge of 1 ms follow every 10 ms. Whatever else comes waits no longer than this.
 */
const TURN_MS = 0.01;

/** A timer may fire so much late, in milliseconds: what is left after it is waited for turn by turn. */
const TIMER_SLACK_MS = 1;

type SetImmediate = typeof globalThis.setImmediate;

/** The pace of one device. */
export interface Pacing {
  /** Says that work is expected to be completed at a moment of performance.now(), so that it is asked for in time. */
  readonly expect: (at: number) => void;
  readonly stop: () => void;
}

class Polling {
  readonly #immediate: SetImmediate = globalThis.setImmediate;
  /** Of each device. */
  readonly #intervals = new Map<symbol, number>();
  /** Moments, the earliest first. */
  readonly #expected: number[] = [];
  #held: (() => void)[] = [];
  #dueAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  readonly #turn = (): void => {
    this.#timer = undefined;
    const began = performance.now();
    let now = began;
    while (now < this.#dueAt && now < began + TURN_MS) {
      pauseBriefly();
      now = performance.now();
    }
    if (now < this.#dueAt) {
      this.#wait(this.#dueAt - now);
      return;
    }
    const held = this.#held;
    this.#held = [];
    for (const ask of held) ask();
  };

  #wait(left: number): void {
    if (left >= 1 + TIMER_SLACK_MS) this.#timer = setTimeout(this.#turn, Math.floor(left - TIMER_SLACK_MS));
    else this.#immediate(this.#turn);
  }

  /** Dawn's functions are native and have no name; whatever else is scheduled goes on as it was. */
  readonly #paced = ((callback: (...values: unknown[]) => void, ...values: unknown[]) => {
    const dawns = values.length === 0 && callback.name === '' && String(callback).includes('[native code]');
    if (!dawns) return this.#immediate(callback, ...values);
    if (this.#held.push(callback) === 1) {
      const now = performance.now();
      this.#dueAt = this.#dueAfter(now);
      this.#wait(this.#dueAt - now);
    }
    return undefined;
  }) as SetImmediate;

  #dueAfter(now: number): number {
    const expected = this.#expected;
    while (expected.length > 0 && expected[0]! + CLOSE.afterMs < now) expected.shift();
    const due = now + Math.min(...this.#intervals.values());
    if (expected.length === 0) return due;
    return Math.min(due, Math.max(now + CLOSE.intervalMs, expected[0]! - CLOSE.beforeMs));
  }

  expect(at: number): void {
    const expected = this.#expected;
    // Moments come in order but for waves that end sooner than was thought.
    let i = expected.length;
    while (i > 0 && expected[i - 1]! > at) i--;
    expected.splice(i, 0, at);
    if (this.#held.length === 0) return;
    const now = performance.now();
    this.#dueAt = Math.min(this.#dueAt, this.#dueAfter(now));
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wait(this.#dueAt - now);
  }

  add(device: symbol, intervalMs: number): void {
    if (this.#intervals.size === 0) globalThis.setImmediate = this.#paced;
    this.#intervals.set(device, intervalMs);
  }

  remove(device: symbol): void {
    this.#intervals.delete(device);
    if (this.#intervals.size > 0) return;
    this.#expected.length = 0;
    // Someone else may have replaced it since.
    if (globalThis.setImmediate === this.#paced) globalThis.setImmediate = this.#immediate;
    this.#dueAt = 0;
  }
}

const polling = new Polling();

/** Paces what Dawn asks a device of this thread, where several are open the most eager one's way. */
export function pacePolling(intervalMs: number): Pacing {
  const device = Symbol('device');
  polling.add(device, intervalMs);
  return { expect: (at) => polling.expect(at), stop: () => polling.remove(device) };
}
