import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { LOADS_LETTERS, type Loads } from './matmul_loads.js';
import { declarations, enterTiles, placeTile, range, storeAll, type Parts } from './matmul_parts.js';

/** A tile whose next step is on its way from memory while the workgroup computes the one before. */
export interface StagedTile {
  readonly kind: 'staged';
  readonly tileM: number;
  readonly tileN: number;
  readonly tileK: number;
  /** Rows and columns of an invocation come in groups of 4. */
  readonly threadM: 4 | 8;
  readonly threadN: 4 | 8;
  /**
   * Parts of the workgroup, each of which takes as many k of every step and all of the tile; they add up in workgroup
   * memory. With 4, an invocation has 4 x 4 registers, and finishes one of their rows.
   */
  readonly slices: 1 | 4;
  readonly a: Exclude<Loads, 'across'>;
  readonly b: Loads;
}

/** Invocations of a workgroup. */
export function stagedThreads({ tileM, tileN, threadM, threadN, slices }: StagedTile): number {
  return (tileM / threadM) * (tileN / threadN) * slices;
}

/** Code that brings one operand's part of a step: declares registers, fills them from memory, hands them to the workgroup. */
interface Stage {
  readonly declare: string;
  readonly fetch: string;
  readonly put: string;
}

interface StageOptions {
  readonly operand: 'a' | 'b';
  readonly loads: Loads;
  /** Rows of A or columns of B in the tile. */
  readonly width: number;
  readonly tileK: number;
  readonly threads: number;
  /** Where the operand's tile begins in workgroup memory. */
  readonly base: number;
  readonly modulated: boolean;
}

/** Names of an operand's other dimension: its first index in the tile, its size, its stride, and the stride along k. */
const SIDES = {
  a: { first: 'row0', size: 'm', stride: 'a_row', kStride: 'a_column', base: 'a_base' },
  b: { first: 'column0', size: 'n', stride: 'b_column', kStride: 'b_row', base: 'b_base' },
} as const;

/**
 * Tiles are k-major in workgroup memory. Rows and columns past the edge repeat the last ones; what they make is not
 * stored. Past the end of k both sides count as zero, for what lies there may be NaN.
 */
function stage(options: StageOptions): Stage {
  const { operand: o, loads, width, tileK, threads, base, modulated } = options;
  const { first, size, stride, kStride, base: at } = SIDES[o];
  const groups = width / 4;
  const units = (groups * tileK) / (loads === 'along' ? 4 : 1);
  const rounds = range(Math.ceil(units / threads));
  const guarded = (u: number, code: string): string =>
    (u + 1) * threads <= units ? `{ ${code} }` : `if (thread + ${u * threads}u < ${units}u) { ${code} }`;
  const register = (u: number, j = 0): string => `${o}${u}_${j}`;
  const perUnit = loads === 'along' ? 4 : 1;
  const declare = rounds
    .flatMap((u) => range(perUnit).map((j) => `    var ${register(u, j)} = vec4<f32>();`))
    .join('\n');
  const index = (u: number): string => `let i = thread + ${u * threads}u;`;
  const build = (fetchOne: (u: number) => string, putOne: (u: number) => string): Stage => ({
    declare,
    fetch: rounds.map((u) => `      ${guarded(u, fetchOne(u))}`).join('\n'),
    put: rounds.map((u) => `      ${guarded(u, putOne(u))}`).join('\n'),
  });
  switch (loads) {
    case 'words': {
      // Neighbouring invocations follow the smaller stride: k for activations, either for weights.
      const along = o === 'a' ? 'true' : 'b_row == 1u';
      const place = (u: number): string =>
        `${index(u)} let kk = select(i / ${groups}u, i % ${tileK}u, ${along}); let g = select(i % ${groups}u, i / ${tileK}u, ${along});`;
      const four = (shift: string): string =>
        `vec4<f32>(${range(4)
          .map((j) => `load_${o}(at${shift} + min(${first} + g * 4u + ${j}u, ${size} - 1u) * ${stride})`)
          .join(', ')})`;
      const value = modulated ? `${four('')} + s[s_at + k_at * s_step] * ${four(' + gap')}` : four('');
      return build(
        (u) =>
          `${place(u)} let k_at = min(k0 + kk, k - 1u); let at = ${at} + k_at * ${kStride}; ${register(u)} = select(vec4<f32>(), ${value}, k0 + kk < k);`,
        (u) => `${place(u)} memory[${base}u + kk * ${groups}u + g] = ${register(u)};`,
      );
    }
    case 'across': {
      const place = (u: number): string => `${index(u)} let kk = i / ${groups}u; let g = i % ${groups}u;`;
      const value = modulated ? `load_${o}(at) + s[s_at + k_at * s_step] * load_${o}(at + gap / 4u)` : `load_${o}(at)`;
      return build(
        (u) =>
          `${place(u)} let k_at = min(k0 + kk, k - 1u); let at = (${at} + k_at * ${kStride} + min(${first} + g * 4u, ${size} - 4u)) / 4u; ${register(u)} = select(vec4<f32>(), ${value}, k0 + kk < k);`,
        (u) => `${place(u)} memory[${base}u + kk * ${groups}u + g] = ${register(u)};`,
      );
    }
    case 'along': {
      // Pairs of invocations read 32 bytes of a line, the smallest piece that memory moves.
      const place = (u: number): string =>
        `${index(u)} let g = (i / 2u) % ${groups}u; let kk = (i / ${2 * groups}u * 2u + i % 2u) * 4u;`;
      const loads4 = (u: number): string =>
        range(4)
          .map(
            (j) =>
              `${register(u, j)} = select(vec4<f32>(), load_${o}((at + min(${first} + g * 4u + ${j}u, ${size} - 1u) * ${stride}) / 4u), inside);`,
          )
          .join(' ');
      const turned = (u: number): string =>
        range(4)
          .map((j) => {
            const column = range(4).map((r) => `${register(u, r)}.${'xyzw'[j]}`);
            return `memory[${base}u + (kk + ${j}u) * ${groups}u + g] = vec4<f32>(${column.join(', ')});`;
          })
          .join(' ');
      return build(
        (u) => `${place(u)} let inside = k0 + kk < k; let at = ${at} + min(k0 + kk, k - 4u); ${loads4(u)}`,
        (u) => `${place(u)} ${turned(u)}`,
      );
    }
    default:
      throw new Error(`unknown loads ${loads satisfies never}`);
  }
}

