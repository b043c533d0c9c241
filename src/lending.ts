import { alignUp } from '../runtime/memory/arena.js';
import type { LentMemory } from './api.js';

/** Smallest piece; below it the sizes are all alike. */
const LEAST_BYTES = 4096;
/** Idle pieces are kept up to so many bytes in all. */
const KEPT_BYTES = 2 ** 28;

/**
 * Of a device's pages. A device reads whole ones only, and memory does not begin with one: so much at both ends of a piece is
 * left unused.
 */
const PAGE_BYTES = 4096;

/** Where what lies in a piece begins. */
export const PIECE_START = PAGE_BYTES;

/** Bytes that a piece has room for. */
export function roomOf(buffer: SharedArrayBuffer): number {
  return buffer.byteLength - 2 * PAGE_BYTES;
}

/** A piece of shared memory, and the number that both threads know it by. */
export interface SharedPiece {
  readonly index: number;
  readonly buffer: SharedArrayBuffer;
}

/** Pieces that whoever reads them does not know yet, and numbers of those that are not used any more. */
export interface PoolNews {
  readonly memory: readonly (readonly [number, SharedArrayBuffer])[];
  readonly forget: readonly number[];
}

/**
 * Shared memory for queries on their way to the engine's thread and back. Pieces come in powers of two and are used again,
 * since making shared memory costs a system call and page faults, and telling whoever reads it of it a good deal too: they are
 * told once, and know a piece by its number from then on.
 */
export class SharedPool {
  readonly #idle = new Map<number, SharedPiece[]>();
  readonly #pieces = new WeakMap<ArrayBufferLike, SharedPiece>();
  #idleBytes = 0;
  #made = 0;
  #news: (readonly [number, SharedArrayBuffer])[] = [];
  #dropped: number[] = [];

  take(bytes: number): SharedPiece {
    const room = Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(Math.max(1, bytes))));
    const idle = this.#idle.get(room)?.pop();
    if (idle) {
      this.#idleBytes -= room;
      return idle;
    }
    const piece = { index: this.#made++, buffer: new SharedArrayBuffer(room + 2 * PAGE_BYTES) };
    this.#pieces.set(piece.buffer, piece);
    this.#news.push([piece.index, piece.buffer]);
    return piece;
  }

  give(piece: SharedPiece): void {
    const room = roomOf(piece.buffer);
    if (this.#idleBytes + room > KEPT_BYTES) {
      this.#dropped.push(piece.index);
      return;
    }
    let idle = this.#idle.get(room);
    if (!idle) this.#idle.set(room, (idle = []));
    idle.push(piece);
    this.#idleBytes += room;
  }

  /** A piece for whoever asks. @throws RangeError where there is no such memory. */
  lend(bytes: number): LentMemory {
    const piece = this.take(bytes);
    let isLent = true;
    return {
      bytes: new Uint8Array(piece.buffer, PIECE_START, bytes),
      release: () => {
        if (isLent) this.give(piece);
        isLent = false;
      },
    };
  }

  /** The piece that a buffer is, where it is one. */
  pieceOf(buffer: ArrayBufferLike): SharedPiece | undefined {
    return this.#pieces.get(buffer);
  }

  takeNews(): PoolNews {
    const news = { memory: this.#news, forget: this.#dropped };
    this.#news = [];
    this.#dropped = [];
    return news;
  }
}

/** Who is told of memory that is read from, and of its end; see Backend.adopt. */
export interface MemoryAdopter {
  adopt(memory: SharedArrayBuffer): void;
  disown(memory: SharedArrayBuffer): void;
}

/** A pool's pieces as whoever reads them knows them: by their numbers. */
export class KnownPieces {
  readonly #adopter: MemoryAdopter;
  readonly #buffers = new Map<number, SharedArrayBuffer>();

  constructor(adopter: MemoryAdopter) {
    this.#adopter = adopter;
  }

  get(index: number): SharedArrayBuffer | undefined {
    return this.#buffers.get(index);
  }

  hear({ memory, forget }: PoolNews): void {
    for (const [index, buffer] of memory) {
      this.#buffers.set(index, buffer);
      this.#adopter.adopt(buffer);
    }
    for (const index of forget) {
      this.#adopter.disown(this.#buffers.get(index)!);
      this.#buffers.delete(index);
    }
  }
}

/** Tensors begin on multiples of this in shared memory: any element type may be read there. */
const ALIGNMENT = 16;

export function alignTensor(bytes: number): number {
  return alignUp(bytes, ALIGNMENT);
}
