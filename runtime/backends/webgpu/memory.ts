import { BraidError } from '../../errors.js';
import { ERROR_HEADER_WORDS, ERROR_RECORD_WORDS } from '../../../shaders/errors.js';

/** Sizes in bytes of what all plans of a device share. */
export interface SharedSizes {
  readonly arenas: readonly number[];
  readonly inputs: number;
  readonly errorRecords: number;
}

/**
 * The device memory that plans share: arenas for what lives within a wave, the inputs' buffer, the error records.
 * One queue runs waves in order, so that a wave may overwrite what the one before it left, with no wait on the host.
 * Grows when a plan that needs more is prepared; `generation` then changes and bindings have to be made anew.
 */
export class SharedMemory {
  readonly #device: GPUDevice;
  readonly budgetBytes: number;
  #arenas: GPUBuffer[] = [];
  #inputs: GPUBuffer | undefined;
  #errors: GPUBuffer | undefined;
  #generation = 0;

  constructor(device: GPUDevice, budgetBytes: number) {
    this.#device = device;
    this.budgetBytes = budgetBytes;
  }

  get generation(): number {
    return this.#generation;
  }

  get bytes(): number {
    return this.#arenas.reduce((n, b) => n + b.size, 0) + (this.#inputs?.size ?? 0) + (this.#errors?.size ?? 0);
  }

  get arenas(): readonly GPUBuffer[] {
    return this.#arenas;
  }

  get inputs(): GPUBuffer {
    return this.#inputs!;
  }

  get errors(): GPUBuffer {
    return this.#errors!;
  }

  /** @throws BraidError OVERLOADED where the sizes pass the budget or the device's limits. */
  ensure(sizes: SharedSizes): void {
    const limit = Math.min(this.#device.limits.maxBufferSize, this.#device.limits.maxStorageBufferBindingSize);
    const errorBytes = 4 * (ERROR_HEADER_WORDS + ERROR_RECORD_WORDS * Math.max(1, sizes.errorRecords));
    const wanted = [...sizes.arenas, sizes.inputs, errorBytes];
    const total = wanted.reduce((a, b) => a + b, 0);
    if (total > this.budgetBytes || wanted.some((w) => w > limit)) {
      throw new BraidError(
        'OVERLOADED',
        `a wave needs ${total} bytes of device memory; the budget is ${this.budgetBytes} bytes, the largest buffer ${limit} bytes`,
      );
    }
    sizes.arenas.forEach((bytes, i) => (this.#arenas[i] = this.#grown(this.#arenas[i], bytes, 'arena', 0)));
    this.#inputs = this.#grown(this.#inputs, sizes.inputs, 'inputs', GPUBufferUsage.COPY_DST);
    this.#errors = this.#grown(this.#errors, errorBytes, 'errors', GPUBufferUsage.COPY_DST);
  }

  #grown(buffer: GPUBuffer | undefined, bytes: number, label: string, usage: GPUBufferUsageFlags): GPUBuffer {
    if (buffer && buffer.size >= bytes) return buffer;
    // Waves in flight keep the old buffer alive: destroy() takes effect once the queue is done with it.
    buffer?.destroy();
    this.#generation++;
    return this.#device.createBuffer({
      label,
      size: Math.max(256, Math.ceil(bytes / 256) * 256),
      usage: usage | GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
    });
  }

  destroy(): void {
    for (const buffer of [...this.#arenas, this.#inputs, this.#errors]) buffer?.destroy();
  }
}

/** Host-visible buffers of one wave in flight: where its inputs are staged and its results read back. */
export class Slot {
  readonly #device: GPUDevice;
  #staging: GPUBuffer | undefined;
  #readback: GPUBuffer | undefined;
  /** Settles when the staging buffer may be written again. */
  #mapped: Promise<unknown> = Promise.resolve();
  #stagingBytes = 256;
  #readbackBytes = 256;
  #busy = false;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  get bytes(): number {
    return (this.#staging?.size ?? 0) + (this.#readback?.size ?? 0);
  }

  get staging(): GPUBuffer {
    return this.#staging!;
  }

  get readback(): GPUBuffer {
    return this.#readback!;
  }

  /**
   * Sizes that the next waves need; the buffers grow when the slot is next used, since how many slots are used at once
   * depends on the load.
   */
  reserve(stagingBytes: number, readbackBytes: number): void {
    const before = this.wantedBytes;
    this.#stagingBytes = Math.max(this.#stagingBytes, Math.ceil(stagingBytes / 256) * 256);
    this.#readbackBytes = Math.max(this.#readbackBytes, Math.ceil(readbackBytes / 256) * 256);
    // Too small for what comes: idle slots give their memory back at once, so that it never counts twice.
    if (this.wantedBytes > before && !this.#busy) this.destroy();
  }

  /** What the slot holds when it is next used. */
  get capacity(): { readonly staging: number; readonly readback: number } {
    return { staging: this.#stagingBytes, readback: this.#readbackBytes };
  }

  /** What the slot takes when it is next used. */
  get wantedBytes(): number {
    return this.#stagingBytes + this.#readbackBytes;
  }

  /** Called when the wave that used the slot is over. */
  rest(): void {
    this.#busy = false;
    if (this.bytes > 0 && (this.staging.size < this.#stagingBytes || this.readback.size < this.#readbackBytes))
      this.destroy();
  }

  #grow(): void {
    if (!this.#staging || this.#staging.size < this.#stagingBytes) {
      this.#staging?.destroy();
      this.#staging = this.#device.createBuffer({
        label: 'staging',
        size: this.#stagingBytes,
        usage: GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC,
        mappedAtCreation: true,
      });
      this.#mapped = Promise.resolve();
    }
    if (!this.#readback || this.#readback.size < this.#readbackBytes) {
      this.#readback?.destroy();
      this.#readback = this.#device.createBuffer({
        label: 'readback',
        size: this.#readbackBytes,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
    }
  }

  /**
   * The first `bytes` of the staging memory, once the device is done with what it last held. Not more than a wave needs:
   * V8 counts all that is mapped as garbage to come, and collects the heap for it.
   */
  async map(bytes: number): Promise<ArrayBuffer> {
    this.#busy = true;
    this.#grow();
    await this.#mapped;
    return this.#staging!.getMappedRange(0, bytes);
  }

  /** Asks for the staging memory back; resolves in map(). */
  remap(): void {
    this.#mapped = this.#staging!.mapAsync(GPUMapMode.WRITE);
    this.#mapped.catch(() => {});
  }

  destroy(): void {
    this.#staging?.destroy();
    this.#readback?.destroy();
    this.#staging = undefined;
    this.#readback = undefined;
  }
}
