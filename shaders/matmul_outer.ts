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
  /** Steps that lie in workgroup memory: of two, one is filled while the other is read. */
  readonly steps: 1 | 2;
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
export function outerBytes({ tileM, tileN, tileK, steps }: OuterTile): number {
  return 4 * (tileM + tileN) * tileK * steps;
}

/** What an invocation stages at once: four k of four rows of A, or four k of four columns of B. */
interface Unit {
  readonly enter: string;
  readonly fetch: string;
  readonly put: string;
}

/** Rows of A in units side by side, so that eight neighbours write neighbouring vectors. */
const ROW_UNITS = 8;

function unitOfA(u: string, at: string, tile: OuterTile): Unit {
  const { tileM, tileK, edge } = tile;
  const fours = tileK / 4;
  const threadsM = tileM / tile.threadM;
  const quad = `(${at} % ${ROW_UNITS}u + ${at} / ${ROW_UNITS * fours}u * ${ROW_UNITS}u)`;
  const four = `(${at} / ${ROW_UNITS}u % ${fours}u)`;
  const isAlong = tile.a === 'along';
  const register = (j: number): string => `p${u}_${j}`;
  const enter = [
    `let a_quad${u} = ${quad};`,
    `let a_k${u} = ${four} * 4u;`,
    ...range(4).map((j) => `let a_at${u}_${j} = a_base + min(row0 + a_quad${u} * 4u + ${j}u, m - 1u) * a_row;`),
  ].join('\n    ');
  const fetch = range(4)
    .map((j) =>
      isAlong
        ? `${register(j)} = load_a((a_at${u}_${j} + k_next + a_k${u}) / 4u);`
        : `${register(j)} = vec4<f32>(${range(4)
            .map((e) => `load_a(a_at${u}_${j} + (k_next + a_k${u} + ${e}u) * a_column)`)
            .join(', ')});`,
    )
    .join(' ');
  const value = (j: number, e: number): string => `${register(j)}.${'xyzw'[e]}`;
  const inside = (e: number): string => `k_put + a_k${u}${edge === 'any' ? ` + ${e}u` : ''} < k`;
  const put = range(4)
    .map((e) => {
      const column = `vec4<f32>(${range(4)
        .map((j) => value(j, e))
        .join(', ')})`;
      const kept = edge === 'none' ? column : `select(vec4<f32>(), ${column}, ${inside(e)})`;
      return `a_tile[filled][a_k${u} + ${e}u][a_quad${u} / ${threadsM}u][a_quad${u} % ${threadsM}u] = ${kept};`;
    })
    .join(' ');
  return { enter, fetch, put };
}

function unitOfB(u: string, at: string, tile: OuterTile): Unit {
  const { tileN, edge } = tile;
  const groups = tileN / 4;
  const threadsN = tileN / tile.threadN;
  const register = (j: number): string => `p${u}_${j}`;
  const isAcross = tile.b === 'across';
  const column = (e: number): string => `min(column0 + b_four${u} * 4u + ${e}u, n - 1u) * b_column`;
  const enter = [
    `let b_four${u} = ${at} % ${groups}u;`,
    `let b_k${u} = ${at} / ${groups}u * 4u;`,
    ...(isAcross
      ? [`let b_at${u} = b_base + min(column0 + b_four${u} * 4u, n - 4u);`]
      : range(4).map((e) => `let b_at${u}_${e} = b_base + ${column(e)};`)),
  ].join('\n    ');
  const fetch = range(4)
    .map((j) => {
      const k = `(k_next + b_k${u} + ${j}u) * b_row`;
      return isAcross
        ? `${register(j)} = load_b((b_at${u} + ${k}) / 4u);`
        : `${register(j)} = vec4<f32>(${range(4)
            .map((e) => `load_b(b_at${u}_${e} + ${k})`)
            .join(', ')});`;
    })
    .join(' ');
  const put = range(4)
    .map((j) => {
      const kept =
        edge === 'none'
          ? register(j)
          : `select(vec4<f32>(), ${register(j)}, k_put + b_k${u}${edge === 'any' ? ` + ${j}u` : ''} < k)`;
      return `b_tile[filled][b_k${u} + ${j}u][b_four${u} / ${threadsN}u][b_four${u} % ${threadsN}u] = ${kept};`;
    })
    .join(' ');
  return { enter, fetch, put };
}

