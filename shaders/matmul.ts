import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { blocked, type BlockedTile } from './matmul_blocked.js';
import { declarations, fieldsOf, range, storeAll, type Finish, type Parts } from './matmul_parts.js';
import { hopperMatMul, type HopperTile } from './matmul_hopper.js';
import { nativeMatMul, type NativeTile } from './matmul_native.js';
import { outer, type OuterTile } from './matmul_outer.js';
import { staged, type StagedTile } from './matmul_staged.js';
import { subgroup, type SubgroupTile } from './matmul_subgroup.js';
import type { NativeEntry, WebGpuProgram } from './program.js';

/**
 * How a product is cut. An invocation computes threadM x threadN elements of C in registers.
 *
 * `direct`: every invocation reads its operands itself. Software adapters pay dearly for barriers and for long programs,
 * and have real caches; this is what suits them.
 *
 * `blocked`: a workgroup computes a tileM x tileN block and stages tileK steps of both operands through workgroup memory;
 * see matmul_blocked.ts. `staged`: so too, with k cut between parts of the workgroup, or B modulated; see matmul_staged.ts. `subgroup`: so too, in float16; see matmul_subgroup.ts.
 * `native`, `hopper`: so too, on CUDA, in TF32; see matmul_native.ts and matmul_hopper.ts.
 *
 * `rows`: `lanes` invocations share a row of A and sum their parts of all of its few `columns` in workgroup memory.
 */
export type MatMulTile =
  | { readonly kind: 'direct'; readonly threadM: number; readonly threadN: 1 | 4 }
  | BlockedTile
  | OuterTile
  | StagedTile
  | SubgroupTile
  | NativeTile
  | HopperTile
  | { readonly kind: 'rows'; readonly lanes: number; readonly columns: number };

/** Invocations of a workgroup of the direct kernel, and of the rows kernel. */
export const DIRECT_WORKGROUP = 64;
export const ROWS_WORKGROUP = 256;

export interface MatMulOptions {
  readonly tile: MatMulTile;
  readonly hasBias: boolean;
  readonly finish?: Finish;
  /** B is B + diag(s) P: P lies behind B, s is the modulator's line of k. */
  readonly modulated?: boolean;
  /** Only some elements are stored; see Parts. */
  readonly picked?: boolean;
  /** B is stored as float16. */
  readonly halves?: boolean;
  /** Columns of the result, the bias and what the finish reads lie in fours; for `outer` tiles. */
  readonly vectors?: boolean;
  /** Rows of C lie in fours of columns; see Parts. */
  readonly outFours?: boolean;
  /** A, or C, is stored as float16; see Parts. Of `subgroup` tiles. */
  readonly aHalves?: boolean;
  readonly outHalves?: boolean;
}

/**
 * C = alpha A B + beta bias, batched, every operand strided (a transposed weight is a stride). The loops over tiles are
 * uniform, so that one dispatch covers any number of rows.
 *
 * Operations 2 m n k. Tiled memory traffic: m k (n / tileN) + k n (m / tileM) + m n words.
 */
export function matMul({ tile, ...options }: MatMulOptions): WebGpuProgram {
  const { modulated = false, picked = false, halves = false, vectors = false, outFours = false } = options;
  const { hasBias, finish, aHalves = false, outHalves = false } = options;
  const parts = { hasBias, finish, modulated, picked, halves, vectors, outFours, aHalves, outHalves };
  const { shape, source, native } = cut(tile, parts);
  const key = `MatMul_${shape}${halves ? '_f16' : ''}${aHalves ? '_from_f16' : ''}${outHalves ? '_to_f16' : ''}${outFours ? '_fours' : ''}${modulated ? '_modulated' : ''}${picked ? '_picked' : ''}${vectors ? '_vectors' : ''}${hasBias ? '_bias' : ''}${finish ? `_${finish.name}` : ''}`;
  return { key, source, fields: fieldsOf(parts), reportsErrors: false, ...(native ? { native } : {}) };
}

function cut(tile: MatMulTile, parts: Parts): { shape: string; source: string; native?: NativeEntry } {
  switch (tile.kind) {
    case 'direct':
      return { shape: `direct_t${tile.threadM}x${tile.threadN}`, source: direct(tile, parts) };
    case 'blocked':
      return blocked(tile, parts);
    case 'outer':
      return outer(tile, parts);
    case 'staged':
      return staged(tile, parts);
    case 'subgroup':
      return subgroup(tile, parts);
    case 'native':
      return nativeMatMul(tile, parts);
    case 'hopper':
      return hopperMatMul(tile, parts);
    case 'rows':
      return { shape: `rows_l${tile.lanes}_n${tile.columns}`, source: rows(tile, parts) };
    default:
      throw new Error(`unknown cut ${JSON.stringify(tile satisfies never)}`);
  }
}

