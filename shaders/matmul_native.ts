import type { Loads } from './matmul_loads.js';
import { declarations, storeAll, type Parts } from './matmul_parts.js';
import type { NativeEntry } from './program.js';

/** A tile on the matrix units of CUDA, in TF32 or float16; native/kernels/matmul.cuh. */
export interface NativeTile {
  readonly kind: 'native';
  readonly tileM: number;
  readonly tileN: number;
  /** What a warp makes of it. */
  readonly warpM: number;
  readonly warpN: number;
  /** Steps along k in shared memory. */
  readonly stages: number;
  readonly a: Exclude<Loads, 'across'>;
  readonly b: Loads;
  /** Words of B follow each other along k, as in a transposed weight. */
  readonly bAlong: boolean;
  /** Operands are rounded to float16. */
  readonly halves: boolean;
}

const TILE_K = 32;

function loads(how: Loads, wordsAlong: boolean): string {
  if (how === 'words') return wordsAlong ? 'WordsAlong' : 'WordsAcross';
  return how === 'along' ? 'Along' : 'Across';
}

/** Bytes of shared memory. */
export function nativeTileBytes({ tileM, tileN, stages, b, bAlong }: NativeTile): number {
  const columns = loads(b, bAlong).endsWith('Along') ? tileN * (TILE_K + 4) : TILE_K * (tileN + 8);
  return 4 * stages * (tileM * (TILE_K + 4) + columns);
}

/** The module around the kernel: `store` finishes and stores an element. */
export function nativeMatMul(tile: NativeTile, parts: Parts): { shape: string; source: string; native: NativeEntry } {
  const { tileM, tileN, warpM, warpN, stages, halves } = tile;
  const [a, b] = [loads(tile.a, true), loads(tile.b, tile.bAlong)];
  const source = `${declarations(parts)}
fn store(z: u32, outer: u32, inner: u32, row: u32, column: u32, value: f32) {
  let m = blocks[z].m;
  let n = blocks[z].n;
${storeAll([{ value: 'value', row: 0, column: 0 }], parts)}
}`;
  return {
    shape: `${halves ? 'float16' : 'tf32'}_${tileM}x${tileN}_${warpM}x${warpN}x${stages}_${a}_${b}`,
    source,
    native: {
      header: 'matmul.cuh',
      call: `TensorTile<${tileM}, ${tileN}, ${warpM}, ${warpN}, ${stages}, Loads::${a}, Loads::${b}, ${halves}>::run(kernel)`,
      threads: (tileM / warpM) * (tileN / warpN) * 32,
      residents: 2,
      sharedBytes: nativeTileBytes(tile),
    },
  };
}
