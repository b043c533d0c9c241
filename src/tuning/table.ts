import type { MeasuredTile, MeasuredTiles, ProductShape } from '../../runtime/compile/kernel.js';
import type { MatMulTile } from '../../shaders/matmul.js';
import { productTiles } from './candidates.js';

/** A product that was measured: the fastest tile for each number of rows, and the microseconds it took. */
export interface TunedProduct extends ProductShape {
  readonly measured: readonly (MeasuredTile & { readonly us: number })[];
}

/** What a table's file holds. */
export interface TileFile {
  readonly format: typeof TILE_FORMAT;
  readonly device: string;
  readonly driver: string;
  readonly date: string;
  readonly products: readonly TunedProduct[];
}

/** Of the files; another number is another way to write tiles. */
export const TILE_FORMAT = 1;

export type TileLimits = Parameters<typeof productTiles>[1];

/** What tells products apart. */
export function productKey({ n, k, a, b, vectors, halves }: ProductShape): string {
  return `${n}x${k} ${a} ${b}${vectors ? ' vectors' : ''}${halves ? ' halves' : ''}`;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The tile of the device's own candidates that equals `tile`. */
function knownTile(shape: ProductShape, tile: unknown, limits: TileLimits): MatMulTile | undefined {
  if (!isRecord(tile)) return undefined;
  return productTiles(shape, limits).find((known) => {
    const entries = Object.entries(known);
    return entries.length === Object.keys(tile).length && entries.every(([name, value]) => tile[name] === value);
  });
}

function productOf(value: unknown, limits: TileLimits): TunedProduct | undefined {
  if (!isRecord(value)) return undefined;
  const { n, k, a, b, vectors, halves, measured } = value;
  const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && (size as number) > 0;
  if (!isSize(n) || !isSize(k) || (a !== 'along' && a !== 'words')) return undefined;
  if ((b !== 'along' && b !== 'across' && b !== 'words') || !Array.isArray(measured)) return undefined;
  const shape: ProductShape = { n, k, a, b, vectors: vectors === true, halves: halves === true };
  const tiles = measured.flatMap((entry: unknown) => {
    const tile = isRecord(entry) ? knownTile(shape, entry['tile'], limits) : undefined;
    if (!isRecord(entry) || !tile || !isSize(entry['m']) || typeof entry['us'] !== 'number') return [];
    return [{ m: entry['m'], tile, us: entry['us'] }];
  });
  return tiles.length > 0 ? { ...shape, measured: tiles } : undefined;
}

/**
 * The products of a table's text. What is no such file gives none, and so do entries that this version or the device has no
 * kernel for: the heuristic then stays.
 */
export function parseTiles(text: string, limits: TileLimits): readonly TunedProduct[] {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return [];
  }
  if (!isRecord(file) || file['format'] !== TILE_FORMAT || !Array.isArray(file['products'])) return [];
  return file['products'].flatMap((product: unknown) => productOf(product, limits) ?? []);
}

/** Tables as kernels ask for them; of two entries for one product the later counts. */
export class TileTable implements MeasuredTiles {
  readonly #products = new Map<string, TunedProduct>();

  constructor(products: readonly TunedProduct[]) {
    for (const product of products) this.#products.set(productKey(product), product);
  }

  get products(): readonly TunedProduct[] {
    return [...this.#products.values()];
  }

  find(shape: ProductShape): readonly MeasuredTile[] | undefined {
    return this.#products.get(productKey(shape))?.measured;
  }
}
