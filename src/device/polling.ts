/**
 * How often Dawn asks the device for completed work.
 *
 * While anything is pending, Dawn's Node binding asks at every turn of the event loop, each time by a new native function given
 * to `setImmediate`. Node-API holds such functions by weak handles that only a full collection frees: 100,000 a second make
 * Scavenges of 2 ms and Mark-Compacts of 50 ms, the tail of the latencies. So they are held back here until the device may
 * have something: a turn that only looks at the clock costs nothing that lasts.
 */

/** Share of the time to the expected end in which the device is left alone, since waves may end early. */
const QUIET_SHARE = 0.85;
/** A timer may fire so much late, in milliseconds: what is left after it is waited for turn by turn. */
const TIMER_SLACK_MS = 1;
/** Longest time without a question: others wait for answers too, as a model that loads for its pipelines. */
const LONGEST_MS = 5;

type SetImmediate = typeof globalThis.setImmediate;

class Polling {
  readonly #immediate: SetImmediate = globalThis.setImmediate;
  /** Of each device: how often it is asked, and until when it has nothing, in milliseconds of performance.now(). */
  readonly #devices = new Map<symbol, { readonly intervalMs: number; quietUntil: number }>();
  #held: (() => void)[] = [];
  #dueAt = 0;

  readonly #turn = (): void => {
    const now = performance.now();
    const left = this.#dueAt - now;
    if (left > 0) {
      this.#wait(left);
      return;
    }
    const held = this.#held;
    this.#held = [];
    for (const ask of held) ask();
  };

  #wait(left: number): void {
    if (left >= 1 + TIMER_SLACK_MS) setTimeout(this.#turn, Math.floor(left - TIMER_SLACK_MS));
    else this.#immediate(this.#turn);
  }

  /** Dawn's functions are native and have no name; whatever else is scheduled goes on as it was. */
  readonly #paced = ((callback: (...values: unknown[]) => void, ...values: unknown[]) => {
    const dawns = values.length === 0 && callback.name === '' && String(callback).includes('[native code]');
    if (!dawns) return this.#immediate(callback, ...values);
    if (this.#held.push(callback) === 1) {
      const now = performance.now();
      this.#dueAt = this.#nextAt(now);
      this.#wait(this.#dueAt - now);
    }
    return undefined;
  }) as SetImmediate;

  #nextAt(now: number): number {
    let interval = Number.POSITIVE_INFINITY;
    let quiet = Number.POSITIVE_INFINITY;
    for (const { intervalMs, quietUntil } of this.#devices.values()) {
      interval = Math.min(interval, intervalMs);
      quiet = Math.min(quiet, quietUntil);
    }
    const due = Math.max(now + interval, Number.isFinite(quiet) ? quiet : 0);
    return Math.min(due, now + LONGEST_MS);
  }

  add(device: symbol, intervalMs: number): void {
    if (this.#devices.size === 0) globalThis.setImmediate = this.#paced;
    this.#devices.set(device, { intervalMs, quietUntil: Number.POSITIVE_INFINITY });
  }

  expect(device: symbol, at: number | undefined): void {
    const now = performance.now();
    const found = this.#devices.get(device)!;
    found.quietUntil = at === undefined ? Number.POSITIVE_INFINITY : now + QUIET_SHARE * (at - now);
    if (this.#held.length > 0) this.#dueAt = this.#nextAt(now);
  }

  remove(device: symbol): void {
    this.#devices.delete(device);
    if (this.#devices.size > 0) return;
    // Someone else may have replaced it since.
    if (globalThis.setImmediate === this.#paced) globalThis.setImmediate = this.#immediate;
    this.#dueAt = 0;
  }
}

const polling = new Polling();

/** Milliseconds between two questions from the expected end on; on a software adapter whoever asks takes the device's time. */
export const POLL_MS = { hardware: 0.01, software: 2 } as const;

/** Paces what Dawn asks one device. */
export interface Pace {
  /** When the next of the work in flight is expected to end; undefined where nothing is in flight. */
  expectEnd(at: number | undefined): void;
  stop(): void;
}

/** @param intervalMs between two questions, from the expected end on. */
export function pacePolling(intervalMs: number): Pace {
  const device = Symbol('device');
  polling.add(device, intervalMs);
  return {
    expectEnd: (at) => polling.expect(device, at),
    stop: () => polling.remove(device),
  };
}
