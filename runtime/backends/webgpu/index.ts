import type { DeviceCaps, MeasuredTiles } from '../../compile/kernel.js';
import type { Plan } from '../../compile/plan.js';
import { BraidError } from '../../errors.js';
import type { Backend, DeviceMemoryReport, Executable, Part, PartOutcome } from '../backend.js';
import { isSoftwareAdapter, multipliesHalves } from './adapter.js';
import { DeviceClock } from './clock.js';
import { WebGpuExecutable, type WebGpuContext, type WebGpuPart } from './executable.js';
import { LAST_EPOCH } from '../common/wave-data.js';
import type { SideBySide } from './joins.js';
import { SharedMemory, Slot } from './memory.js';
import { PipelineCache } from './pipelines.js';
import { Submitter } from './submission.js';

export interface WebGpuOptions {
  /** Device memory for what lives within waves; weights are apart. Default 8 GiB on a GPU, 2 GiB on a software adapter. */
  readonly budgetBytes?: number;
  /** Host-visible memory for staging and read-back of waves in flight. Default 2 GiB on a GPU, 512 MiB on a software adapter. */
  readonly stagingBudgetBytes?: number;
  /** Largest arena that a plan is laid out for; a wave carries as many rows as fit. Default 1 GiB on a GPU, 256 MiB on a software adapter. */
  readonly arenaBytes?: number;
  /** Whether to choose kernels as for a software adapter. Default: whether the adapter is one. */
  readonly software?: boolean;
  /**
   * Which kernels of different operators share a dispatch where they are ready together. Default `memory` on a GPU, `none` on a
   * software adapter, which compiles slowly and where nothing runs side by side.
   */
  readonly sideBySide?: SideBySide;
  /** Tiles of matrix products that were measured on this device; others are chosen by a rule. */
  readonly tiles?: MeasuredTiles;
  /** The information of the adapter that the device is of, which may tell more than the device's. */
  readonly adapterInfo?: GPUAdapterInfo;
  /** Told at which moment of performance.now() results are expected: for whoever paces how often Dawn asks the device for them. */
  readonly expect?: (at: number) => void;
  /** Largest binding to use, for tests of cut tables. Default: the device's. */
  readonly maxBindingBytes?: number;
}

/** Waves that may be staged, running or read back at once; what a policy uses of them is its own choice. */
const WAVES_IN_FLIGHT = 8;

/** The backend on a WebGPU device. The device is destroyed by close(). */
export class WebGpuBackend implements Backend {
  readonly caps: DeviceCaps;
  readonly maxBindingBytes: number;
  readonly wavesInFlight = WAVES_IN_FLIGHT;
  /** One queue, and dispatches that touch the same buffers wait for each other. */
  readonly concurrentWaves = false;
  readonly #device: GPUDevice;
  readonly #memory: SharedMemory;
  readonly #slots: readonly Slot[];
  readonly #stagingBudgetBytes: number;
  readonly #clock: DeviceClock | undefined;
  readonly #context: WebGpuContext;
  readonly #submitter: Submitter;
  readonly #executables = new Set<WebGpuExecutable>();
  #epoch = 0;
  #preparing: Promise<unknown> = Promise.resolve();
  #failure: string | undefined;

