const CELL = new Int32Array(1);

/** Passes a microsecond or two, and leaves nothing to be collected: to ask the clock over and over makes 100 MB/s of numbers. */
export function pauseBriefly(): void {
  for (let i = 0; i < 300; i++) Atomics.load(CELL, 0);
}
