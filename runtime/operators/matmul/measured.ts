import type { MatMulTile } from '../../../shaders/matmul.js';
import type { KernelTarget, MeasuredTile } from '../../compile/kernel.js';
import type { View } from '../../compile/view.js';
import { mul, type Dim } from '../../graph/dim.js';
import { areVectors, loadsOf, raggedLoadsOf, type TileChoice } from './tiles.js';

/** Columns, and rows where their number is known. */
const FEWEST = 8;

/** Neighbours of one tile are one entry. */
function merged(measured: readonly MeasuredTile[]): MeasuredTile[] {
  const isSame = (a: MatMulTile, b: MatMulTile): boolean => JSON.stringify(a) === JSON.stringify(b);
  return measured.filter(({ tile }, i) => i === 0 || !isSame(tile, measured[i - 1]!.tile));
}

/**
 * Tiles that were measured for a plain product, each for numbers of rows that are nearer to its own than to others', by their
 * ratio. Undefined where the target has none for it.
 * @param stored views of the result and of what is added to it.
 */
export function measuredChoice(
  a: View,
  b: View,
  stored: readonly View[],
  target: KernelTarget,
): TileChoice | undefined {
  const [m, k, n] = [a.shape[2]!, a.shape[3]!, b.shape[3]!];
  if (!target.tiles || target.software || typeof n !== 'number' || typeof k !== 'number') return undefined;
  // Few columns or rows have kernels of their own.
  if (n < FEWEST || (typeof m === 'number' && m < FEWEST)) return undefined;
  const loads = loadsOf(a, b).b === 'across' ? raggedLoadsOf(a, b) : loadsOf(a, b);
  const rows: Dim = mul(m, mul(a.shape[0]!, a.shape[1]!));
  const shape = { n, k, ...loads, vectors: areVectors(n, stored), halves: b.storage.type === 'f16' };
  const measured = target.tiles.find(shape, rows);
  if (!measured || measured.length === 0) return undefined;
  const ordered = [...measured].sort((x, y) => x.m - y.m);
  const entries = merged(ordered);
  // An entry ends where the next begins: half way, as ratios go, from the last that it was fastest for.
  const ends = entries.slice(1).map((next) => {
    const before = ordered[ordered.indexOf(next) - 1]!;
    return Math.sqrt(before.m * next.m);
  });
  const tiles = entries.map(({ tile }) => tile);
  return {
    tile: tiles.at(-1)!,
    others: tiles.slice(0, -1).map((tile, i) => ({ tile, from: 0, below: ends[i]! })),
    countedIn: 'rows',
  };
}
