import { compile, WebGpuBackend } from '../../runtime/index.js';
import type { KernelTarget, MeasuredTiles, ProductShape } from '../../runtime/compile/kernel.js';
import type { Plan } from '../../runtime/compile/plan.js';
import { evaluate, symbolsOf, type Dim } from '../../runtime/graph/dim.js';
import type { DeviceInfo, LoadSettings, ModelSource } from '../api.js';
import { openDevice, requireAdapter, type AdapterChoice } from '../device/index.js';
import { readSource } from '../source.js';
import { cachedTilesPath, writeTiles } from './files.js';
import { TileTuner } from './measure.js';
import { productKey, type TunedProduct } from './table.js';

export interface TuneOptions {
  readonly adapter: AdapterChoice;
  readonly settings: LoadSettings;
  /** Numbers of rows of a wave to measure. */
  readonly rows: readonly number[];
  /** The file to write; default: the adapter's in the user's cache folder. */
  readonly output?: string;
  onProduct?(product: TunedProduct, done: number, total: number): void;
}

export interface Tuned {
  readonly device: DeviceInfo;
  readonly path: string;
  readonly products: readonly TunedProduct[];
}

/** Stands where a table does, and notes what products are asked for. */
class ProductList implements MeasuredTiles {
  readonly shapes = new Map<string, { readonly shape: ProductShape; readonly rows: Dim[] }>();

  find(shape: ProductShape, rows: Dim): undefined {
    const key = productKey(shape);
    const known = this.shapes.get(key) ?? { shape, rows: [] };
    known.rows.push(rows);
    this.shapes.set(key, known);
  }
}

/** The products of a plan that a target has tiles for, each with its numbers of rows in waves of `rows`, ascending. */
export function productsOf(
  plan: Plan,
  target: Omit<KernelTarget, 'tiles'>,
  rows: readonly number[],
): { readonly shape: ProductShape; readonly rows: readonly number[] }[] {
  const list = new ProductList();
  for (const step of plan.program.steps) step.webgpu({ ...target, tiles: list });
  return [...list.shapes.values()].map(({ shape, rows: counts }) => {
    const sizes = counts.flatMap((count) =>
      rows.map((r) => evaluate(count, new Map([...symbolsOf(count)].map((symbol) => [symbol, r])))),
    );
    return { shape, rows: [...new Set(sizes)].filter((m) => m > 0).sort((a, b) => a - b) };
  });
}

/**
 * Measures which tiles suit the matrix products of a model on a device, and keeps the result for later loads.
 * @throws BraidError as loading the model does, and DEVICE_UNAVAILABLE.
 */
export async function tuneModel(source: ModelSource, options: TuneOptions): Promise<Tuned> {
  const { settings, rows, onProduct } = options;
  const graph = await readSource(source);
  const found = await requireAdapter(options.adapter);
  const path = options.output ?? cachedTilesPath(found.info);
  // Its kernels have no tiles.
  if (found.info.software) {
    found.release();
    return { device: found.info, path, products: [] };
  }
  const device = await openDevice(found.adapter);
  const backend = new WebGpuBackend(device, { adapterInfo: found.adapter.info });
  try {
    const { caps, maxBindingBytes } = backend;
    const plan = compile(graph, { ...settings, caps, maxBindingBytes });
    const list = productsOf(plan, { ...caps, products: plan.products }, rows);
    const tuner = new TileTuner(device);
    const products: TunedProduct[] = [];
    for (const [i, { shape, rows: sizes }] of list.entries()) {
      const product = await tuner.tune(shape, sizes);
      if (product.measured.length > 0) products.push(product);
      onProduct?.(product, i + 1, list.length);
    }
    if (products.length > 0) await writeTiles(path, found.info, products, device.limits);
    return { device: found.info, path, products };
  } finally {
    backend.close();
    found.release();
  }
}
