import type { Fence } from '../../runtime/memory/tensors.js';
import type { Random } from './cases.js';

type Command =
  | { readonly kind: 'wait'; readonly fence: Fence }
  | { readonly kind: 'signal'; readonly point: number }
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: number; readonly tag: number }
  | { readonly kind: 'read'; readonly offset: number; readonly bytes: number; readonly tag: number };

/** Bytes that one cell of the simulated memory stands for. */
const CELL = 256;

/**
 * A device of several lanes that runs each lane's commands in order and the lanes against each other in whatever order
 * hurts: a lane may sleep while the others run far ahead. It keeps what was written where, and notes every read that
 * finds something else.
 */
export class SimulatedDevice {
  readonly violations: string[] = [];
  readonly #random: Random;
  readonly #lanes: Command[][];
  readonly #points: number[];
  readonly #cells: Int32Array;
  readonly #onPassed: (fence: Fence) => void;
  #favourite = 0;

  constructor(lanes: number, bytes: number, random: Random, onPassed: (fence: Fence) => void) {
    this.#random = random;
    this.#lanes = Array.from({ length: lanes }, () => []);
    this.#points = this.#lanes.map(() => 0);
    this.#cells = new Int32Array(Math.ceil(bytes / CELL)).fill(-1);
    this.#onPassed = onPassed;
  }

  push(lane: number, command: Command): void {
    this.#lanes[lane]!.push(command);
  }

  get idle(): boolean {
    return this.#lanes.every((commands) => commands.length === 0);
  }

  /** Runs up to `steps` commands. @throws Error where lanes wait for each other. */
  run(steps: number): void {
    for (let step = 0; step < steps && !this.idle; step++) {
      const ready = this.#lanes.flatMap((_, lane) => (this.#isReady(lane) ? [lane] : []));
      if (ready.length === 0) throw new Error('the lanes wait for each other');
      if (this.#random.next() < 0.05) this.#favourite = this.#random.int(0, this.#lanes.length - 1);
      const lane =
        ready.includes(this.#favourite) && this.#random.next() < 0.9 ? this.#favourite : this.#random.pick(ready);
      this.#do(lane, this.#lanes[lane]!.shift()!);
    }
  }

  #isReady(lane: number): boolean {
    const [next] = this.#lanes[lane]!;
    return next !== undefined && (next.kind !== 'wait' || this.#points[next.fence.lane]! >= next.fence.point);
  }

  #do(lane: number, command: Command): void {
    if (command.kind === 'signal') {
      this.#points[lane] = command.point;
      this.#onPassed({ lane, point: command.point });
    } else if (command.kind === 'write') {
      this.#cells.fill(command.tag, command.offset / CELL, (command.offset + command.bytes) / CELL);
    } else if (command.kind === 'read') {
      const cells = this.#cells.subarray(command.offset / CELL, (command.offset + command.bytes) / CELL);
      const wrong = cells.find((tag) => tag !== command.tag);
      if (wrong !== undefined) this.violations.push(`lane ${lane} expected ${command.tag} and found ${wrong}`);
    }
  }
}
