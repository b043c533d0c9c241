import type { Loads } from './matmul_loads.js';
import type { KEdge } from './matmul_outer.js';
import { range } from './matmul_parts.js';

export interface HalfLoads {
  /** Declares, once a tile, where the invocation's units begin and the registers they come into. */
  readonly enter: string;
  /** Starts the loads of the step at `k_next`. Nothing uses what they bring before `put`. */
  readonly fetch: string;
  /** Puts the step at `k_put` into workgroup memory as halves. */
  readonly put: string;
}

/** How the elements of an operand lie: float32; float16, of which 4 begin on a multiple of 4; or 8 on one of 8. */
export type HalvesStored = 'f32' | 'fours' | 'eights';

export interface HalfLoadsOptions {
  readonly operand: 'a' | 'b';
  readonly loads: Loads;
  /** Halves are put as they came, but for those that come one by one, which are widened in between. */
  readonly stored: HalvesStored;
  /** Rows of A or columns of B in the tile. */
  readonly width: number;
  readonly tileK: number;
  readonly threads: number;
  /** Vectors of 8 halves from a line in workgroup memory to the next. */
  readonly pitch: number;
  readonly edge: KEdge;
}

const SIDES = {
  a: { first: 'row0', size: 'm', stride: 'a_row', kStride: 'a_column', base: 'a_base' },
  b: { first: 'column0', size: 'n', stride: 'b_column', kStride: 'b_row', base: 'b_base' },
} as const;

const SIDE = 16;

/** Functions that halfLoads() calls. */
export const HALF_LOADS = `fn halves(x: vec4<f32>, y: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(pack2x16float(x.xy), pack2x16float(x.zw), pack2x16float(y.xy), pack2x16float(y.zw));
}
// Of 4 or 8 halves from \`at\` on, those before \`end\`; others are 0.
fn fours_before(four: vec2<u32>, at: u32, end: u32) -> vec2<u32> {
  let places = vec2<u32>(at) + vec2<u32>(0u, 2u);
  return select(select(four & vec2<u32>(0xffffu), four, places + 1u < vec2<u32>(end)), vec2<u32>(), places >= vec2<u32>(end));
}
fn eights_before(eight: vec4<u32>, at: u32, end: u32) -> vec4<u32> {
  return vec4<u32>(fours_before(eight.xy, at, end), fours_before(eight.zw, at + 4u, end));
}
fn f32_before(four: vec4<f32>, at: u32, end: u32) -> vec4<f32> {
  return select(vec4<f32>(), four, vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end));
}`;

/**
 * Code that stages one operand of a product on matrix units: runs of 8 elements, or pairs where elements come one by one, so
 * that neighbouring invocations read neighbours. Lines past the edge repeat the last; past the end of k both sides count as 0.
 */
export function halfLoads(options: HalfLoadsOptions): HalfLoads {
  const { operand: o, loads, stored, width, tileK, threads, pitch, edge } = options;
  const { first, size, stride, kStride, base } = SIDES[o];
  const isAcross = loads === 'across';
  const run = loads === 'words' ? 2 : 8;
  const runs = (isAcross ? width : tileK) / run;
  const units = runs * (isAcross ? tileK : width);
  const rounds = range(Math.ceil(units / threads));
  const unit = (u: number): string => `(thread + ${u * threads}u)`;
  const [line, runOf] = [(u: number) => `${o}_line${u}`, (u: number) => `${o}_run${u}`];
  const kind = loads === 'words' ? 'words' : stored;
  /** Loads that a unit takes, and the elements of each. */
  const [parts, each] = kind === 'words' ? [[0], 2] : kind === 'eights' ? [[0], 8] : [[0, 1], 4];
  const type = { words: 'vec2<f32>', f32: 'vec4<f32>', fours: 'vec2<u32>', eights: 'vec4<u32>' }[kind];
  const register = (u: number, p: number): string => `${o}${u}_${p}`;
  const at = (u: number, p: number): string => (isAcross ? `${o}_at${u}_${p}` : `${o}_at${u}`);
  const enter = rounds.flatMap((u) => [
    `let ${line(u)} = ${unit(u)} / ${runs}u;`,
    `let ${runOf(u)} = ${unit(u)} % ${runs}u;`,
    ...(isAcross
      ? parts.map(
          (p) => `let ${at(u, p)} = ${base} + min(${first} + ${runOf(u)} * 8u + ${each * p}u, ${size} - ${each}u);`,
        )
      : [`let ${at(u, 0)} = ${base} + min(${first} + ${line(u)}, ${size} - 1u) * ${stride};`]),
    ...parts.map((p) => `var ${register(u, p)} = ${type}();`),
  ]);
  const kOf = (u: number, p: number, from: string): string =>
    isAcross ? `${from} + ${line(u)}` : `${from} + ${runOf(u)} * ${run}u${p > 0 ? ` + ${each * p}u` : ''}`;
  const load = (u: number, p: number): string => {
    const k = kOf(u, p, 'k_next');
    const place = isAcross ? `${at(u, p)} + (${k}) * ${kStride}` : `${at(u, p)} + ${k}`;
    switch (kind) {
      case 'words':
        return `vec2<f32>(load_${o}(${at(u, p)} + (${k}) * ${kStride}), load_${o}(${at(u, p)} + (${k} + 1u) * ${kStride}))`;
      case 'f32':
        return `load_${o}((${place}) / 4u)`;
      default:
        return `${o}[(${place}) / ${each}u]`;
    }
  };
  const fetch = rounds.flatMap((u) => parts.map((p) => `${register(u, p)} = ${load(u, p)};`));
  const value = (u: number, p: number): string => {
    if (edge === 'none') return register(u, p);
    const k = kOf(u, p, 'k_put');
    if (kind === 'words')
      return `select(${type}(), ${register(u, p)}, vec2<u32>(${k}) + vec2<u32>(0u, 1u) < vec2<u32>(k))`;
    const isWhole = isAcross || (edge === 'fours' && each === 4);
    return isWhole ? `select(${type}(), ${register(u, p)}, ${k} < k)` : `${kind}_before(${register(u, p)}, ${k}, k)`;
  };
  const put = rounds.map((u) => {
    const lineAt = `${o}_tile[${line(u)} / ${SIDE}u][${line(u)} % ${SIDE}u * ${pitch}u`;
    const both = parts.map((p) => value(u, p)).join(', ');
    const eight = kind === 'f32' ? `halves(${both})` : kind === 'fours' ? `vec4<u32>(${both})` : both;
    const store =
      kind === 'words'
        ? `${lineAt} + ${runOf(u)} / 4u][${runOf(u)} % 4u] = pack2x16float(${value(u, 0)});`
        : `${lineAt} + ${runOf(u)}] = ${eight};`;
    return `${(u + 1) * threads > units ? `if (${unit(u)} < ${units}u) ` : ''}{ ${store} }`;
  });
  const text = (lines: readonly string[]): string => lines.map((l) => `      ${l}`).join('\n');
  return { enter: text(enter), fetch: text(fetch), put: text(put) };
}
