import { BraidError } from '../../runtime/errors.js';
import type { ProductShape } from '../../runtime/compile/kernel.js';
import { productTiles } from './candidates.js';
import { Product } from './product.js';
import type { TunedProduct } from './table.js';

/** Microseconds that a submission is to take, and most dispatches of one. */
const [SUBMISSION_US, MOST_DISPATCHES] = [1000, 100];
/** Submissions in a row of a tile, and times that all tiles have their turn: a clock that drifts does so for all. */
const [ROUNDS, TURNS] = [2, 2];
/** An idle GPU clocks down: time of work before the first measurement, and before each further product. */
const [FIRST_WARM_MS, WARM_MS] = [1000, 30];
/** Share of the products' sizes that a result may be off by; float32 sums of thousands stay well below. */
const MOST_DEVIATION = 1e-5;

/** Measures tiles on a device. */
export class TileTuner {
  readonly #device: GPUDevice;
  #isWarm = false;

  /** @throws BraidError DEVICE_UNAVAILABLE where the device has no clock. */
  constructor(device: GPUDevice) {
    if (!device.features.has('timestamp-query'))
      throw new BraidError('DEVICE_UNAVAILABLE', 'tuning needs an adapter with timestamp queries; this one has none');
    this.#device = device;
  }

  /** The fastest tile of a product for each of `rows`; rows whose operands no binding can hold are left out. */
  async tune(shape: ProductShape, rows: readonly number[]): Promise<TunedProduct> {
    const measured: TunedProduct['measured'][number][] = [];
    for (const m of rows) {
      const bytes = 4 * m * Math.max(shape.n, shape.k + 4);
      if (bytes > this.#device.limits.maxStorageBufferBindingSize) continue;
      const fastest = await this.#fastest(shape, m);
      if (fastest) measured.push({ m, ...fastest });
    }
    return { ...shape, measured };
  }

  async #fastest(shape: ProductShape, m: number): Promise<Omit<TunedProduct['measured'][number], 'm'> | undefined> {
    const { n, k, a, b, vectors, halves } = shape;
    const pitch = a === 'along' ? Math.ceil(k / 4) * 4 : k;
    const product = new Product(this.#device, { label: '', m, n, k, pitch, transposed: b !== 'across' });
    try {
      const tiles = productTiles(shape, this.#device.limits);
      const runs = await Promise.all(tiles.map((tile) => product.prepare(tile, halves, vectors)));
      const [first] = runs;
      if (!first) return undefined;
      const once = 1000 * (await first(1, ROUNDS)).ms;
      const repeat = Math.min(MOST_DISPATCHES, Math.max(1, Math.ceil(SUBMISSION_US / once)));
      const until = performance.now() + (this.#isWarm ? WARM_MS : FIRST_WARM_MS);
      do await first(repeat, ROUNDS);
      while (performance.now() < until);
      this.#isWarm = true;
      const times = runs.map(() => Number.POSITIVE_INFINITY);
      for (let turn = 0; turn < TURNS; turn++) {
        for (const [i, run] of runs.entries()) {
          const { ms, deviation } = await run(repeat, ROUNDS);
          // A kernel that a driver compiles wrongly is no candidate.
          if (deviation <= MOST_DEVIATION) times[i] = Math.min(times[i]!, 1000 * ms);
        }
      }
      const us = Math.min(...times);
      return Number.isFinite(us) ? { tile: tiles[times.indexOf(us)]!, us: Number(us.toPrecision(4)) } : undefined;
    } finally {
      product.destroy();
    }
  }
}
