/** Smallest piece; below it the sizes are all alike. */
const LEAST_BYTES = 4096;
/** Idle pieces kept of each size. */
const KEPT = 64;

/** A piece of shared memory, and the number that both threads know it by. */
export interface SharedPiece {
  readonly index: number;
  readonly buffer: SharedArrayBuffer;
}

/**
 * Shared memory for queries on their way to the engine's thread and back. Pieces come in powers of two and are used again,
 * since making shared memory costs a system call and page faults, and telling the other thread of it a good deal too: it is told
 * once, and knows a piece by its number from then on.
 */
export class SharedPool {
  readonly #idle = new Map<number, SharedPiece[]>();
  #made = 0;
  #news: (readonly [number, SharedArrayBuffer])[] = [];
  #dropped: number[] = [];

  take(bytes: number): SharedPiece {
    const size = Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(Math.max(1, bytes))));
    const idle = this.#idle.get(size)?.pop();
    if (idle) return idle;
    const piece = { index: this.#made++, buffer: new SharedArrayBuffer(size) };
    this.#news.push([piece.index, piece.buffer]);
    return piece;
  }

  give(piece: SharedPiece): void {
    const size = piece.buffer.byteLength;
    let idle = this.#idle.get(size);
    if (!idle) this.#idle.set(size, (idle = []));
    if (idle.length < KEPT) idle.push(piece);
    else this.#dropped.push(piece.index);
  }

  /** What the other thread does not know yet: pieces that are new, and numbers of those that are not used any more. */
  takeNews(): {
    readonly memory: readonly (readonly [number, SharedArrayBuffer])[];
    readonly forget: readonly number[];
  } {
    const news = { memory: this.#news, forget: this.#dropped };
    this.#news = [];
    this.#dropped = [];
    return news;
  }
}