  constructor(device: GPUDevice, options: WebGpuOptions = {}) {
    const { limits } = device;
    this.#device = device;
    this.caps = {
      software: options.software ?? isSoftwareAdapter(device.adapterInfo),
      maxWorkgroupInvocations: limits.maxComputeInvocationsPerWorkgroup,
      maxWorkgroupBytes: limits.maxComputeWorkgroupStorageSize,
      maxWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
      features: new Set(device.features),
      multipliesHalves: multipliesHalves(device, options.adapterInfo ?? device.adapterInfo),
    };
    const deviceBinding = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
    this.maxBindingBytes = Math.min(deviceBinding, options.maxBindingBytes ?? deviceBinding);
    this.#memory = new SharedMemory(device, options.budgetBytes ?? (this.caps.software ? 2 ** 31 : 2 ** 33));
    this.#clock = device.features.has('timestamp-query') ? new DeviceClock(device) : undefined;
    this.#stagingBudgetBytes = options.stagingBudgetBytes ?? (this.caps.software ? 2 ** 29 : 2 ** 31);
    this.#slots = Array.from({ length: WAVES_IN_FLIGHT }, () => new Slot(device));
    const idle = [...this.#slots];
    const waiting: ((slot: Slot) => void)[] = [];
    this.#context = {
      device,
      caps: this.caps,
      pipelines: new PipelineCache(device),
      sideBySide: options.sideBySide ?? (this.caps.software ? 'none' : 'memory'),
      tiles: options.tiles,
      memory: this.#memory,
      slots: this.#slots,
      arenaBytes: Math.min(options.arenaBytes ?? (this.caps.software ? 2 ** 28 : 2 ** 30), deviceBinding),
      nextEpoch: () => this.#nextEpoch(),
      clock: this.#clock,
      submit: (parts, onSubmitted) => this.#submitter.submit(parts, onSubmitted),
    };
    this.#submitter = new Submitter({
      device,
      clock: this.#clock,
      checkDevice: () => this.#checkDevice(),
      capacity: () => this.#slots[0]!.capacity,
      generation: () => this.#memory.generation,
      expect: options.expect ?? (() => {}),
      // The slot used last first: its memory is large enough, and others' may never be needed.
      acquireSlot: () => {
        const slot = idle.pop();
        return slot ? Promise.resolve(slot) : new Promise((resolve) => waiting.push(resolve));
      },
      releaseSlot: (slot) => {
        slot.rest();
        const next = waiting.shift();
        if (next) next(slot);
        else idle.push(slot);
      },
    });
    void device.lost.then((info) => (this.#failure = `the device was lost: ${info.message || info.reason}`));
    // A command that fails validation leaves results unwritten without failing anything that is awaited.
    device.onuncapturederror = (event) => (this.#failure = event.error.message);
  }

  /** On a software adapter a submission costs little beside what it computes, and answers that are ready should go. */
  get joinsPlans(): boolean {
    return !this.caps.software;
  }

  submit(parts: readonly Part[], onSubmitted?: (at: number) => void): Promise<readonly PartOutcome[]> {
    return this.#submitter.submit(parts as readonly WebGpuPart[], onSubmitted);
  }

  get waveBytes(): number {
    return Math.max(...this.#slots.map((s) => s.wantedBytes));
  }

  get memory(): DeviceMemoryReport {
    const stagingBytes = this.#slots.reduce((n, s) => n + s.bytes, 0);
    return {
      budgetBytes: this.#memory.budgetBytes,
      usedBytes: this.#memory.bytes,
      stagingBudgetBytes: this.#stagingBudgetBytes,
      stagingBytes,
      weightBytes: [...this.#executables].reduce((n, e) => n + e.memory.weightBytes, 0),
    };
  }

  /** @throws BraidError DEVICE_LOST once the device failed: nothing it computes from then on can be trusted. */
  #checkDevice(): void {
    if (this.#failure !== undefined) throw new BraidError('DEVICE_LOST', `the device failed: ${this.#failure}`);
  }

  #nextEpoch(): number {
    if (this.#epoch >= LAST_EPOCH) {
      const encoder = this.#device.createCommandEncoder();
      encoder.clearBuffer(this.#memory.errors, 16);
      this.#device.queue.submit([encoder.finish()]);
      this.#epoch = 0;
    }
    return ++this.#epoch;
  }

  prepare(
    plan: Plan,
    onProgress: (stage: 'upload' | 'pipelines', done: number, total: number) => void = () => {},
  ): Promise<Executable> {
    // One at a time: error scopes are the device's, and an out-of-memory error has to find the model that caused it.
    const prepared = this.#preparing.then(() => this.#prepare(plan, onProgress));
    this.#preparing = prepared.catch(() => {});
    return prepared;
  }

  async #prepare(
    plan: Plan,
    onProgress: (stage: 'upload' | 'pipelines', done: number, total: number) => void,
  ): Promise<Executable> {
    this.#checkDevice();
    this.#device.pushErrorScope('out-of-memory');
    let executable: WebGpuExecutable;
    let outOfMemory: GPUError | null;
    try {
      executable = await WebGpuExecutable.create(this.#context, plan, onProgress);
      this.#executables.add(executable);
      executable.onRelease = () => {
        this.#executables.delete(executable);
        this.#submitter.forget(executable);
      };
    } finally {
      outOfMemory = await this.#device.popErrorScope();
    }
    if (outOfMemory) {
      executable.release();
      throw new BraidError(
        'OVERLOADED',
        `model '${plan.name}' does not fit the device's memory: ${outOfMemory.message}`,
      );
    }
    return executable;
  }

  close(): void {
    this.#memory.destroy();
    for (const slot of this.#slots) slot.destroy();
    this.#clock?.destroy();
    this.#device.destroy();
  }
}
