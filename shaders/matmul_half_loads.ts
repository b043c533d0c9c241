import type { Loads } from './matmul_loads.js';
import { range } from './matmul_parts.js';

export interface HalfLoads {
  /** Declares, once a tile, where the invocation's units begin and the registers they come into. */
  readonly enter: string;
  /** Starts the loads of the step at `k_next`. Nothing uses what they bring before `put`. */
  readonly fetch: string;
  /** Puts the step at `k_put` into workgroup memory as halves. */
  readonly put: string;
}

export interface HalfLoadsOptions {
  readonly operand: 'a' | 'b';
  readonly loads: Loads;
  /** The operand is stored as float16: what its registers hold is put as it came. */
  readonly halves: boolean;
  /** Rows of A or columns of B in the tile. */
  readonly width: number;
  readonly tileK: number;
  readonly threads: number;
  /** Vectors of 8 halves from a line in workgroup memory to the next. */
  readonly pitch: number;
}

const SIDES = {
  a: { first: 'row0', size: 'm', stride: 'a_row', kStride: 'a_column', base: 'a_base' },
  b: { first: 'column0', size: 'n', stride: 'b_column', kStride: 'b_row', base: 'b_base' },
} as const;

const SIDE = 16;

/**
 * Code that stages one operand of a product on matrix units: runs of 8 elements, or pairs where elements come one by one, so
 * that neighbouring invocations read neighbours. Lines past the edge repeat the last; past the end of k both sides count as 0.
 */
export function halfLoads(options: HalfLoadsOptions): HalfLoads {
  const { operand: o, loads, halves, width, tileK, threads, pitch } = options;
  const { first, size, stride, kStride, base } = SIDES[o];
  const isAcross = loads === 'across';
  const run = loads === 'words' ? 2 : 8;
  const runs = (isAcross ? width : tileK) / run;
  const units = runs * (isAcross ? tileK : width);
  const rounds = range(Math.ceil(units / threads));
  const isRaw = halves && loads !== 'words';
  const unit = (u: number): string => `(thread + ${u * threads}u)`;
  const [line, runOf] = [(u: number) => `${o}_line${u}`, (u: number) => `${o}_run${u}`];
  const parts = loads === 'words' ? [0] : [0, 1];
  const register = (u: number, p: number): string => `${o}${u}_${p}`;
  const type = loads === 'words' ? 'vec2<f32>' : isRaw ? 'vec2<u32>' : 'vec4<f32>';
  const at = (u: number, p: number): string => (isAcross ? `${o}_at${u}_${p}` : `${o}_at${u}`);
  const enter = rounds.flatMap((u) => [
    `let ${line(u)} = ${unit(u)} / ${runs}u;`,
    `let ${runOf(u)} = ${unit(u)} % ${runs}u;`,
    ...(isAcross
      ? parts.map((p) => `let ${at(u, p)} = ${base} + min(${first} + ${runOf(u)} * 8u + ${4 * p}u, ${size} - 4u);`)
      : [`let ${at(u, 0)} = ${base} + min(${first} + ${line(u)}, ${size} - 1u) * ${stride};`]),
    ...parts.map((p) => `var ${register(u, p)} = ${type}();`),
  ]);
  const kOf = (u: number, p: number, from: string): string =>
    isAcross ? `${from} + ${line(u)}` : `${from} + ${runOf(u)} * ${run}u${p > 0 ? ` + ${4 * p}u` : ''}`;
  const load = (u: number, p: number): string => {
    const k = kOf(u, p, 'k_next');
    const read = isRaw ? `${o}` : `load_${o}`;
    const place = isAcross ? `(${at(u, p)} + (${k}) * ${kStride}) / 4u` : `(${at(u, p)} + ${k}) / 4u`;
    if (loads === 'words')
      return `vec2<f32>(load_${o}(${at(u, p)} + (${k}) * ${kStride}), load_${o}(${at(u, p)} + (${k} + 1u) * ${kStride}))`;
    return isRaw ? `${read}[${place}]` : `${read}(${place})`;
  };
  const fetch = rounds.flatMap((u) => parts.map((p) => `${register(u, p)} = ${load(u, p)};`));
  const value = (u: number, p: number): string => {
    const k = kOf(u, p, 'k_put');
    const inside = loads === 'words' ? `vec2<u32>(${k}) + vec2<u32>(0u, 1u) < vec2<u32>(k)` : `${k} < k`;
    return `select(${type}(), ${register(u, p)}, ${inside})`;
  };
  const put = rounds.map((u) => {
    const lineAt = `${o}_tile[${line(u)} / ${SIDE}u][${line(u)} % ${SIDE}u * ${pitch}u`;
    const both = parts.map((p) => value(u, p)).join(', ');
    const store =
      loads === 'words'
        ? `${lineAt} + ${runOf(u)} / 4u][${runOf(u)} % 4u] = pack2x16float(${value(u, 0)});`
        : `${lineAt} + ${runOf(u)}] = ${isRaw ? `vec4<u32>(${both})` : `halves(${both})`};`;
    return `${(u + 1) * threads > units ? `if (${unit(u)} < ${units}u) ` : ''}{ ${store} }`;
  });
  const text = (lines: readonly string[]): string => lines.map((l) => `      ${l}`).join('\n');
  return { enter: text(enter), fetch: text(fetch), put: text(put) };
}
