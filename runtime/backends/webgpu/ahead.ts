import type { WebGpuExecutable } from './executable.js';

/** What commands depend on: waves of the same sizes in the same buffers have the same. */
export interface Recipe {
  /** Of the parts, in order. */
  readonly executables: readonly WebGpuExecutable[];
  /** Of the parts: what their symbols and queries come to. */
  readonly sizes: readonly string[];
  readonly staging: GPUBuffer;
  readonly readback: GPUBuffer;
  /** Of shared memory. */
  readonly generation: number;
}

/** Submissions of one recipe in a row from which on the next is believed to be of it too. */
const REPEATS = 3;

function same(a: Recipe, b: Recipe): boolean {
  return (
    a.generation === b.generation &&
    a.staging === b.staging &&
    a.readback === b.readback &&
    a.sizes.length === b.sizes.length &&
    a.sizes.every((sizes, i) => sizes === b.sizes[i] && a.executables[i] === b.executables[i])
  );
}

/**
 * Commands that are recorded while the device runs the wave before: where waves repeat, as those of a client that ranks as many
 * candidates every time, recording them is then not on the way of a query. Commands can be submitted but once, so that
 * each wave takes new ones.
 */
export class Ahead<Commands> {
  #last: Recipe | undefined;
  #repeats = 0;
  #ready: Commands | undefined;

  /** The commands of a submission, if they were recorded ahead. What was recorded for another is dropped. */
  take(recipe: Recipe): Commands | undefined {
    const repeats = this.#last !== undefined && same(this.#last, recipe);
    const ready = repeats ? this.#ready : undefined;
    this.#ready = undefined;
    this.#repeats = repeats ? this.#repeats + 1 : 0;
    this.#last = recipe;
    return ready;
  }

  /** Called once the submission last taken is on its way. */
  next(record: () => Commands): void {
    if (this.#repeats >= REPEATS) this.#ready = record();
  }

  /** Lets go of a plan that is released. */
  forget(executable: WebGpuExecutable): void {
    if (!this.#last?.executables.includes(executable)) return;
    this.#last = undefined;
    this.#ready = undefined;
    this.#repeats = 0;
  }
}
