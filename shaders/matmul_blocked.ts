import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { LOADS_LETTERS, operandLoads, type Loads } from './matmul_loads.js';
import {
  declarations,
  enterTiles,
  placeThread,
  placeTile,
  range,
  storeAll,
  type Parts,
  type Result,
} from './matmul_parts.js';

/**
 * A tile whose invocations read workgroup memory four k, or four columns, at a time and nothing else: rows of A and
 * columns of B lie there k by k, plain weights row by row, so that no operand is turned on its way.
 */
export interface BlockedTile {
  readonly kind: 'blocked';
  readonly tileM: number;
  readonly tileN: number;
  readonly tileK: number;
  readonly threadM: number;
  /** Of `across` a multiple of 4. */
  readonly threadN: number;
  readonly a: Exclude<Loads, 'across'>;
  readonly b: Loads;
}

/** Invocations of a workgroup. */
export function blockedThreads({ tileM, tileN, threadM, threadN }: BlockedTile): number {
  return (tileM / threadM) * (tileN / threadN);
}

/** Bytes of workgroup memory. */
export function blockedBytes({ tileM, tileN, tileK, b }: BlockedTile): number {
  const pitch = pitchOf(tileK);
  return 16 * (tileM * pitch + (b === 'across' ? (tileK * tileN) / 4 : tileN * pitch));
}

/** Vectors from a line of a tile to the next: odd, so that neighbouring lines begin in different banks. */
function pitchOf(tileK: number): number {
  return Math.floor(tileK / 8) * 2 + 1;
}

/** See BlockedTile. Loads of a step are on their way while the workgroup computes the one before. */
export function blocked(tile: BlockedTile, parts: Parts): { shape: string; source: string } {
  const { tileM, tileN, tileK, threadM, threadN } = tile;
  const threads = blockedThreads(tile);
  const [threadsM, threadsN] = [tileM / threadM, tileN / threadN];
  const isAcross = tile.b === 'across';
  const pitch = pitchOf(tileK);
  const rows = range(threadM);
  const columns = range(isAcross ? threadN / 4 : threadN);
  const shared = { tileK, threads };
  const a = operandLoads({ ...shared, operand: 'a', loads: tile.a, width: tileM });
  const b = operandLoads({ ...shared, operand: 'b', loads: tile.b, width: tileN });
  // Arrays of arrays: an index that is checked against its own bound is checked once, outside of the loop over k.
  const lines = (across: number, each: number): string =>
    `array<array<array<vec4<f32>, ${pitch}>, ${across}>, ${each}>`;
  const register = (r: number, c: number): string => `s${r}_${c}`;
  const type = isAcross ? 'vec4<f32>' : 'f32';
  const readB = (four: number): string[] =>
    isAcross
      ? range(4).flatMap((e) => columns.map((c) => `let y${e}_${c} = b_tile[${four * 4 + e}][${c}][my_column];`))
      : columns.map((c) => `let y${c} = b_tile[${c}][my_column][${four}];`);
  const multiply = (four: number): string[] =>
    rows.flatMap((r) => [
      `let x${r} = a_tile[${r}][my_row][${four}];`,
      ...range(4).flatMap((e) =>
        columns.map((c) => {
          const [x, s] = [`x${r}.${'xyzw'[e]}`, register(r, c)];
          return isAcross
            ? `${s} = fma(vec4<f32>(${x}), y${e}_${c}, ${s});`
            : `${s} = fma(${x}, y${c}.${'xyzw'[e]}, ${s});`;
        }),
      ),
    ]);
  // Written out: as a loop over the fours of a step it took a fifth longer.
  const compute = range(tileK / 4)
    .map((four) => `      {\n        ${[...readB(four), ...multiply(four)].join('\n        ')}\n      }`)
    .join('\n');
  const results = rows.flatMap((r) =>
    columns.flatMap((c): Result[] => {
      const [row, value] = [r * threadsM, register(r, c)];
      return isAcross
        ? range(4).map((i) => ({ value: `${value}.${'xyzw'[i]}`, row, column: c * threadsN * 4 + i }))
        : [{ value, row, column: c * threadsN }];
    }),
  );
  const isVector = (loads: Loads): boolean => loads !== 'words';
  const source = wgsl`
${declarations(parts, { a: isVector(tile.a), b: isVector(tile.b) })}
var<workgroup> a_tile: ${lines(threadsM, threadM)};
var<workgroup> b_tile: ${isAcross ? `array<array<array<vec4<f32>, ${threadsN}>, ${columns.length}>, ${tileK}>` : lines(threadsN, threadN)};

${enterTiles(threads, tileM, tileN)}
${placeThread(threadsM, threadsN)}
  for (var tile = group.x; tile < tiles; tile += groups.x) {
${placeTile(tileM, tileN)}
${a.enter}
${b.enter}
${rows.flatMap((r) => columns.map((c) => `    var ${register(r, c)} = ${type}();`)).join('\n')}
    var k_next = 0u;
${a.fetch}
${b.fetch}
    for (var k_put = 0u; k_put < k; k_put += ${tileK}u) {
      workgroupBarrier();
${a.put(({ line, run, values: [v] }) => `a_tile[${line} / ${threadsM}u][${line} % ${threadsM}u][${run}] = ${v};`)}
${b.put(({ line, run, values: [v] }) =>
  isAcross
    ? `b_tile[${line}][${run} / ${threadsN}u][${run} % ${threadsN}u] = ${v};`
    : `b_tile[${line} / ${threadsN}u][${line} % ${threadsN}u][${run}] = ${v};`,
)}
      workgroupBarrier();
      k_next = k_put + ${tileK}u;
${a.fetch}
${b.fetch}
${compute}
    }
    workgroupBarrier();
    let row = row0 + my_row;
    let column = column0 + my_column${isAcross ? ' * 4u' : ''};
${storeAll(results, parts)}
  }
}`;
  const letters = `${LOADS_LETTERS[tile.a]}${LOADS_LETTERS[tile.b]}`;
  return {
    shape: `blocked_${tileM}x${tileN}x${tileK}_t${threadM}x${threadN}_${letters}`,
    source,
  };
}
