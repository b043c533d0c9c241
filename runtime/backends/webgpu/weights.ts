import type { Weight } from '../../compile/lower.js';
import { storedBytes } from '../../compile/packed.js';
import { deviceBytes, type Storage } from '../../compile/view.js';
import { packBuffers } from '../../memory/pack.js';
import { BraidError } from '../../errors.js';
import { writeWeight } from '../common/transfer.js';

/** A plan's constants on the device, packed in few large buffers. */
export class WeightBuffers {
  readonly buffers: readonly GPUBuffer[];
  readonly bytes: number;
  readonly #places = new Map<Storage, { buffer: number; offset: number }>();

  constructor(device: GPUDevice, weights: readonly Weight[], onProgress: (done: number, total: number) => void) {
    const limit = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize);
    const sizes = weights.map(({ storage, tensor }) => storedBytes(storage.type, tensor.dims));
    const tooLarge = sizes.findIndex((bytes) => bytes > limit);
    if (tooLarge >= 0) {
      const { name } = weights[tooLarge]!.storage;
      throw new BraidError(
        'MODEL_UNSUPPORTED',
        `weight '${name}' takes ${sizes[tooLarge]} bytes, a binding of this device ${limit}; only tables that are looked up along their first axis can be cut`,
      );
    }
    const packing = packBuffers(sizes, limit);
    this.bytes = packing.bufferBytes.reduce((a, b) => a + b, 0);
    this.buffers = packing.bufferBytes.map((size, i) =>
      device.createBuffer({ label: `weights ${i}`, size, usage: GPUBufferUsage.STORAGE, mappedAtCreation: true }),
    );
    const mapped = this.buffers.map((b) => b.getMappedRange());
    weights.forEach((weight, i) => {
      const { buffer, offset } = packing.items[i]!;
      this.#places.set(weight.storage, { buffer, offset });
      writeWeight(weight, mapped[buffer]!, offset);
      onProgress(i + 1, weights.length);
    });
    for (const buffer of this.buffers) buffer.unmap();
  }

  /** The buffer that holds `storage`, and where in it, in elements. */
  place(storage: Storage): { readonly buffer: number; readonly offset: number } {
    const { buffer, offset } = this.#places.get(storage)!;
    return { buffer, offset: offset / deviceBytes(storage.type) };
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy();
  }
}
