import type { WebGpuPart } from './executable.js';

/** A submission on the device. */
interface Flight {
  readonly parts: readonly WebGpuPart[];
  readonly submittedAt: number;
}

/** By how much a factor follows what took longer than it says. What took less is followed at once: to ask too early costs little. */
const SLOWER = 1 / 16;

/**
 * When submissions end: after what the cost model expects of the device, times a factor of each plan for what it does not
 * know of, such as uploads. Says so of the one the device works at, whose beginning is known.
 */
export class Expectation {
  readonly #expect: (at: number) => void;
  /** In order. */
  readonly #flights: Flight[] = [];
  readonly #factors = new WeakMap<object, number>();
  #lastDoneAt = 0;

  /** @param expect called with moments of performance.now(). */
  constructor(expect: (at: number) => void) {
    this.#expect = expect;
  }

  #factor({ executable }: WebGpuPart): number {
    return this.#factors.get(executable) ?? 1;
  }

  #beganAt({ submittedAt }: Flight): number {
    return Math.max(submittedAt, this.#lastDoneAt);
  }

  #announce(flight: Flight): void {
    const us = flight.parts.reduce((sum, part) => sum + this.#factor(part) * (part.expectedUs ?? Number.NaN), 0);
    if (us > 0) this.#expect(this.#beganAt(flight) + us / 1000);
  }

  /** Returns what ends it: to be called with the moment at which the results were there. */
  submitted(parts: readonly WebGpuPart[], at: number): (doneAt: number) => void {
    const flight = { parts, submittedAt: at };
    this.#flights.push(flight);
    if (this.#flights.length === 1) this.#announce(flight);
    return (doneAt) => {
      this.#learn(flight, doneAt);
      this.#lastDoneAt = doneAt;
      this.#flights.splice(this.#flights.indexOf(flight), 1);
      const [next] = this.#flights;
      if (next) this.#announce(next);
    };
  }

  #learn(flight: Flight, doneAt: number): void {
    const [part, ...others] = flight.parts;
    const expectedUs = part?.expectedUs ?? 0;
    // Of several plans in one submission it is not known what each took.
    if (others.length > 0 || !(expectedUs > 0)) return;
    const took = (1000 * (doneAt - this.#beganAt(flight))) / expectedUs;
    const factor = this.#factor(part!);
    this.#factors.set(part!.executable, took < factor ? took : factor + SLOWER * (took - factor));
  }
}
