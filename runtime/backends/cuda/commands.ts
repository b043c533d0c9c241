/** Operations of a command list, with how many numbers follow each; native/src/device.h has the same. */
export const OPERATIONS = { launch: 1, upload: 2, download: 3, wait: 4, clock: 5 } as const;

export interface Launch {
  readonly kernel: number;
  readonly gridX: number;
  readonly gridZ: number;
  readonly threads: number;
  readonly sharedBytes: number;
  /** Where the kernel's argument lies among those of the submission, in bytes. */
  readonly offset: number;
  readonly bytes: number;
}

/** What a stream is to do, as numbers that cross to C++ in one call. */
export class CommandList {
  #numbers = new Float64Array(256);
  #count = 0;

  get numbers(): Float64Array {
    return this.#numbers;
  }

  get count(): number {
    return this.#count;
  }

  clear(): void {
    this.#count = 0;
  }

  launch({ kernel, gridX, gridZ, threads, sharedBytes, offset, bytes }: Launch): void {
    this.#add(OPERATIONS.launch, kernel, gridX, gridZ, threads, sharedBytes, offset, bytes);
  }

  /** From pinned host memory to the device. */
  upload(device: number, host: number, bytes: number): void {
    this.#add(OPERATIONS.upload, device, host, bytes);
  }

  download(host: number, device: number, bytes: number): void {
    this.#add(OPERATIONS.download, host, device, bytes);
  }

  /** Waits on the device for everything that `lane` has been given so far. */
  wait(lane: number): void {
    this.#add(OPERATIONS.wait, lane);
  }

  /** Records moment `index` of the lane's clock. */
  clock(index: number): void {
    this.#add(OPERATIONS.clock, index);
  }

  #add(...numbers: readonly number[]): void {
    if (this.#count + numbers.length > this.#numbers.length) {
      const grown = new Float64Array(2 * this.#numbers.length);
      grown.set(this.#numbers);
      this.#numbers = grown;
    }
    for (const n of numbers) this.#numbers[this.#count++] = n;
  }
}
