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
  /** Steps that are in workgroup memory: with two, one is put there while the other is multiplied, at one barrier a step. */
  readonly buffers: 1 | 2;
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
export function subgroupBytes(tile: SubgroupTile): number {
  const { tileM, tileN, tileK, subgroupN, buffers, b } = tile;
  const subgroups = subgroupThreads(tile) / SUBGROUP;
  const pitch = pitchOf(tileK);
  const staged = tileM * pitch + (b === 'across' ? tileK * pitchOf(tileN) : tileN * pitch);
  return 16 * buffers * staged + 4 * subgroups * SIDE * resultPitch(subgroupN);
}

/** Vectors of halves from a line of a tile to the next: odd, so that eight lines begin in different banks. */
function pitchOf(elements: number): number {
  const vectors = elements / HALVES;
  return vectors % 2 === 0 ? vectors + 1 : vectors;
}

/** Elements from a row of results to the next. */
function resultPitch(subgroupN: number): number {
  return subgroupN + 4;
}

/** See SubgroupTile. Loads of a step are on their way while the subgroups multiply the one before. */
export function subgroup(tile: SubgroupTile, parts: Parts): { shape: string; source: string } {
  const { tileM, tileN, tileK, subgroupM, subgroupN, buffers, edge } = tile;
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
  const parts16 = range(tileK / SIDE);
  const strips = { a: tileM / SIDE, b: (isAcross ? tileK : tileN) / SIDE };
  /** The strips of an operand begin there in the step that is multiplied. */
  const from = (o: 'a' | 'b'): string => (buffers === 1 ? '' : ` + now * ${strips[o]}u`);
  const load = (side: string, order: string, from: string, offset: string, stride: number): string =>
    `subgroupMatrixLoad<subgroup_matrix_${side}<f16, ${SIDE}, ${SIDE}>, ${order}>(&${from}, ${offset}, ${stride}u)`;
  const multiply = parts16.map((q) =>
    [
      ...rows.map(
        (r) => `let x${r} = ${load('left', 'row_major', `a_tile[my_rows + ${r}u${from('a')}]`, `${2 * q}u`, pitch)};`,
      ),
      ...columns.map((c) =>
        isAcross
          ? `let y${c} = ${load('right', 'row_major', `b_tile[${q}u${from('b')}]`, `(my_columns + ${c}u) * 2u`, acrossPitch)};`
          : `let y${c} = ${load('right', 'col_major', `b_tile[my_columns + ${c}u${from('b')}]`, `${2 * q}u`, pitch)};`,
      ),
      ...rows.flatMap((r) =>
        columns.map((c) => `s${r}_${c} = subgroupMatrixMultiplyAccumulate(x${r}, y${c}, s${r}_${c});`),
      ),
    ].join('\n        '),
  );
  // A row of results takes `lanes` invocations, each of which finishes 4 elements.
  const lanes = subgroupN / 4;
  const perPass = SUBGROUP / lanes;
  const passes = range(SIDE / perPass);
  const strip = resultPitch(subgroupN);
  const isVector = (loads: Loads): boolean => loads !== 'words';
  const finish = rows.map(
    (r) => `    {
${columns.map((c) => `      subgroupMatrixStore<row_major>(&results[my_subgroup], ${(c * SIDE) / 4}u, s${r}_${c}, ${strip / 4}u);`).join('\n')}
      workgroupBarrier();
      let row = row0 + my_rows * ${SIDE}u + ${r * SIDE}u + lane / ${lanes}u;
      let column = column0 + my_columns * ${SIDE}u + lane % ${lanes}u * 4u;
      let at = lane / ${lanes}u * ${strip / 4}u + lane % ${lanes}u;
${passes.map((p) => `      let four${p} = results[my_subgroup][at + ${(p * perPass * strip) / 4}u];`).join('\n')}
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
      workgroupBarrier();
    }`,
  );
  const multiplied = multiply.map((m) => `      {\n        ${m}\n      }`).join('\n');
  const steps =
    buffers === 1
      ? `    var k_next = 0u;
${a.fetch}
${b.fetch}
    for (var k_put = 0u; k_put < k; k_put += ${tileK}u) {
      workgroupBarrier();
${a.put()}
${b.put()}
      workgroupBarrier();
      k_next = k_put + ${tileK}u;
${a.fetch}
${b.fetch}
${multiplied}
    }`
      : `    var k_next = 0u;
${a.fetch}
${b.fetch}
    // What the tile before has in workgroup memory has been multiplied: barriers lie between that and its last results.
    {
      let k_put = 0u;
${a.put()}
${b.put()}
    }
    k_next = ${tileK}u;
${a.fetch}
${b.fetch}
    var now = 0u;
    for (var k_now = 0u; k_now < k; k_now += ${tileK}u) {
      workgroupBarrier();
      let then = 1u - now;
      let k_put = k_now + ${tileK}u;
${a.put(`then * ${strips.a}u`)}
${b.put(`then * ${strips.b}u`)}
      k_next = k_put + ${tileK}u;
${a.fetch}
${b.fetch}
${multiplied}
      now = then;
    }`;
  const source = wgsl`
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
${declarations(parts, { a: isVector(tile.a), b: isVector(tile.b), bEights })}
// Strips of 16 lines, an array each: an offset into one is known when the shader is compiled, and needs no check.
var<workgroup> a_tile: array<array<vec4<u32>, ${SIDE * pitch}>, ${buffers * strips.a}>;
var<workgroup> b_tile: array<array<vec4<u32>, ${SIDE * (isAcross ? acrossPitch : pitch)}>, ${buffers * strips.b}>;
var<workgroup> results: array<array<vec4<f32>, ${(SIDE * strip) / 4}>, ${threads / SUBGROUP}>;

${HALF_LOADS}

${enterTiles(threads, tileM, tileN, ', @builtin(subgroup_id) my_subgroup: u32, @builtin(subgroup_invocation_id) lane: u32')}
  let my_rows = my_subgroup / ${subgroupsN}u * ${rows.length}u;
  let my_columns = my_subgroup % ${subgroupsN}u * ${columns.length}u;
  for (var tile = group.x; tile < tiles; tile += groups.x) {
${placeTile(tileM, tileN)}
${a.enter}
${b.enter}
${rows.flatMap((r) => columns.map((c) => `    var s${r}_${c} = subgroup_matrix_result<f32, ${SIDE}, ${SIDE}>();`)).join('\n')}
${steps}
${finish.join('\n')}
  }
}`;
  const letters = `${LOADS_LETTERS[tile.a]}${LOADS_LETTERS[tile.b]}`;
  const marks = `${buffers === 2 ? '_twice' : ''}${edge === 'none' ? '' : `_${edge}`}${bEights ? '_eights' : ''}`;
  return { shape: `f16_${tileM}x${tileN}x${tileK}_s${subgroupM}x${subgroupN}_${letters}${marks}`, source };
}
