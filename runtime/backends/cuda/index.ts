import type { DeviceCaps } from '../../compile/kernel.js';
import type { Plan } from '../../compile/plan.js';
import { BraidError } from '../../errors.js';
import type { Backend, DeviceMemoryReport, Executable } from '../backend.js';
import { submitApart } from '../common/parts.js';
import type { CudaLimits, FoundCuda } from './addon.js';
import { CudaContext } from './context.js';
import { CubinCache } from './cubins.js';
import { CudaExecutable, MOST_STRETCH_BYTES } from './executable.js';

export { findCuda, loadAddon, type CudaDeviceEntry, type CudaProbe, type FoundCuda } from './addon.js';

export interface CudaOptions {
  /** Device memory for what lives within waves; weights are apart. Default: 8 GiB, at most half of what is free. */
  readonly budgetBytes?: number;
  /** Pinned host memory of waves in flight. Default 2 GiB. */
  readonly stagingBudgetBytes?: number;
  /** Most bytes of a wave; it carries as many rows as fit. Default 1 GiB, at most a quarter of the budget. */
  readonly waveBytes?: number;
  /** Streams, 1 to 16. Default 8. */
  readonly lanes?: number;
  /** Folder for compiled kernels. Default: none are kept. */
  readonly cacheFolder?: string;
  /** Largest table part, for tests of cut tables. Default 4 GiB. */
  readonly maxBindingBytes?: number;
}

const DEFAULT_LANES = 8;
const MOST_LANES = 16;

/**
 * The backend on an NVIDIA GPU through the CUDA addon: a lane is a stream, and waves on different lanes run side by side. Where
 * a kernel fails, the queries in flight fail with DEVICE_LOST, and the next one opens a new context with the weights uploaded
 * again; CUDA may refuse that for as long as the process lives, and the query fails with DEVICE_UNAVAILABLE.
 */
export class CudaBackend implements Backend {
  readonly caps: DeviceCaps;
  readonly maxBindingBytes: number;
  readonly wavesInFlight: number;
  readonly concurrentWaves = true;
  readonly joinsPlans = false;
  readonly submit = submitApart;
  readonly limits: CudaLimits;
  readonly #open: () => CudaContext;
  readonly #waveBytes: number;
  readonly #stagingBudgetBytes: number;
  readonly #executables = new Set<CudaExecutable>();
  readonly #adopted = new Set<SharedArrayBuffer>();
  #context: CudaContext;
  #closed = false;

  constructor(found: FoundCuda, options: CudaOptions = {}) {
    const lanes = options.lanes ?? DEFAULT_LANES;
    if (!Number.isInteger(lanes) || lanes < 1 || lanes > MOST_LANES)
      throw new BraidError('REQUEST_INVALID', `lanes: found ${lanes}, expected 1 to ${MOST_LANES}`);
    const cubins = new CubinCache(options.cacheFolder);
    const budgetOf = (freeBytes: number): number => options.budgetBytes ?? Math.min(2 ** 33, Math.floor(freeBytes / 2));
    this.#open = () => new CudaContext(found, cubins, lanes, budgetOf);
    this.#context = this.#open();
    this.limits = this.#context.device.limits();
    this.wavesInFlight = lanes;
    this.caps = {
      software: false,
      maxWorkgroupInvocations: this.limits.threadsPerBlock,
      maxWorkgroupBytes: this.limits.sharedBytes,
      maxWorkgroupsPerDimension: 65_535,
      features: new Set(['timestamp-query']),
      multipliesHalves: false,
      tf32: {
        workgroupBytes: this.limits.sharedBytesOptIn,
        byGroups: 10 * this.limits.major + this.limits.minor === 90,
      },
    };
    this.maxBindingBytes = Math.min(MOST_STRETCH_BYTES, options.maxBindingBytes ?? MOST_STRETCH_BYTES);
    this.#waveBytes = Math.min(options.waveBytes ?? 2 ** 30, Math.floor(this.#context.budgetBytes / 4));
    this.#stagingBudgetBytes = options.stagingBudgetBytes ?? 2 ** 31;
  }

  /** The context, a new one after a failure. @throws BraidError DEVICE_UNAVAILABLE where there is none to be had. */
  #current(): CudaContext {
    if (this.#context.failure !== undefined && !this.#closed) {
      this.#context.close();
      this.#context = this.#open();
      for (const memory of this.#adopted) this.#context.adopted.adopt(memory);
    }
    return this.#context;
  }

  adopt(memory: SharedArrayBuffer): void {
    if (this.#closed) return;
    this.#adopted.add(memory);
    if (this.#context.failure === undefined) this.#context.adopted.adopt(memory);
  }

  disown(memory: SharedArrayBuffer): void {
    this.#adopted.delete(memory);
    if (!this.#closed && this.#context.failure === undefined) this.#context.adopted.disown(memory);
  }

  get waveBytes(): number {
    return Math.max(0, ...[...this.#executables].map((e) => e.pinnedBytes));
  }

  get memory(): DeviceMemoryReport {
    const { budgetBytes, usedBytes, pinnedBytes } = this.#context;
    return {
      budgetBytes,
      usedBytes,
      stagingBudgetBytes: this.#stagingBudgetBytes,
      stagingBytes: pinnedBytes,
      weightBytes: [...this.#executables].reduce((n, e) => n + e.memory.weightBytes, 0),
    };
  }

  async prepare(
    plan: Plan,
    onProgress: (stage: 'upload' | 'pipelines', done: number, total: number) => void = () => {},
  ): Promise<Executable> {
    try {
      const host = { caps: this.caps, waveBytes: this.#waveBytes, context: () => this.#current() };
      const executable = await CudaExecutable.create(host, plan, onProgress);
      this.#executables.add(executable);
      executable.onRelease = () => this.#executables.delete(executable);
      return executable;
    } catch (error) {
      if (error instanceof Error && error.message.includes('CUDA_ERROR_OUT_OF_MEMORY'))
        throw new BraidError('OVERLOADED', `model '${plan.name}' does not fit the device's memory: ${error.message}`, {
          cause: error,
        });
      throw error;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.close();
  }
}