/** See StagedTile. Operations and traffic are those of a tile; loads of a step overlap with the arithmetic before it. */
export function staged(tile: StagedTile, parts: Parts): { shape: string; source: string } {
  const { tileM, tileN, tileK, threadM, threadN, slices } = tile;
  const { modulated } = parts;
  const threads = stagedThreads(tile);
  const perSlice = threads / slices;
  const threadsN = tileN / threadN;
  const rowGroups = range(threadM / 4);
  const columnGroups = range(threadN / 4);
  const rowGap = tileM / rowGroups.length;
  const columnGap = tileN / columnGroups.length;
  const registers = rowGroups.flatMap((g) =>
    range(4).flatMap((r) => columnGroups.map((c) => ({ name: `s${g}_${r}_${c}`, g, r, c }))),
  );
  const [rowsOf4, columnsOf4] = [tileM / 4, tileN / 4];
  const bBase = tileK * rowsOf4;
  const words = Math.max(bBase + tileK * columnsOf4, slices > 1 ? threads * 4 : 0);
  const a = stage({ operand: 'a', loads: tile.a, width: tileM, tileK, threads, base: 0, modulated: false });
  const b = stage({ operand: 'b', loads: tile.b, width: tileN, tileK, threads, base: bBase, modulated });
  const multiply = [
    ...rowGroups.map((g) => `let x${g} = memory[kk * ${rowsOf4}u + ${(g * rowGap) / 4}u + my_rows];`),
    ...columnGroups.map(
      (c) => `let y${c} = memory[${bBase}u + kk * ${columnsOf4}u + ${(c * columnGap) / 4}u + my_columns];`,
    ),
    ...registers.map(({ name, g, r, c }) => `${name} += x${g}.${'xyzw'[r]} * y${c};`),
  ];
  const results = registers.flatMap(({ name, g, r, c }) =>
    range(4).map((i) => ({ value: `${name}.${'xyzw'[i]}`, row: g * rowGap + r, column: c * columnGap + i })),
  );
  const sums = range(slices).map((i) => `memory[(${i * perSlice}u + in_slice) * 4u + slice]`);
  const isVector = (loads: Loads): boolean => loads !== 'words';
  const source = wgsl`
${declarations(parts, { a: isVector(tile.a), b: isVector(tile.b) })}
var<workgroup> memory: array<vec4<f32>, ${words}>;

${enterTiles(threads, tileM, tileN)}
  let slice = thread / ${perSlice}u;
  let in_slice = thread % ${perSlice}u;
  let my_rows = in_slice / ${threadsN}u;
  let my_columns = in_slice % ${threadsN}u;
  for (var tile = group.x; tile < tiles; tile += groups.x) {
${placeTile(tileM, tileN)}
#if ${modulated}
    let s_at = blocks[z].s_start + outer * blocks[z].s_outer + inner * blocks[z].s_inner;
    let s_step = blocks[z].s_column;
    let gap = blocks[z].gap;
#endif
${registers.map(({ name }) => `    var ${name} = vec4<f32>();`).join('\n')}
${a.declare}
${b.declare}
    // One round more than steps: a round fetches its step into registers, and computes the one before.
    for (var k0 = 0u; k0 < k + ${tileK}u; k0 += ${tileK}u) {
      if (k0 < k) {
${a.fetch}
${b.fetch}
      }
      if (k0 > 0u) {
        for (var part = 0u; part < ${tileK / slices}u; part++) {
          let kk = slice * ${tileK / slices}u + part;
          ${multiply.join('\n          ')}
        }
      }
      workgroupBarrier();
${a.put}
${b.put}
      workgroupBarrier();
    }
#if ${slices > 1}
${range(4)
  .map((r) => `    memory[thread * 4u + ${r}u] = s0_${r}_0;`)
  .join('\n')}
    workgroupBarrier();
    let sum = ${sums.join(' + ')};
    workgroupBarrier();
    let row = row0 + my_rows * 4u + slice;
#else
    let row = row0 + my_rows * 4u;
#endif
    let column = column0 + my_columns * 4u;
${storeAll(slices > 1 ? range(4).map((i) => ({ value: `sum.${'xyzw'[i]}`, row: 0, column: i })) : results, parts)}
  }
}`;
  const cut = slices > 1 ? `_k${slices}` : '';
  return {
    shape: `${tileM}x${tileN}x${tileK}_t${threadM}x${threadN}${cut}_${LOADS_LETTERS[tile.a]}${LOADS_LETTERS[tile.b]}`,
    source,
  };
}
