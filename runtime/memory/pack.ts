import { alignUp, REGION_ALIGNMENT } from './arena.js';

export interface PackedItem {
  /** Index of the buffer that holds the item. */
  readonly buffer: number;
  readonly offset: number;
}

export interface Packing {
  readonly items: readonly PackedItem[];
  /** Size of each buffer in bytes. */
  readonly bufferBytes: readonly number[];
}

/** Packs items of the given sizes into as few buffers of at most `maxBufferBytes` as first fit finds, in order. */
export function packBuffers(bytes: readonly number[], maxBufferBytes: number): Packing {
  const bufferBytes: number[] = [];
  const items = bytes.map((size): PackedItem => {
    const needed = alignUp(Math.max(size, 4), REGION_ALIGNMENT);
    let buffer = bufferBytes.findIndex((used) => used + needed <= maxBufferBytes);
    if (buffer < 0) buffer = bufferBytes.push(0) - 1;
    const offset = bufferBytes[buffer]!;
    bufferBytes[buffer] = offset + needed;
    return { buffer, offset };
  });
  return { items, bufferBytes };
}
