import type { TensorData } from '../../graph/dtype.js';
import type { NativeDevice } from './addon.js';

/** Less is copied sooner than the device is told of it. */
const LEAST_BYTES = 2 ** 16;

/** Host memory of callers that the device of a context reads by itself. */
export class AdoptedMemory {
  readonly #device: NativeDevice;
  readonly #ranges = new Map<ArrayBufferLike, ReturnType<NativeDevice['adopt']>>();

  constructor(device: NativeDevice) {
    this.#device = device;
  }

  adopt(memory: SharedArrayBuffer): void {
    if (memory.byteLength < LEAST_BYTES || this.#ranges.has(memory)) return;
    try {
      this.#ranges.set(memory, this.#device.adopt(new Uint8Array(memory)));
    } catch {
      // Such as memory that may not be locked: what lies in it is copied.
    }
  }

  disown(memory: SharedArrayBuffer): void {
    const range = this.#ranges.get(memory);
    if (!range) return;
    this.#ranges.delete(memory);
    this.#device.disown(range.address);
  }

  /** Where the device reads these bytes; undefined where they have to be copied. */
  addressOf(data: TensorData): number | undefined {
    const range = this.#ranges.get(data.buffer);
    if (!range) return undefined;
    const from = data.byteOffset - range.offset;
    return from >= 0 && from + data.byteLength <= range.bytes ? range.address + from : undefined;
  }
}
