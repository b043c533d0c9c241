/** Operations of a command list, with how many numbers follow each; native/src/device.h has the same. */
export const OPERATIONS = {
  launch: 1,
  upload: 2,
  download: 3,
  wait: 4,
  clock: 5,
  copy: 6,
  fill: 7,
  product: 8,
} as const;

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

/** A product by cuBLASLt. */
export interface ProductCall {
  readonly product: number;
  readonly m: number;
  /** Rows that its algorithm is for. */
  readonly chosenFor: number;
  /** The argument of the kernel in whose place it is, in bytes. */
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

  product({ product, m, chosenFor, offset, bytes }: ProductCall): void {
    this.#add(OPERATIONS.product, product, m, chosenFor, offset, bytes);
  }

  /** From pinned host memory to the device. */
  upload(device: number, host: number, bytes: number): void {
    this.#add(OPERATIONS.upload, device, host, bytes);
  }

  download(host: number, device: number, bytes: number): void {
    this.#add(OPERATIONS.download, host, device, bytes);
  }

  /** Waits on the device for everything that `lane` has been given up to `point`. */
  wait(lane: number, point: number): void {
    this.#add(OPERATIONS.wait, lane, point);
  }

  /** Copies a source of the submission to pinned host memory. */
  copy(host: number, source: number, bytes: number): void {
    this.#add(OPERATIONS.copy, host, source, bytes);
  }

  /** Writes `count` words of one value to pinned host memory. */
  fill(host: number, word: number, count: number): void {
    this.#add(OPERATIONS.fill, host, word, count);
  }

  /** Records moment `index` of the lane's clock. */
  clock(index: number): void {
    this.#add(OPERATIONS.clock, index);
  }

  /** Commands of another list. */
  append({ numbers, count }: CommandList): void {
    this.#reserve(count);
    this.#numbers.set(numbers.subarray(0, count), this.#count);
    this.#count += count;
  }

  #reserve(more: number): void {
    if (this.#count + more <= this.#numbers.length) return;
    const grown = new Float64Array(2 * Math.max(this.#numbers.length, more));
    grown.set(this.#numbers);
    this.#numbers = grown;
  }

  #add(...numbers: readonly number[]): void {
    this.#reserve(numbers.length);
    for (const n of numbers) this.#numbers[this.#count++] = n;
  }
}
