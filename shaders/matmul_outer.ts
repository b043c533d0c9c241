import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { LOADS_LETTERS, type Loads } from './matmul_loads.js';
import { declarations, enterTiles, placeThread, placeTile, range, storeAll, type Parts } from './matmul_parts.js';

/**
 * A tile whose invocations add outer products: of four or eight rows of A and as many columns of B, k by k, so that
 * they hold few operands beside their sums. Both operands lie in workgroup memory k by k; A is turned on its way there.
 */
export interface OuterTile {
  readonly kind: 'outer';
  /** Multiples of 32 rows and of 4 columns. */
  readonly tileM: number;
  readonly tileN: number;
  readonly tileK: number;
  /** Rows and columns of an invocation come in groups of 4. */
  readonly threadM: number;
  readonly threadN: number;
  /** Which k may lie past the end within a step: `none`, whole fours, or any. */
  readonly edge: KEdge;
  readonly a: Exclude<Loads, 'across'>;
  readonly b: 'across' | 'words';
}

export type KEdge = 'none' | 'fours' | 'any';

/** Invocations of a workgroup. */
export function outerThreads({ tileM, tileN, threadM, threadN }: OuterTile): number {
  return (tileM / threadM) * (tileN / threadN);
}

/** Bytes of workgroup memory. */
export function outerBytes({ tileM, tileN, tileK }: OuterTile): number {
  return 4 * (tileM + tileN) * tileK;
}

/** What an invocation stages at once: four k of a row of A, or four columns of a k of B. */
interface Unit {
  readonly enter: string;
  readonly fetch: string;
  readonly put: string;
}

/**
 * Vectors of rows that those of a step of four k lie further on, in turn: what neighbouring invocations write, rows of
 * different k, is then in different banks.
 */
function turnOf(four: number, { tileM, threadM, tileK }: OuterTile): number {
  const threadsM = tileM / threadM;
  const isPower = (threadsM & (threadsM - 1)) === 0;
  return isPower ? (four * Math.max(1, Math.floor(32 / tileK))) % threadsM : 0;
}

function unitOfA(u: string, at: string, tile: OuterTile): Unit {
  const { tileK, edge } = tile;
  const fours = tileK / 4;
  const threadsM = tile.tileM / tile.threadM;
  const turn = turnOf(1, tile);
  const enter = [
    `let a_line${u} = ${at} / ${fours}u;`,
    `let a_k${u} = ${at} % ${fours}u * 4u;`,
    `let a_place${u} = (a_line${u} / 4u % ${threadsM}u) ^ (${at} % ${fours}u * ${turn}u % ${threadsM}u);`,
    `let a_at${u} = a_base + min(row0 + a_line${u}, m - 1u) * a_row + a_k${u} * a_column;`,
  ].join('\n    ');
  const fetch =
    tile.a === 'along'
      ? `p${u} = load_a((a_at${u} + k_next) / 4u);`
      : `p${u} = vec4<f32>(${range(4)
          .map((e) => `load_a(a_at${u} + (k_next + ${e}u) * a_column)`)
          .join(', ')});`;
  const put = range(4)
    .map((e) => {
      const value = `p${u}.${'xyzw'[e]}`;
      const inside = `k_put + a_k${u}${edge === 'any' ? ` + ${e}u` : ''} < k`;
      const kept = edge === 'none' ? value : `select(0.0, ${value}, ${inside})`;
      return `a_tile[a_k${u} + ${e}u][a_line${u} / ${4 * threadsM}u][a_place${u}][a_line${u} % 4u] = ${kept};`;
    })
    .join(' ');
  return { enter, fetch, put };
}

function unitOfB(u: string, at: string, tile: OuterTile): Unit {
  const { tileN, edge } = tile;
  const groups = tileN / 4;
  const threadsN = tileN / tile.threadN;
  const isAcross = tile.b === 'across';
  const column = (e: number): string => `min(column0 + b_four${u} * 4u + ${e}u, n - 1u) * b_column`;
  const enter = [
    `let b_four${u} = ${at} % ${groups}u;`,
    `let b_k${u} = ${at} / ${groups}u;`,
    ...(isAcross
      ? [`let b_at${u} = b_base + min(column0 + b_four${u} * 4u, n - 4u) + b_k${u} * b_row;`]
      : range(4).map((e) => `let b_at${u}_${e} = b_base + ${column(e)} + b_k${u} * b_row;`)),
  ].join('\n    ');
  const fetch = isAcross
    ? `p${u} = load_b((b_at${u} + k_next * b_row) / 4u);`
    : `p${u} = vec4<f32>(${range(4)
        .map((e) => `load_b(b_at${u}_${e} + k_next * b_row)`)
        .join(', ')});`;
  const kept = edge === 'none' ? `p${u}` : `select(vec4<f32>(), p${u}, k_put + b_k${u} < k)`;
  const put = `b_tile[b_k${u}][b_four${u} / ${threadsN}u][b_four${u} % ${threadsN}u] = ${kept};`;
  return { enter, fetch, put };
}

