import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { HALF_LOADS, halfLoads } from './matmul_half_loads.js';
import { LOADS_LETTERS, type Loads } from './matmul_loads.js';
import type { KEdge } from './matmul_outer.js';
import { declarations, enterTiles, placeTile, range, storeAll, type Parts } from './matmul_parts.js';

/**
 * A tile whose subgroups multiply matrices of 16 x 16 halves and sum them in float32: what tensor cores do. Operands are
 * rounded to halves on their way to workgroup memory. Subgroups have 32 invocations; see multipliesHalves().
 */
export interface SubgroupTile {
  readonly kind: 'subgroup';
  readonly tileM: number;
  readonly tileN: number;
  /** A multiple of 16, as are the rows and columns of a subgroup. */
  readonly tileK: number;
  readonly subgroupM: number;
  readonly subgroupN: number;
  /** How k ends in a step. */
  readonly edge: KEdge;
  readonly a: Exclude<Loads, 'across'>;
  readonly b: Loads;
  /** Elements of B in a load, where it is stored as float16. */
  readonly bRun: 4 | 8;
}

const SUBGROUP = 32;
const SIDE = 16;
/** Elements in a vec4<u32> of halves. */
const HALVES = 8;

/** Invocations of a workgroup. */
export function subgroupThreads({ tileM, tileN, subgroupM, subgroupN }: SubgroupTile): number {
  return (tileM / subgroupM) * (tileN / subgroupN) * SUBGROUP;
}

/** Bytes of workgroup memory. */
export function subgroupBytes({ tileM, tileN, tileK, b }: SubgroupTile): number {
  const pitch = pitchOf(tileK);
  return 16 * (tileM * pitch + (b === 'across' ? tileK * pitchOf(tileN) : tileN * pitch));
}

/**
 * Strips of operands that take a subgroup's results, a matrix of 16 x 16 float32 each, in rows of 4 vectors: of A, and of B where
 * its lines lie along k. Matrices that are stored together stand side by side.
 */
function resultStrips(tile: SubgroupTile): { readonly ofA: number; readonly together: number } {
  const { tileM, tileN, tileK, subgroupN, b } = tile;
  const subgroups = subgroupThreads(tile) / SUBGROUP;
  const share = (strips: number): number => Math.floor(strips / subgroups);
  const ofA = share(tileM / SIDE);
  const all = ofA + (b === 'across' ? 0 : share(tileN / SIDE));
  const columns = subgroupN / SIDE;
  const together = [8, 4, 2, 1].find((n) => n <= all && columns % n === 0);
  if (together === undefined || pitchOf(tileK) < SIDE / 4) throw new Error('a tile has no room for its results');
  return { ofA: Math.min(ofA, together), together };
}

/** Vectors of halves from a line of a tile to the next: odd, so that eight lines begin in different banks. */
function pitchOf(elements: number): number {
  const vectors = elements / HALVES;
  return vectors % 2 === 0 ? vectors + 1 : vectors;
}

/**
 * See SubgroupTile. Loads of a step are on their way while the subgroups multiply the one before. Results go through the
 * memory of the operands: an H100 gives a multiprocessor's workgroups some 48 KiB in all, so that what one takes decides how
 * many there are.
 */