function direct({ threadM, threadN }: Extract<MatMulTile, { kind: 'direct' }>, parts: Parts): string {
  const type = threadN === 4 ? 'vec4<f32>' : 'f32';
  const vector = (of: (c: number) => string): string =>
    threadN === 4 ? `vec4<f32>(${range(4).map(of).join(', ')})` : of(0);
  const weight = vector((c) => `load_b(b_at + b_column${c})`);
  const modulation = vector((c) => `load_b(b_at + gap + b_column${c})`);
  return wgsl`
${declarations(parts)}
@compute @workgroup_size(${DIRECT_WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = id.z;
  let m = blocks[z].m;
  let n = blocks[z].n;
  let k = blocks[z].k;
  let tiles_m = (m + ${threadM - 1}u) / ${threadM}u;
  let tiles_n = (n + ${threadN - 1}u) / ${threadN}u;
  let tiles = tiles_m * tiles_n * blocks[z].batches;
  for (var tile = id.x; tile < tiles; tile += groups.x * ${DIRECT_WORKGROUP}u) {
    // Neighbouring invocations share columns: B stays in the cache while rows stream.
    let batch = tile / (tiles_m * tiles_n);
    let in_batch = tile % (tiles_m * tiles_n);
    let row = (in_batch % tiles_m) * ${threadM}u;
    let column = (in_batch / tiles_m) * ${threadN}u;
    let outer = batch / blocks[z].batch_inner;
    let inner = batch % blocks[z].batch_inner;
    let a_base = blocks[z].a_start + outer * blocks[z].a_outer + inner * blocks[z].a_inner;
    var b_at = blocks[z].b_start + outer * blocks[z].b_outer + inner * blocks[z].b_inner;
    let a_step = blocks[z].a_column;
    let b_step = blocks[z].b_row;
#if ${parts.modulated}
    let s_at = blocks[z].s_start + outer * blocks[z].s_outer + inner * blocks[z].s_inner;
    let gap = blocks[z].gap;
#endif
    // Rows and columns past the edge repeat the last one; store() leaves them out.
${range(threadM)
  .map((r) => `    var a_at${r} = a_base + min(row + ${r}u, m - 1u) * blocks[z].a_row;`)
  .join('\n')}
${range(threadN)
  .map((c) => `    let b_column${c} = min(column + ${c}u, n - 1u) * blocks[z].b_column;`)
  .join('\n')}
${range(threadM)
  .map((r) => `    var s${r} = ${type}();`)
  .join('\n')}
    for (var kk = 0u; kk < k; kk++) {
      let y = ${parts.modulated ? `${weight} + s[s_at + kk * blocks[z].s_column] * ${modulation}` : weight};
      b_at += b_step;
${range(threadM)
  .map((r) => `      s${r} += a[a_at${r}] * y; a_at${r} += a_step;`)
  .join('\n')}
    }
${storeAll(
  range(threadM).flatMap((r) =>
    range(threadN).map((c) => ({ value: threadN === 1 ? `s${r}` : `s${r}.${'xyzw'[c]}`, row: r, column: c })),
  ),
  parts,
)}
  }
}`;
}

function rows({ lanes, columns }: Extract<MatMulTile, { kind: 'rows' }>, parts: Parts): string {
  const perGroup = ROWS_WORKGROUP / lanes;
  const all = range(columns);
  const steps = range(Math.log2(lanes)).map((i) => lanes >> (i + 1));
  return wgsl`
${declarations(parts)}
var<workgroup> partial: array<f32, ${ROWS_WORKGROUP * columns}>;
@compute @workgroup_size(${ROWS_WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let z = group.z;
  let m = blocks[z].m;
  let n = blocks[z].n;
  let k = blocks[z].k;
  let a_column = blocks[z].a_column;
  let b_row = blocks[z].b_row;
  let lane = thread % ${lanes}u;
  let row_groups = (m + ${perGroup - 1}u) / ${perGroup}u;
  let work = row_groups * blocks[z].batches;
  for (var w = group.x; w < work; w += groups.x) {
    let batch = w / row_groups;
    let row = (w % row_groups) * ${perGroup}u + thread / ${lanes}u;
    let column = 0u;
    let outer = batch / blocks[z].batch_inner;
    let inner = batch % blocks[z].batch_inner;
    let a_at = blocks[z].a_start + outer * blocks[z].a_outer + inner * blocks[z].a_inner + min(row, m - 1u) * blocks[z].a_row;
    let b_at = blocks[z].b_start + outer * blocks[z].b_outer + inner * blocks[z].b_inner;
${all.map((c) => `    let b_column${c} = b_at + min(${c}u, n - 1u) * blocks[z].b_column;\n    var s${c} = 0.0;`).join('\n')}
    // Neighbouring lanes read neighbouring k of both operands.
    for (var kk = lane; kk < k; kk += ${lanes}u) {
      let x = a[a_at + kk * a_column];
${all.map((c) => `      s${c} = fma(x, load_b(b_column${c} + kk * b_row), s${c});`).join('\n')}
    }
${all.map((c) => `    partial[thread * ${columns}u + ${c}u] = s${c};`).join('\n')}
    workgroupBarrier();
${steps
  .map(
    (half) => `    if (lane < ${half}u) {
${all.map((c) => `      partial[thread * ${columns}u + ${c}u] += partial[(thread + ${half}u) * ${columns}u + ${c}u];`).join('\n')}
    }
    workgroupBarrier();`,
  )
  .join('\n')}
    if (lane == 0u) {
${all.map((c) => `    s${c} = partial[thread * ${columns}u + ${c}u];`).join('\n')}
${storeAll(
  all.map((c) => ({ value: `s${c}`, row: 0, column: c })),
  parts,
)}
    }
    workgroupBarrier();
  }
}`;
}
