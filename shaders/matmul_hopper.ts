import { declarations, storeAll, type Parts } from './matmul_parts.js';
import type { NativeEntry } from './program.js';

/** A tile on the matrix units of compute capability 9.0, in TF32 or float16; native/kernels/matmul_hopper.cuh. */
export interface HopperTile {
  readonly kind: 'hopper';
  /** A multiple of 64: what a group of four warps makes. */
  readonly tileM: number;
  readonly tileN: 32 | 64 | 128 | 256;
  /** Parts of the sum that groups of their own make. */
  readonly slices: number;
  /** Steps along k in shared memory, 3 at least. */
  readonly stages: number;
  /** Blocks of a multiprocessor. */
  readonly residents: number;
  /** Whether rows of A begin on multiples of 4. B's columns do. */
  readonly inFours: boolean;
  /** B is stored as float16, and A rounded to it. */
  readonly halves: boolean;
}

const GROUP_ROWS = 64;
const GROUP_THREADS = 128;
/** Bytes along k of a line of B in shared memory, and where stages begin. */
const [LINE_BYTES, ALIGNMENT] = [128, 1024];

/** Bytes of shared memory. */
export function hopperTileBytes({ tileM, tileN, slices, stages, halves }: HopperTile): number {
  return stages * slices * ((halves ? 2 : 1) * tileM + tileN) * LINE_BYTES + ALIGNMENT;
}

/** The module around the kernel: `store` finishes and stores four neighbours of a row, or two, and those 8 rows below. */
export function hopperMatMul(tile: HopperTile, parts: Parts): { shape: string; source: string; native: NativeEntry } {
  const { tileM, tileN, slices, stages, residents, inFours, halves } = tile;
  const groups = tileM / GROUP_ROWS;
  const { vectors } = parts;
  const results = vectors
    ? [{ value: 'four', row: 0, column: 0 }]
    : [0, 8].flatMap((row) => [0, 1].map((column) => ({ value: `v${row}_${column}`, row, column })));
  const given = results.map(({ value }) => `${value}: ${vectors ? 'vec4<f32>' : 'f32'}`).join(', ');
  const source = `${declarations(parts)}
fn store(z: u32, outer: u32, inner: u32, row: u32, column: u32, ${given}) {
  let m = blocks[z].m;
  let n = blocks[z].n;
${storeAll(results, parts)}
}`;
  return {
    shape: `groups_${tileM}x${tileN}${slices > 1 ? `_s${slices}` : ''}_x${stages}${inFours ? '' : '_words'}`,
    source,
    native: {
      header: 'matmul_hopper.cuh',
      call: `HopperTile<${groups}, ${tileN}, ${slices}, ${stages}, ${inFours}, ${vectors}, ${halves}>::run(kernel)`,
      threads: GROUP_THREADS * groups * slices,
      residents,
      sharedBytes: hopperTileBytes(tile),
    },
  };
}
