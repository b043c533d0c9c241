import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { declareParameters, declareStorage, type ParameterField, type WebGpuProgram } from './program.js';

/** A workgroup computes a tileM x tileN block of C, an invocation threadM x threadN of it, tileK steps of K at a time. */
export interface MatMulTile {
  readonly tileM: number;
  readonly tileN: number;
  readonly tileK: number;
  readonly threadM: number;
  readonly threadN: number;
}

export interface MatMulOptions {
  readonly tile: MatMulTile;
  readonly hasBias: boolean;
  /** Expression over `x` applied to every element of the result; `x` for none. `p.NAME` reads a scalar. */
  readonly activation: { readonly name: string; readonly expression: string; readonly helpers: string; readonly scalars: readonly string[] };
}

/**
 * C = activation(alpha * A B + beta * bias), batched, every operand strided (a transposed weight is a stride).
 *
 * Both tiles are staged through workgroup memory; the loops over tiles are uniform, so one dispatch covers any number
 * of rows. Operations 2 m n k; memory traffic m k * (n / tileN) + k n * (m / tileM) + m n words.
 */
export function matMul(options: MatMulOptions): WebGpuProgram {
  const { tile, hasBias, activation } = options;
  const { tileM, tileN, tileK, threadM, threadN } = tile;
  const threadsN = tileN / threadN;
  const threads = (tileM / threadM) * threadsN;
  const scalar = (name: string, type: 'u32' | 'f32' = 'u32'): ParameterField => ({ name, type, length: 1 });
  const fields: ParameterField[] = [
    ...['m', 'n', 'k', 'batches', 'batch_inner'].map((n) => scalar(n)),
    ...['a', 'b', 'out'].flatMap((o) => [`${o}_start`, `${o}_row`, `${o}_column`, `${o}_outer`, `${o}_inner`].map((n) => scalar(n))),
    ...['bias_start', 'bias_row', 'bias_column', 'bias_outer', 'bias_inner'].map((n) => scalar(n)),
    scalar('alpha', 'f32'),
    scalar('beta', 'f32'),
    ...activation.scalars.map((n) => scalar(n, 'f32')),
  ];
  const bias = hasBias ? 3 : undefined;
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'a', 'f32', 'read')}
${declareStorage(2, 'b', 'f32', 'read')}
#if ${hasBias}
${declareStorage(bias ?? 0, 'bias', 'f32', 'read')}
#endif
${declareStorage(hasBias ? 4 : 3, 'out', 'f32', 'read_write')}
${activation.helpers}
const TILE_M = ${tileM}u;
const TILE_N = ${tileN}u;
const TILE_K = ${tileK}u;
const THREADS = ${threads}u;
// A is kept transposed (k major) so that the products below read neighbouring words.
var<workgroup> a_tile: array<f32, ${tileM * tileK}>;
var<workgroup> b_tile: array<f32, ${tileN * tileK}>;

@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let z = group.z;
  let m = blocks[z].m;
  let n = blocks[z].n;
  let k = blocks[z].k;
  let tiles_n = (n + TILE_N - 1u) / TILE_N;
  let tiles_m = (m + TILE_M - 1u) / TILE_M;
  let tiles = tiles_m * tiles_n * blocks[z].batches;
  let first_row = (thread / ${threadsN}u) * ${threadM}u;
  let first_column = (thread % ${threadsN}u) * ${threadN}u;
  for (var tile = group.x; tile < tiles; tile += groups.x) {
    let batch = tile / (tiles_m * tiles_n);
    let in_batch = tile % (tiles_m * tiles_n);
    let row0 = (in_batch / tiles_n) * TILE_M;
    let column0 = (in_batch % tiles_n) * TILE_N;
    let outer = batch / blocks[z].batch_inner;
    let inner = batch % blocks[z].batch_inner;
    let a_base = blocks[z].a_start + outer * blocks[z].a_outer + inner * blocks[z].a_inner;
    let b_base = blocks[z].b_start + outer * blocks[z].b_outer + inner * blocks[z].b_inner;
    var sums: array<array<f32, ${threadN}>, ${threadM}>;
    for (var k0 = 0u; k0 < k; k0 += TILE_K) {
      for (var i = thread; i < TILE_M * TILE_K; i += THREADS) {
        let row = row0 + i / TILE_K;
        let kk = k0 + i % TILE_K;
        var value = 0.0;
        if (row < m && kk < k) { value = a[a_base + row * blocks[z].a_row + kk * blocks[z].a_column]; }
        a_tile[(i % TILE_K) * TILE_M + i / TILE_K] = value;
      }
      // Neighbouring invocations follow B's smaller stride, so that a transposed weight is read as well as a plain one.
      if (blocks[z].b_row == 1u) {
        for (var i = thread; i < TILE_N * TILE_K; i += THREADS) {
          let kk = k0 + i % TILE_K;
          let column = column0 + i / TILE_K;
          var value = 0.0;
          if (kk < k && column < n) { value = b[b_base + kk + column * blocks[z].b_column]; }
          b_tile[(i % TILE_K) * TILE_N + i / TILE_K] = value;
        }
      } else {
        for (var i = thread; i < TILE_N * TILE_K; i += THREADS) {
          let kk = k0 + i / TILE_N;
          let column = column0 + i % TILE_N;
          var value = 0.0;
          if (kk < k && column < n) { value = b[b_base + kk * blocks[z].b_row + column * blocks[z].b_column]; }
          b_tile[i] = value;
        }
      }
      workgroupBarrier();
      for (var kk = 0u; kk < TILE_K; kk++) {
        var a_values: array<f32, ${threadM}>;
        var b_values: array<f32, ${threadN}>;
        for (var r = 0u; r < ${threadM}u; r++) { a_values[r] = a_tile[kk * TILE_M + first_row + r]; }
        for (var c = 0u; c < ${threadN}u; c++) { b_values[c] = b_tile[kk * TILE_N + first_column + c]; }
        for (var r = 0u; r < ${threadM}u; r++) {
          for (var c = 0u; c < ${threadN}u; c++) { sums[r][c] = fma(a_values[r], b_values[c], sums[r][c]); }
        }
      }
      workgroupBarrier();
    }
    let out_base = blocks[z].out_start + outer * blocks[z].out_outer + inner * blocks[z].out_inner;
#if ${hasBias}
    let bias_base = blocks[z].bias_start + outer * blocks[z].bias_outer + inner * blocks[z].bias_inner;
#endif
    for (var r = 0u; r < ${threadM}u; r++) {
      let row = row0 + first_row + r;
      for (var c = 0u; c < ${threadN}u; c++) {
        let column = column0 + first_column + c;
        if (row < m && column < n) {
          var x = sums[r][c] * blocks[z].alpha;
#if ${hasBias}
          x += blocks[z].beta * bias[bias_base + row * blocks[z].bias_row + column * blocks[z].bias_column];
#endif
          out[out_base + row * blocks[z].out_row + column * blocks[z].out_column] = ${activation.expression.replaceAll(/\bp\./g, 'blocks[z].')};
        }
      }
    }
  }
}`;
  const shape = `${tileM}x${tileN}x${tileK}_t${threadM}x${threadN}`;
  return { key: `MatMul_${shape}${hasBias ? '_bias' : ''}_${activation.name}`, source, fields, reportsErrors: false };
}