/** Code that stages both operands: units are dealt out in turn, those of A first. */
function stage(tile: OuterTile): { readonly enter: string; readonly fetch: string; readonly put: string } {
  const threads = outerThreads(tile);
  const unitsA = (tile.tileM * tile.tileK) / 16;
  const unitsB = (tile.tileN * tile.tileK) / 16;
  const rounds = range(Math.ceil((unitsA + unitsB) / threads)).map((round) => {
    const first = round * threads;
    const [beforeB, end] = [unitsA - first, unitsA + unitsB - first];
    const name = String(round);
    const a = beforeB > 0 ? unitOfA(name, `(thread + ${first}u)`, tile) : undefined;
    const isMixed = beforeB > 0 && beforeB < threads;
    const b =
      beforeB < threads
        ? unitOfB(name, beforeB >= 0 ? `(thread - min(thread, ${beforeB}u))` : `(thread + ${-beforeB}u)`, tile)
        : undefined;
    const guard = (code: string): string => (end < threads ? `if (thread < ${end}u) { ${code} }` : `{ ${code} }`);
    const either = (of: 'fetch' | 'put'): string => {
      if (isMixed) return guard(`if (thread < ${beforeB}u) { ${a![of]} } else { ${b![of]} }`);
      return guard((a ?? b)![of]);
    };
    return {
      enter: [a?.enter, b?.enter, ...range(4).map((j) => `var p${name}_${j} = vec4<f32>();`)].filter(Boolean),
      fetch: either('fetch'),
      put: either('put'),
    };
  });
  return {
    enter: rounds.flatMap((r) => r.enter.map((line) => `    ${line}`)).join('\n'),
    fetch: rounds.map((r) => `      ${r.fetch}`).join('\n'),
    put: rounds.map((r) => `      ${r.put}`).join('\n'),
  };
}

/** See OuterTile. Loads of a step are on their way while the workgroup computes the one before. */
export function outer(tile: OuterTile, parts: Parts): { shape: string; source: string } {
  const { tileM, tileN, tileK, threadM, threadN, steps, edge } = tile;
  const threads = outerThreads(tile);
  const [threadsM, threadsN] = [tileM / threadM, tileN / threadN];
  const [rowGroups, columnGroups] = [range(threadM / 4), range(threadN / 4)];
  const units = stage(tile);
  const registers = rowGroups.flatMap((g) => range(4).flatMap((r) => columnGroups.map((c) => ({ g, r, c }))));
  const name = ({ g, r, c }: (typeof registers)[number]): string => `s${g}_${r}_${c}`;
  const compute = range(tileK)
    .map((kk) =>
      [
        ...rowGroups.map((g) => `let x${g} = a_tile[ready][${kk}][${g}][my_row];`),
        ...columnGroups.map((c) => `let y${c} = b_tile[ready][${kk}][${c}][my_column];`),
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
  const single =
    steps === 1
      ? `    for (var k_put = 0u; k_put < k; k_put += ${tileK}u) {
      workgroupBarrier();
${units.put}
      workgroupBarrier();
      k_next = k_put + ${tileK}u;
${units.fetch}
${compute}
    }
    workgroupBarrier();`
      : `    var k_put = 0u;
${units.put}
    workgroupBarrier();
    while (true) {
      k_next = k_put + ${tileK}u;
${units.fetch}
${compute}
      if (k_next >= k) { break; }
      k_put = k_next;
      filled = 1u - filled;
${units.put}
      workgroupBarrier();
      ready = 1u - ready;
    }
    workgroupBarrier();`;
  const source = wgsl`
${declarations(parts, { a: tile.a === 'along', b: tile.b === 'across' })}
var<workgroup> a_tile: array<array<array<array<vec4<f32>, ${threadsM}>, ${threadM / 4}>, ${tileK}>, ${steps}>;
var<workgroup> b_tile: array<array<array<array<vec4<f32>, ${threadsN}>, ${threadN / 4}>, ${tileK}>, ${steps}>;

${enterTiles(threads, tileM, tileN)}
${placeThread(threadsM, threadsN)}
  for (var tile = group.x; tile < tiles; tile += groups.x) {
${placeTile(tileM, tileN)}
${units.enter}
${registers.map((s) => `    var ${name(s)} = vec4<f32>();`).join('\n')}
    ${steps === 1 ? 'let' : 'var'} ready = 0u;
    ${steps === 1 ? 'let' : 'var'} filled = 0u;
    var k_next = 0u;
${units.fetch}
${single}
    let row = row0 + my_row * 4u;
    let column = column0 + my_column * 4u;
${storeAll(parts.vectors ? results : results.flatMap(({ value, row, column }) => range(4).map((i) => ({ value: `${value}.${'xyzw'[i]}`, row, column: column + i }))), parts)}
  }
}`;
  const letters = `${LOADS_LETTERS[tile.a]}${LOADS_LETTERS[tile.b]}`;
  const marks = `${steps === 2 ? '_d' : ''}${edge === 'none' ? '' : `_${edge}`}`;
  return { shape: `outer_${tileM}x${tileN}x${tileK}_t${threadM}x${threadN}_${letters}${marks}`, source };
}
