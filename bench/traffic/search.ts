export interface SearchOptions {
  readonly start: number;
  /** The search ends once the rate that failed is at most this much above the one that passed, as a share of it. */
  readonly tolerance: number;
  /** Most rates tried. */
  readonly maxProbes: number;
}

/**
 * Finds the highest rate that passes: doubles from the start until one fails, or halves until one passes, then bisects.
 * It only says which rate to try next, so that searches of several systems can take turns.
 */
export class RateSearch {
  readonly #options: SearchOptions;
  #passed: number | null = null;
  #failed: number | null = null;
  #probes = 0;

  constructor(options: SearchOptions) {
    this.#options = options;
  }

  /** Highest rate that passed so far. */
  get best(): number | null {
    return this.#passed;
  }

  /** The rate to try, or undefined when the search is over. */
  next(): number | undefined {
    const { start, tolerance, maxProbes } = this.#options;
    const [passed, failed] = [this.#passed, this.#failed];
    if (this.#probes >= maxProbes) return undefined;
    if (passed === null) return failed === null ? start : failed / 2;
    if (failed === null) return passed * 2;
    return failed <= passed * (1 + tolerance) ? undefined : (passed + failed) / 2;
  }

  record(rate: number, passed: boolean): void {
    this.#probes += 1;
    if (passed) this.#passed = rate;
    else this.#failed = rate;
  }
}