export function subgroup(tile: SubgroupTile, parts: Parts): { shape: string; source: string } {
  const { tileM, tileN, tileK, subgroupM, subgroupN, edge } = tile;
  const threads = subgroupThreads(tile);
  const subgroupsN = tileN / subgroupN;
  const isAcross = tile.b === 'across';
  const [pitch, acrossPitch] = [pitchOf(tileK), pitchOf(tileN)];
  const bEights = parts.halves && tile.b !== 'words' && tile.bRun === 8;
  const shared = { tileK, threads, edge };
  const stored = parts.aHalves ? 'eights' : 'f32';
  const a = halfLoads({ ...shared, operand: 'a', loads: tile.a, stored, width: tileM, pitch });
  const b = halfLoads({
    ...shared,
    operand: 'b',
    loads: tile.b,
    stored: bEights ? 'eights' : parts.halves ? 'fours' : 'f32',
    width: tileN,
    pitch: isAcross ? acrossPitch : pitch,
  });
  const [rows, columns] = [range(subgroupM / SIDE), range(subgroupN / SIDE)];
  const sixteens = range(tileK / SIDE);
  const load = (side: string, order: string, from: string, offset: string, stride: number): string =>
    `subgroupMatrixLoad<subgroup_matrix_${side}<f16, ${SIDE}, ${SIDE}>, ${order}>(&${from}, ${offset}, ${stride}u)`;
  const multiply = sixteens.map((q) =>
    [
      ...rows.map((r) => `let x${r} = ${load('left', 'row_major', `a_tile[my_rows + ${r}u]`, `${2 * q}u`, pitch)};`),
      ...columns.map((c) =>
        isAcross
          ? `let y${c} = ${load('right', 'row_major', `b_tile[${q}u]`, `(my_columns + ${c}u) * 2u`, acrossPitch)};`
          : `let y${c} = ${load('right', 'col_major', `b_tile[my_columns + ${c}u]`, `${2 * q}u`, pitch)};`,
      ),
      ...rows.flatMap((r) =>
        columns.map((c) => `s${r}_${c} = subgroupMatrixMultiplyAccumulate(x${r}, y${c}, s${r}_${c});`),
      ),
    ].join('\n        '),
  );
  // A row of the results that are stored together takes `lanes` invocations, each of which finishes 4 elements.
  const { ofA, together } = resultStrips(tile);
  const lanes = together * 4;
  const perPass = SUBGROUP / lanes;
  const passes = range(SIDE / perPass);
  const ofB = together - ofA;
  const resultStrip = (c: number): string =>
    c < ofA ? `a_tile[my_subgroup * ${ofA}u + ${c}u]` : `b_tile[my_subgroup * ${ofB}u + ${c - ofA}u]`;
  const isVector = (loads: Loads): boolean => loads !== 'words';
  const finish = rows.flatMap((r) =>
    range(columns.length / together).map(
      (g) => `    {
      workgroupBarrier();
${range(together)
  .map((c) => `      subgroupMatrixStore<row_major>(&${resultStrip(c)}, 0u, s${r}_${g * together + c}, ${pitch}u);`)
  .join('\n')}
      workgroupBarrier();
      let row = row0 + my_rows * ${SIDE}u + ${r * SIDE}u + lane / ${lanes}u;
      let column = column0 + my_columns * ${SIDE}u + ${g * together * SIDE}u + lane % ${lanes}u * 4u;
      let at = lane / ${lanes}u * ${pitch}u + lane % 4u;
${passes.map((p) => `      let four${p} = result_four(my_subgroup, lane % ${lanes}u / 4u, at + ${p * perPass * pitch}u);`).join('\n')}
${storeAll(
  passes.flatMap((p) =>
    range(4).map((i) => ({
      value: `four${p}.${'xyzw'[i]}`,
      row: p * perPass,
      column: i,
    })),
  ),
  parts,
)}
    }`,
    ),
  );
  const multiplied = multiply.map((m) => `      {\n        ${m}\n      }`).join('\n');
  const source = wgsl`
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
${declarations(parts, { a: isVector(tile.a), b: isVector(tile.b), bEights })}
// Strips of 16 lines, an array each: an offset into one is known when the shader is compiled, and needs no check.
var<workgroup> a_tile: array<array<vec4<u32>, ${SIDE * pitch}>, ${tileM / SIDE}>;
var<workgroup> b_tile: array<array<vec4<u32>, ${SIDE * (isAcross ? acrossPitch : pitch)}>, ${(isAcross ? tileK : tileN) / SIDE}>;

${HALF_LOADS}
fn result_four(mine: u32, c: u32, at: u32) -> vec4<f32> {
${
  ofB > 0
    ? `  if (c >= ${ofA}u) { return bitcast<vec4<f32>>(b_tile[mine * ${ofB}u + c - ${ofA}u][at]); }
`
    : ''
}${ofA > 0 ? `  return bitcast<vec4<f32>>(a_tile[mine * ${ofA}u + c][at]);` : '  return vec4<f32>();'}
}

${enterTiles(threads, tileM, tileN, ', @builtin(subgroup_id) my_subgroup: u32, @builtin(subgroup_invocation_id) lane: u32')}
  let my_rows = my_subgroup / ${subgroupsN}u * ${rows.length}u;
  let my_columns = my_subgroup % ${subgroupsN}u * ${columns.length}u;
  for (var tile = group.x; tile < tiles; tile += groups.x) {
${placeTile(tileM, tileN)}
${a.enter}
${b.enter}
${rows.flatMap((r) => columns.map((c) => `    var s${r}_${c} = subgroup_matrix_result<f32, ${SIDE}, ${SIDE}>();`)).join('\n')}
    var k_next = 0u;
${a.fetch}
${b.fetch}
    for (var k_put = 0u; k_put < k; k_put += ${tileK}u) {
      workgroupBarrier();
${a.put}
${b.put}
      workgroupBarrier();
      k_next = k_put + ${tileK}u;
      // A branch, which keeps a compiler from moving the loads behind the products.
      if (k_next < k) {
${a.fetch}
${b.fetch}
      }
${multiplied}
    }
${finish.join('\n')}
  }
}`;
  const letters = `${LOADS_LETTERS[tile.a]}${LOADS_LETTERS[tile.b]}`;
  const marks = `${edge === 'none' ? '' : `_${edge}`}${bEights ? '_eights' : ''}`;
  return { shape: `f16_${tileM}x${tileN}x${tileK}_s${subgroupM}x${subgroupN}_${letters}${marks}`, source };
}
