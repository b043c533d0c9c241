import { BraidError } from '../../errors.js';
import { TensorManager, type Lease } from '../../memory/tensors.js';
import type { FoundCuda, NativeDevice } from './addon.js';
import { AdoptedMemory } from './adopted.js';
import { Awake } from './awake.js';
import type { CubinCache } from './cubins.js';
import { KernelCache } from './kernels.js';
import { CudaLane } from './lanes.js';

/**
 * A CUDA context and all that lives in it: streams, kernels, the memory of waves. An error of a kernel is the end of it: what
 * is in flight fails, and the backend makes another.
 */
export class CudaContext {
  readonly device: NativeDevice;
  readonly kernels: KernelCache;
  readonly adopted: AdoptedMemory;
  readonly lanes: readonly CudaLane[];
  readonly budgetBytes: number;
  readonly #regions: TensorManager;
  readonly #regionsAddress: number;
  readonly #idle: CudaLane[];
  readonly #waiting: ((lane: CudaLane) => void)[] = [];
  #failure: string | undefined;

  /**
   * @param budgetOf device memory for what lives within waves, of what is free.
   * @throws BraidError DEVICE_UNAVAILABLE with what CUDA says.
   */
  constructor(found: FoundCuda, cubins: CubinCache, lanes: number, budgetOf: (freeBytes: number) => number) {
    let device: NativeDevice | undefined;
    try {
      device = new found.addon.Device(0, lanes, (...ended) => this.#reached(...ended));
      this.device = device;
      this.budgetBytes = budgetOf(device.limits().freeBytes);
      this.#regionsAddress = device.alloc(this.budgetBytes);
    } catch (cause) {
      device?.close();
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BraidError('DEVICE_UNAVAILABLE', `the CUDA device does not open: ${reason}`, { cause });
    }
    this.#regions = new TensorManager(this.budgetBytes);
    this.adopted = new AdoptedMemory(this.device);
    this.kernels = new KernelCache(found, this.device, cubins);
    const awake = new Awake();
    this.lanes = Array.from({ length: lanes }, (_, i) => new CudaLane(this.device, i, awake));
    this.#idle = [...this.lanes];
  }

  /** What went wrong, once something did: nothing that it computes from then on can be trusted. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** A call failed in a way that may have harmed the device. */
  failed(reason: string): void {
    this.#failure ??= reason;
  }

  get usedBytes(): number {
    return this.#regions.memory.peakBytes + this.lanes.reduce((n, l) => n + l.errorBytes, 0);
  }

  get pinnedBytes(): number {
    return this.lanes.reduce((n, l) => n + l.pinnedBytes, 0);
  }

  /** Resolves when one is free. The lane used last comes first: its memory is large enough, and others' may never be needed. */
  acquireLane(): Promise<CudaLane> {
    const lane = this.#idle.pop();
    return lane ? Promise.resolve(lane) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  releaseLane(lane: CudaLane): void {
    const next = this.#waiting.shift();
    if (next) next(lane);
    else this.#idle.push(lane);
  }

  /**
   * A region for a wave. Regions go back when their wave is submitted, so that one that is not free is about to be.
   * @throws BraidError OVERLOADED where it is larger than all there is.
   */
  async lease(bytes: number, lane: CudaLane): Promise<Lease> {
    for (;;) {
      const lease = this.#regions.lease(bytes, lane.index);
      if (lease) return lease;
      if (this.#regions.leases === 0)
        throw new BraidError(
          'OVERLOADED',
          `a wave needs ${bytes} bytes of device memory; the budget is ${this.budgetBytes} bytes`,
        );
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Gives a region back as of a point of the lane; another lane that gets it waits for that on the device. */
  release(lease: Lease, lane: CudaLane, point: number): void {
    this.#regions.release(lease, [{ lane: lane.index, point }]);
  }

  addressOf(lease: Lease): number {
    return this.#regionsAddress + lease.offset;
  }

  #reached(lane: number, point: number, reason: string, fault: number): void {
    if (reason === '') this.#regions.passed({ lane, point });
    else this.failed(reason);
    this.lanes[lane]!.reached(point, reason, fault);
  }

  close(): void {
    this.device.close();
  }
}
