import type { Weight } from '../../compile/lower.js';
import { storedBytes } from '../../compile/packed.js';
import { deviceBytes, type Storage } from '../../compile/view.js';
import { packBuffers } from '../../memory/pack.js';
import { writeWeight } from '../common/transfer.js';
import type { NativeDevice } from './addon.js';

/** A plan's constants in device memory, packed in few large stretches. */
export class CudaWeights {
  readonly bytes: number;
  readonly buffers: readonly { readonly address: number; readonly bytes: number }[];
  readonly #device: NativeDevice;
  readonly #places = new Map<Storage, { readonly buffer: number; readonly offset: number }>();

  /** @param limit bytes of a stretch at most. */
  constructor(
    device: NativeDevice,
    weights: readonly Weight[],
    limit: number,
    onProgress: (done: number, total: number) => void,
  ) {
    this.#device = device;
    const packing = packBuffers(
      weights.map(({ storage, tensor }) => storedBytes(storage.type, tensor.dims)),
      limit,
    );
    this.bytes = packing.bufferBytes.reduce((a, b) => a + b, 0);
    const buffers: { address: number; bytes: number }[] = [];
    this.buffers = buffers;
    try {
      for (const bytes of packing.bufferBytes) buffers.push({ address: device.alloc(bytes), bytes });
      weights.forEach((weight, i) => {
        const { storage, tensor } = weight;
        const { buffer, offset } = packing.items[i]!;
        this.#places.set(storage, { buffer, offset: offset / deviceBytes(storage.type) });
        const packed = new ArrayBuffer(storedBytes(storage.type, tensor.dims));
        writeWeight(weight, packed, 0);
        device.upload(buffers[buffer]!.address + offset, new Uint8Array(packed));
        onProgress(i + 1, weights.length);
      });
    } catch (error) {
      this.destroy();
      throw error;
    }
  }

  /** The stretch that holds `storage`, and where in it, in elements. */
  place(storage: Storage): { readonly buffer: number; readonly offset: number } {
    return this.#places.get(storage)!;
  }

  /** Where the stretch of a weight lies; 0 of anything else. */
  addressOf(storage: Storage): number {
    const place = this.#places.get(storage);
    return place ? this.buffers[place.buffer]!.address : 0;
  }

  destroy(): void {
    for (const { address } of this.buffers) this.#device.free(address);
  }
}
