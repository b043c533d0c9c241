import type { TensorData } from '../../graph/dtype.js';
import { ERROR_HEADER_BYTES, ERROR_RECORD_BYTES, LAST_EPOCH } from '../common/wave-data.js';
import type { NativeDevice, Pinned } from './addon.js';
import type { Awake } from './awake.js';
import { CommandList } from './commands.js';

/** Pinned memory that grows; what it held is lost then. */
class PinnedMemory {
  readonly #device: NativeDevice;
  #pinned: Pinned | undefined;

  constructor(device: NativeDevice) {
    this.#device = device;
  }

  get bytes(): number {
    return this.#pinned?.buffer.byteLength ?? 0;
  }

  /** At least `bytes`, a power of two, so that it grows seldom: pinning takes a millisecond. */
  atLeast(bytes: number): Pinned {
    if (this.#pinned && this.#pinned.buffer.byteLength >= bytes) return this.#pinned;
    this.#pinned = this.#free();
    this.#pinned = this.#device.pin(pinnedBytes(bytes));
    return this.#pinned;
  }

  #free(): undefined {
    if (this.#pinned) this.#device.unpin(this.#pinned.address, this.#pinned.buffer);
  }
}

/** What memory for `bytes` takes once it is pinned. */
export function pinnedBytes(bytes: number): number {
  return 2 ** Math.max(16, Math.ceil(Math.log2(bytes)));
}

/** A stream, with what a wave needs beside its region of device memory. It carries one wave at a time. */
export class CudaLane {
  readonly index: number;
  readonly commands = new CommandList();
  readonly staging: PinnedMemory;
  readonly readback: PinnedMemory;
  readonly #device: NativeDevice;
  readonly #awake: Awake;
  #errors = { address: 0, bytes: 0 };
  #epoch = 0;
  #ended: { readonly point: number; settle(reason: string, fault: number): void } | undefined;

  constructor(device: NativeDevice, index: number, awake: Awake) {
    this.#device = device;
    this.#awake = awake;
    this.index = index;
    this.staging = new PinnedMemory(device);
    this.readback = new PinnedMemory(device);
  }

  get pinnedBytes(): number {
    return this.staging.bytes + this.readback.bytes;
  }

  /**
   * Room for so many error records, and a number for the next wave. Records count by the wave's number alone, so that they
   * are cleared when there are more of them, and when numbers begin again.
   */
  enterErrors(records: number): { readonly address: number; readonly bytes: number; readonly epoch: number } {
    const bytes = ERROR_HEADER_BYTES + Math.max(1, records) * ERROR_RECORD_BYTES;
    if (bytes > this.#errors.bytes || this.#epoch >= LAST_EPOCH) {
      const grown = Math.max(this.#errors.bytes, 2 ** Math.ceil(Math.log2(bytes)));
      if (grown > this.#errors.bytes) {
        if (this.#errors.bytes > 0) this.#device.free(this.#errors.address);
        this.#errors = { address: 0, bytes: 0 };
        this.#errors = { address: this.#device.alloc(grown), bytes: grown };
      }
      this.#device.clear(this.#errors.address, grown);
      this.#epoch = 0;
    }
    return { ...this.#errors, epoch: ++this.#epoch };
  }

  get errorBytes(): number {
    return this.#errors.bytes;
  }

  /**
   * Sends the commands off; `ended` resolves once they are over, with the source that could not be read (-1: all could).
   * It rejects with what CUDA says is wrong.
   */
  submit(
    kernelArguments: Uint32Array,
    sources: readonly TensorData[],
  ): { readonly point: number; readonly ended: Promise<number> } {
    const { numbers, count } = this.commands;
    const point = this.#device.submit(this.index, numbers, count, kernelArguments, sources);
    this.#awake.submitted();
    const ended = new Promise<number>((resolve, reject) => {
      this.#ended = { point, settle: (reason, fault) => (reason === '' ? resolve(fault) : reject(new Error(reason))) };
    });
    return { point, ended };
  }

  /** Called by the device's thread through the event loop. */
  reached(point: number, reason: string, fault: number): void {
    const waiting = this.#ended;
    if (!waiting || waiting.point !== point) return;
    this.#ended = undefined;
    this.#awake.ended();
    waiting.settle(reason, fault);
  }
}
