import type { ProductShape } from '../../runtime/compile/kernel.js';
import { blocked, outer, staged } from '../../runtime/operators/matmul/tiles.js';
import type { MatMulTile } from '../../shaders/matmul.js';
import { blockedBytes, blockedThreads } from '../../shaders/matmul_blocked.js';
import { outerBytes, outerThreads } from '../../shaders/matmul_outer.js';

type Size = readonly [tileM: number, tileN: number, tileK: number, threadM: number, threadN: number];

const BLOCKED: readonly Size[] = [
  [32, 32, 16, 4, 4],
  [32, 64, 16, 4, 4],
  [64, 32, 16, 4, 4],
  [64, 40, 16, 8, 4],
  [64, 64, 16, 4, 4],
  [64, 64, 16, 8, 4],
  [64, 64, 32, 8, 4],
  [64, 64, 16, 8, 8],
  [128, 64, 16, 8, 4],
  [128, 64, 16, 8, 8],
  [128, 128, 8, 8, 8],
  [128, 128, 16, 8, 8],
];

const OUTER: readonly Size[] = [
  [32, 32, 16, 4, 4],
  [32, 32, 32, 4, 4],
  [32, 64, 16, 4, 4],
  [32, 64, 32, 4, 4],
  [64, 32, 16, 4, 4],
  [64, 64, 16, 8, 4],
  [64, 64, 32, 8, 4],
  [64, 64, 16, 8, 8],
  [64, 128, 16, 8, 8],
  [128, 64, 8, 8, 8],
  [128, 64, 16, 8, 8],
  [128, 128, 8, 8, 8],
  [128, 128, 16, 8, 8],
  [128, 128, 16, 16, 8],
  [256, 128, 8, 16, 8],
];

/** Columns that a cover of tiles may have beside those of the product. */
const MOST_COVERED = 1.7;

/** Tiles of float32 that a device can run, and that are not mostly past the edges of the product. */
export function productTiles(
  { n, k, a, b }: Pick<ProductShape, 'n' | 'k' | 'a' | 'b'>,
  limits: Pick<GPUSupportedLimits, 'maxComputeInvocationsPerWorkgroup' | 'maxComputeWorkgroupStorageSize'>,
): MatMulTile[] {
  const loads = { a, b };
  // What reads fours of k along a row takes whole ones.
  const isWhole = a === 'words' || k % 4 === 0;
  const all = [
    // Sums of outer products were faster wherever columns of B come in fours.
    ...(isWhole && b !== 'across' ? BLOCKED : []).map(([m, n, k, p, q]) => {
      const tile = blocked([m, n, k], [p, q], loads);
      return { tile, width: n, threads: blockedThreads(tile), bytes: blockedBytes(tile) };
    }),
    ...(b === 'across' ? OUTER : []).map(([m, n, step, p, q]) => {
      const tile = outer([m, n, step], [p, q], k, a);
      return { tile, width: n, threads: outerThreads(tile), bytes: outerBytes(tile) };
    }),
    ...(isWhole
      ? [{ tile: staged([32, 32, 64], [4, 4], 4, loads), width: 32, threads: 256, bytes: 16 * 2 * 64 * 8 }]
      : []),
  ];
  return all
    .filter(
      ({ width, threads, bytes }) =>
        threads <= limits.maxComputeInvocationsPerWorkgroup &&
        bytes <= limits.maxComputeWorkgroupStorageSize &&
        Math.ceil(n / width) * width < Math.max(MOST_COVERED * n, 65),
    )
    .map(({ tile }) => tile);
}
