import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import type { DeviceInfo } from '../api.js';
import { parseTiles, TILE_FORMAT, TileTable, type TileLimits, type TunedProduct } from './table.js';

type Environment = Readonly<Record<string, string | undefined>>;

function fileName({ adapter }: Pick<DeviceInfo, 'adapter'>): string {
  return `${adapter.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.json`;
}

/** Where tiles that were measured here are kept: a file an adapter, in the user's cache folder as XDG has it. */
export function cachedTilesPath(device: Pick<DeviceInfo, 'adapter'>, env: Environment = process.env): string {
  const { XDG_CACHE_HOME: set } = env;
  // The specification has relative paths ignored.
  const cache = set && isAbsolute(set) ? set : join(env['HOME'] ?? homedir(), '.cache');
  return join(cache, 'braid', 'tiles', fileName(device));
}

/** Where tiles that come with the package are. */
function shippedTilesPath(device: Pick<DeviceInfo, 'adapter'>): string {
  return join(dirname(createRequire(import.meta.url).resolve('braid/package.json')), 'tiles', fileName(device));
}

async function read(path: string, limits: TileLimits): Promise<readonly TunedProduct[]> {
  try {
    return parseTiles(await readFile(path, 'utf8'), limits);
  } catch {
    // None was made, or it is not for us to read: the heuristic serves.
    return [];
  }
}

/** Tiles for an adapter, those measured here before those that come with the package; undefined where there are none. */
export async function readTiles(
  device: Pick<DeviceInfo, 'adapter' | 'software'>,
  limits: TileLimits,
  env: Environment = process.env,
): Promise<TileTable | undefined> {
  // A software adapter has kernels that no tile is chosen for.
  if (device.software) return undefined;
  const products = [
    ...(await read(shippedTilesPath(device), limits)),
    ...(await read(cachedTilesPath(device, env), limits)),
  ];
  return products.length > 0 ? new TileTable(products) : undefined;
}

/** Adds products to a table's file, or makes it. A reader finds the file before or after, never a part. */
export async function writeTiles(
  path: string,
  device: Pick<DeviceInfo, 'adapter' | 'driver'>,
  products: readonly TunedProduct[],
  limits: TileLimits,
): Promise<void> {
  const all = new TileTable([...(await read(path, limits)), ...products]).products;
  const head = { format: TILE_FORMAT, device: device.adapter, driver: device.driver, date: new Date().toISOString() };
  // A line a product: what changed shows.
  const lines = all.map((product) => `    ${JSON.stringify(product)}`).join(',\n');
  const text = `${JSON.stringify(head, undefined, 2).slice(0, -2)},\n  "products": [\n${lines}\n  ]\n}\n`;
  await mkdir(dirname(path), { recursive: true });
  const written = `${path}.${process.pid}`;
  await writeFile(written, text);
  await rename(written, path);
}
