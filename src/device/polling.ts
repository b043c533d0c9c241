/**
 * How often Dawn asks the device for completed work.
 *
 * While anything is pending, Dawn's Node binding asks at every turn of the event loop, each time by a new native function given
 * to `setImmediate`. Node-API holds such functions by weak handles that only a full collection frees: 100,000 a second make
 * Scavenges of 2 ms and Mark-Compacts of 50 ms, the tail of the latencies. So they are held back here for a while: a turn that
 * only looks at the clock costs nothing that lasts.
 */

/**
 * Milliseconds between two questions. On a GPU little beside a wave, which takes two of them: one finds its end, another its
 * staging memory. On a software adapter whoever asks takes the device's time.
 */
export const POLL_MS = { hardware: 0.05, software: 2 } as const;

/** A timer may fire so much late, in milliseconds: what is left after it is waited for turn by turn. */
const TIMER_SLACK_MS = 1;

type SetImmediate = typeof globalThis.setImmediate;

class Polling {
  readonly #immediate: SetImmediate = globalThis.setImmediate;
  /** Of each device. */
  readonly #intervals = new Map<symbol, number>();
  #held: (() => void)[] = [];
  #dueAt = 0;

  readonly #turn = (): void => {
    const left = this.#dueAt - performance.now();
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
      const interval = Math.min(...this.#intervals.values());
      this.#dueAt = performance.now() + interval;
      this.#wait(interval);
    }
    return undefined;
  }) as SetImmediate;

  add(device: symbol, intervalMs: number): void {
    if (this.#intervals.size === 0) globalThis.setImmediate = this.#paced;
    this.#intervals.set(device, intervalMs);
  }

  remove(device: symbol): void {
    this.#intervals.delete(device);
    if (this.#intervals.size > 0) return;
    // Someone else may have replaced it since.
    if (globalThis.setImmediate === this.#paced) globalThis.setImmediate = this.#immediate;
    this.#dueAt = 0;
  }
}

const polling = new Polling();

/** Paces what Dawn asks a device of this thread, where several are open the most eager one's way. Returns what ends it. */
export function pacePolling(intervalMs: number): () => void {
  const device = Symbol('device');
  polling.add(device, intervalMs);
  return () => polling.remove(device);
}
