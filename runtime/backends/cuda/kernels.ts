import type { WebGpuProgram } from '../../../shaders/program.js';
import { BraidError } from '../../errors.js';
import type { FoundCuda, NativeDevice } from './addon.js';
import type { CubinCache } from './cubins.js';
import { ENTRY_POINT, translate } from './translate.js';

/** A kernel on the device. */
export interface CudaKernel {
  readonly index: number;
  readonly threads: number;
  readonly sharedBytes: number;
}

/** Compiled kernels of a device: each program is compiled once for every number of parameter blocks, at load. */
export class KernelCache {
  readonly #found: FoundCuda;
  readonly #device: NativeDevice;
  readonly #cubins: CubinCache;
  readonly #kernels = new Map<string, Promise<CudaKernel>>();

  constructor(found: FoundCuda, device: NativeDevice, cubins: CubinCache) {
    this.#found = found;
    this.#device = device;
    this.#cubins = cubins;
  }

  get(program: WebGpuProgram, blocks: number): Promise<CudaKernel> {
    const key = `${program.key} x${blocks}`;
    const cached = this.#kernels.get(key);
    if (cached) return cached;
    const made = this.#make(program, blocks);
    this.#kernels.set(key, made);
    return made;
  }

  async #make(program: WebGpuProgram, blocks: number): Promise<CudaKernel> {
    try {
      const { source, threads, sharedBytes } = translate(program, blocks);
      const cubin = await this.#cubins.get(source, this.#found);
      return { index: this.#device.loadKernel(cubin, ENTRY_POINT, sharedBytes), threads, sharedBytes };
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BraidError('INTERNAL', `kernel ${program.key} does not compile for CUDA: ${reason}`, { cause });
    }
  }
}
