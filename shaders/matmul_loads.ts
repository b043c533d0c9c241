import { range } from './matmul_parts.js';

/**
 * How operands come from memory: `words`, whatever their strides; `along`, four k of a row or column in one load;
 * `across`, four columns of one k in one load.
 */
export type Loads = 'words' | 'along' | 'across';

/** In the names of kernels. */
export const LOADS_LETTERS: Readonly<Record<Loads, string>> = { words: 'w', along: 'k', across: 'n' };

/** What an invocation stages of an operand in a step: elements that lie together in workgroup memory. */
export interface Unit {
  /** Its line in the tile: the row of A, or the column of B; of `across`, the k. */
  readonly line: string;
  /** Which run of the line it is. */
  readonly run: string;
  /** The elements by fours, zero past the end of k, once `fetch` has brought them. */
  readonly values: readonly string[];
}

export interface OperandLoads {
  /** Declares, once a tile, where the invocation's units begin and the registers they come into. */
  readonly enter: string;
  /** Starts the loads of the step at `k_next`. Nothing uses what they bring before `put`, so that they can take their time. */
  readonly fetch: string;
  /** Hands the step at `k_put` to `store`, a statement that puts a unit into workgroup memory. */
  put(store: (unit: Unit) => string): string;
}

export interface OperandOptions {
  readonly operand: 'a' | 'b';
  readonly loads: Loads;
  /** Rows of A or columns of B in the tile. */
  readonly width: number;
  readonly tileK: number;
  readonly threads: number;
}

/** Elements of a unit. */
const ELEMENTS = 4;

/** Names of an operand's other dimension: its first index in the tile, its size, its stride, and the stride along k. */
const SIDES = {
  a: { first: 'row0', size: 'm', stride: 'a_row', kStride: 'a_column', base: 'a_base' },
  b: { first: 'column0', size: 'n', stride: 'b_column', kStride: 'b_row', base: 'b_base' },
} as const;

/**
 * Code that stages one operand of a tiled product. Rows and columns past the edge repeat the last ones; what they make is
 * not stored. Past the end of k, where loads find something else or run out of the buffer, both sides count as zero.
 */
export function operandLoads({ operand: o, loads, width, tileK, threads }: OperandOptions): OperandLoads {
  const { first, size, stride, kStride, base } = SIDES[o];
  const isAcross = loads === 'across';
  const run = ELEMENTS;
  const runs = (isAcross ? width : tileK) / run;
  const units = isAcross ? tileK * runs : width * runs;
  const rounds = range(Math.ceil(units / threads));
  const fours = range(run / 4);
  const line = (u: number): string => `${o}_line${u}`;
  const at = (u: number, f: number): string => (isAcross ? `${o}_at${u}_${f}` : `${o}_at${u}`);
  const register = (u: number, f: number): string => `${o}${u}_${f}`;
  const enter = rounds
    .flatMap((u) => [
      `let ${line(u)} = (thread + ${u * threads}u) / ${runs}u;`,
      `let ${o}_run${u} = (thread + ${u * threads}u) % ${runs}u;`,
      ...(isAcross
        ? fours.map(
            (f) => `let ${at(u, f)} = ${base} + min(${first} + ${o}_run${u} * ${run}u + ${4 * f}u, ${size} - 4u);`,
          )
        : [`let ${at(u, 0)} = ${base} + min(${first} + ${line(u)}, ${size} - 1u) * ${stride};`]),
      ...fours.map((f) => `var ${register(u, f)} = vec4<f32>();`),
    ])
    .map((s) => `    ${s}`)
    .join('\n');
  /** The k of the first element of four `f`, in the step that begins at `from`. */
  const kOf = (u: number, f: number, from: string): string =>
    isAcross ? `${from} + ${line(u)}` : `${from} + ${o}_run${u} * ${run}u + ${4 * f}u`;
  const load = (u: number, f: number): string => {
    const k = kOf(u, f, 'k_next');
    switch (loads) {
      case 'words':
        return `vec4<f32>(${range(4)
          .map((e) => `load_${o}(${at(u, f)} + (${k} + ${e}u) * ${kStride})`)
          .join(', ')})`;
      case 'along':
        return `load_${o}((${at(u, f)} + ${k}) / 4u)`;
      case 'across':
        return `load_${o}((${at(u, f)} + (${k}) * ${kStride}) / 4u)`;
      default:
        throw new Error(`unknown loads ${loads satisfies never}`);
    }
  };
  const value = (u: number, f: number): string => {
    const k = kOf(u, f, 'k_put');
    const isInside = loads === 'words' ? `vec4<u32>(${k}) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(k)` : `${k} < k`;
    return `select(vec4<f32>(), ${register(u, f)}, ${isInside})`;
  };
  return {
    enter,
    fetch: rounds.flatMap((u) => fours.map((f) => `      ${register(u, f)} = ${load(u, f)};`)).join('\n'),
    put: (store) =>
      rounds
        .map((u) => {
          const unit = { line: line(u), run: `${o}_run${u}`, values: fours.map((f) => value(u, f)) };
          const guard = (u + 1) * threads > units ? `if (thread + ${u * threads}u < ${units}u) ` : '';
          return `      ${guard}{ ${store(unit)} }`;
        })
        .join('\n'),
  };
}
