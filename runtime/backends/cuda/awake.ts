import { pauseBriefly } from '../common/pause.js';

/** What takes longer is not hurt by the time that waking takes, in milliseconds. */
const MOST_MS = 1;

/**
 * Keeps the event loop turning while a wave is on the device and short. The addon's thread calls it at the end; a loop that
 * sleeps then hears that only once the system has woken it, which takes a good part of what a wave of few rows does.
 */
export class Awake {
  #inFlight = 0;
  #until = 0;
  #turns = false;

  readonly #turn = (): void => {
    // A turn of the event loop leaves garbage behind, and the end of a wave waits for a turn: a short one.
    pauseBriefly();
    this.#turns = this.#inFlight > 0 && performance.now() < this.#until;
    if (this.#turns) setImmediate(this.#turn);
  };

  submitted(): void {
    this.#inFlight++;
    this.#until = performance.now() + MOST_MS;
    if (this.#turns) return;
    this.#turns = true;
    setImmediate(this.#turn);
  }

  ended(): void {
    this.#inFlight--;
  }
}