/** Code that stages both operands, each dealt to all invocations: few registers each, so that more workgroups fit. */
function stage(tile: OuterTile): { readonly enter: string; readonly fetch: string; readonly put: string } {
  const threads = outerThreads(tile);
  const rounds = (count: number, unitOf: typeof unitOfA, operand: string): Unit[] =>
    range(Math.ceil(count / threads)).map((r) => {
      const { enter, fetch, put } = unitOf(`${operand}${r}`, `(thread + ${r * threads}u)`, tile);
      const isWhole = (r + 1) * threads <= count;
      const guard = (code: string): string =>
        isWhole ? code : `if (thread + ${r * threads}u < ${count}u) { ${code} }`;
      return { enter: `${enter}\n    var p${operand}${r} = vec4<f32>();`, fetch: guard(fetch), put: guard(put) };
    });
  const units = [
    ...rounds((tile.tileM * tile.tileK) / 4, unitOfA, 'a'),
    ...rounds((tile.tileN * tile.tileK) / 4, unitOfB, 'b'),
  ];
  return {
    enter: units.map((u) => `    ${u.enter}`).join('\n'),
    fetch: units.map((u) => `      ${u.fetch}`).join('\n'),
    put: units.map((u) => `      ${u.put}`).join('\n'),
  };
}

/** See OuterTile. Loads of a step are on their way while the workgroup computes the one before. */
export function outer(tile: OuterTile, parts: Parts): { shape: string; source: string } {
  const { tileM, tileN, tileK, threadM, threadN, edge } = tile;
  const threads = outerThreads(tile);
  const [threadsM, threadsN] = [tileM / threadM, tileN / threadN];
  const [rowGroups, columnGroups] = [range(threadM / 4), range(threadN / 4)];
  const units = stage(tile);
  const rowAt = (kk: number): string => {
    const turn = turnOf(Math.floor(kk / 4), tile);
    return turn === 0 ? 'my_row' : `my_row ^ ${turn}u`;
  };
  const registers = rowGroups.flatMap((g) => range(4).flatMap((r) => columnGroups.map((c) => ({ g, r, c }))));
  const name = ({ g, r, c }: (typeof registers)[number]): string => `s${g}_${r}_${c}`;
  const compute = range(tileK)
    .map((kk) =>
      [
        ...rowGroups.map((g) => `let x${g} = a_tile[${kk}][${g}][${rowAt(kk)}];`),
        ...columnGroups.map((c) => `let y${c} = b_tile[${kk}][${c}][my_column];`),
        ...registers.map((s) => `${name(s)} = fma(vec4<f32>(x${s.g}.${'xyzw'[s.r]}), y${s.c}, ${name(s)});`),
      ].join('\n        '),
    )
    .map((code) => `      {\n        ${code}\n      }`)
    .join('\n');
  const results = registers.map((s) => ({
    value: name(s),
    row: s.g * threadsM * 4 + s.r,
    column: s.c * threadsN * 4,
  }));
  const source = wgsl`
${declarations(parts, { a: tile.a === 'along', b: tile.b === 'across' })}
var<workgroup> a_tile: array<array<array<vec4<f32>, ${threadsM}>, ${threadM / 4}>, ${tileK}>;
var<workgroup> b_tile: array<array<array<vec4<f32>, ${threadsN}>, ${threadN / 4}>, ${tileK}>;

${enterTiles(threads, tileM, tileN)}
${placeThread(threadsM, threadsN)}
  for (var tile = group.x; tile < tiles; tile += groups.x) {
${placeTile(tileM, tileN)}
${units.enter}
${registers.map((s) => `    var ${name(s)} = vec4<f32>();`).join('\n')}
    var k_next = 0u;
${units.fetch}
    for (var k_put = 0u; k_put < k; k_put += ${tileK}u) {
      workgroupBarrier();
${units.put}
      workgroupBarrier();
      k_next = k_put + ${tileK}u;
${units.fetch}
${compute}
    }
    workgroupBarrier();
    let row = row0 + my_row * 4u;
    let column = column0 + my_column * 4u;
${storeAll(parts.vectors ? results : results.flatMap(({ value, row, column }) => range(4).map((i) => ({ value: `${value}.${'xyzw'[i]}`, row, column: column + i }))), parts)}
  }
}`;
  const letters = `${LOADS_LETTERS[tile.a]}${LOADS_LETTERS[tile.b]}`;
  const mark = edge === 'none' ? '' : `_${edge}`;
  return { shape: `outer_${tileM}x${tileN}x${tileK}_t${threadM}x${threadN}_${letters}${mark}`, source };
}
