import { declareMade, madeOf } from './packed.js';
import { declareParameters, declareStorage, type ElementType, type ParameterField } from './program.js';

/** What is done to the finished elements; see shaders/chain.ts. */
export interface Finish {
  readonly name: string;
  /** Functions up to `chain(z, element, other0, ..)`. */
  readonly functions: string;
  readonly scalars: readonly string[];
  /** Types of the operands it reads beside the elements. */
  readonly others: readonly ElementType[];
}

/** What a product's kernel has beside the product, whatever its cut. */
export interface Parts {
  readonly hasBias: boolean;
  readonly finish: Finish | undefined;
  readonly modulated: boolean;
  /** Element (row, column) goes to place `places[row * n + column]` of its batch's line, or nowhere: NOWHERE. */
  readonly picked: boolean;
  /** B is stored as float16, two elements a word. */
  readonly halves: boolean;
  /** The result, the bias and what the finish reads lie in fours of columns; results are then vectors. */
  readonly vectors: boolean;
  /** Columns of C lie together in fours, and are stored so; of cuts whose results come in them. */
  readonly outFours: boolean;
  /** A is stored as float16, in eights of k. */
  readonly aHalves: boolean;
  /** C is stored as float16; its columns lie in fours. */
  readonly outHalves: boolean;
}

/** In the places of a picked product: the element is not stored. */
export const NOWHERE = 0xffff_ffff;

export function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

export function fieldsOf({ finish, modulated, picked }: Parts): ParameterField[] {
  const scalar = (name: string, type: 'u32' | 'f32' = 'u32'): ParameterField => ({ name, type, length: 1 });
  const place = (o: string): ParameterField[] =>
    ['start', 'row', 'column', 'outer', 'inner'].map((part) => scalar(`${o}_${part}`));
  return [
    ...['m', 'n', 'k', 'batches', 'batch_inner'].map((n) => scalar(n)),
    ...['a', 'b', 'out', 'bias'].flatMap(place),
    scalar('alpha', 'f32'),
    scalar('beta', 'f32'),
    ...(modulated ? [...place('s'), scalar('gap')] : []),
    ...(picked ? [scalar('places_start')] : []),
    ...(finish?.others ?? []).flatMap((_, i) => place(`other${i}`)),
    ...(finish?.scalars ?? []).map((name) => scalar(name, 'f32')),
  ];
}

/**
 * A matrix and the function that cuts read it with: an element by its place, or four by a quarter of theirs. Whatever it is
 * stored as, they get f32.
 */
function matrix(binding: number, name: string, isVector: boolean, halves: boolean, isEight: boolean): string {
  if (isEight) return `@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec4<u32>>;`;
  const bind = (type: string): string =>
    `@group(0) @binding(${binding}) var<storage, read> ${name}: array<${type}>;\nfn load_${name}(at: u32)`;
  if (!halves) {
    const type = isVector ? 'vec4<f32>' : 'f32';
    return `${bind(type)} -> ${type} { return ${name}[at]; }`;
  }
  return isVector
    ? `${bind('vec2<u32>')} -> vec4<f32> { let four = ${name}[at]; return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y)); }`
    : `${bind('u32')} -> f32 { return unpack2x16float(${name}[at >> 1u] >> ((at & 1u) << 4u)).x; }`;
}

/** Parameters, operands and functions; `a` and `b` in elements, or in vectors of 4; B in words of 8 halves, as A is of float16. */
export function declarations(parts: Parts, vectors: { a?: boolean; b?: boolean; bEights?: boolean } = {}): string {
  const { hasBias, finish, modulated, picked, aHalves, outHalves } = parts;
  const others = finish?.others ?? [];
  const operands: [name: string, type: ElementType][] = [
    ...(hasBias ? [['bias', 'f32'] as [string, ElementType]] : []),
    ...(modulated ? [['s', 'f32'] as [string, ElementType]] : []),
    ...(picked ? [['places', 'u32'] as [string, ElementType]] : []),
    ...others.map((type, i): [string, ElementType] => [`other${i}`, type]),
  ];
  return [
    declareParameters(fieldsOf(parts)),
    matrix(1, 'a', vectors.a ?? false, false, aHalves),
    matrix(2, 'b', vectors.b ?? false, parts.halves, vectors.bEights ?? false),
    ...operands.map(([name, type], i) => declareStorage(3 + i, name, type, 'read', parts.vectors)),
    declareMade(3 + operands.length, 'out', outHalves ? 'f16' : 'f32', parts.vectors || parts.outFours),
    ...(finish ? [finish.functions] : []),
  ].join('\n');
}

/** A register of results, and the row and column of C it stands for, relative to `row` and `column`. */
export interface Result {
  readonly value: string;
  readonly row: number;
  readonly column: number;
}

/**
 * Statements that finish and store results. Everything that the elements share is read once: software adapters inline
 * without mercy.
 */
export function storeAll(
  results: readonly Result[],
  { hasBias, finish, picked, vectors, outFours, outHalves }: Parts,
): string {
  const columns = [...new Set(results.map((r) => r.column))];
  const rows = [...new Set(results.map((r) => r.row))];
  const lines = [
    'let alpha = blocks[z].alpha;',
    'let out_at = blocks[z].out_start + outer * blocks[z].out_outer + inner * blocks[z].out_inner + row * blocks[z].out_row;',
    'let out_row = blocks[z].out_row;',
    ...columns.map((c) => `let out_column${c} = (column + ${c}u) * blocks[z].out_column;`),
  ];
  const read = [...(hasBias ? ['bias'] : []), ...(finish?.others ?? []).map((_, i) => `other${i}`)];
  if (hasBias) lines.push('let beta = blocks[z].beta;');
  for (const o of read) {
    lines.push(
      `let ${o}_at = blocks[z].${o}_start + outer * blocks[z].${o}_outer + inner * blocks[z].${o}_inner + row * blocks[z].${o}_row;`,
      `let ${o}_row = blocks[z].${o}_row;`,
      ...columns.map((c) => `let ${o}_column${c} = (column + ${c}u) * blocks[z].${o}_column;`),
    );
  }
  for (const r of rows) {
    const inRow = results.filter((result) => result.row === r);
    const elements = inRow.map(({ value, column: c }) => {
      const place = (o: string): string => {
        const at = `${o}_at + ${r}u * ${o}_row + ${o}_column${c}`;
        return vectors ? `(${at}) / 4u` : at;
      };
      const element = (o: string): string => `${o}[${place(o)}]`;
      const finished = `alpha * ${value}${hasBias ? ` + beta * ${element('bias')}` : ''}`;
      const others = (finish?.others ?? []).map((_, i) => element(`other${i}`));
      if (vectors) {
        const four = finish
          ? `vec4<f32>(${range(4)
              .map(
                (e) =>
                  `chain(${['z', 'made', ...others.map((_, i) => `of${i}`)].map((v, i) => (i === 0 ? v : `${v}.${'xyzw'[e]}`)).join(', ')})`,
              )
              .join(', ')})`
          : 'made';
        const read = others.map((o, i) => `let of${i} = ${o};`).join(' ');
        return `if (column + ${c}u < n) { let made = ${finished}; ${read} ${element('out')} = ${four}; }`;
      }
      const result = finish ? `chain(${['z', finished, ...others].join(', ')})` : finished;
      if (outFours) return result;
      if (picked) {
        const placed = `let place = places[blocks[z].places_start + (row + ${r}u) * n + column + ${c}u];`;
        const at = 'out_at + place * blocks[z].out_column';
        return `if (column + ${c}u < n) { ${placed} if (place != ${NOWHERE}u) { out[${at}] = ${result}; } }`;
      }
      const store = `${element('out')} = ${result};`;
      return columns.length === 1 ? store : `if (column + ${c}u < n) { ${store} }`;
    });
    const stores =
      outFours && !vectors
        ? range(elements.length / 4).map((f) => {
            const [c, four] = [inRow[4 * f]!.column, elements.slice(4 * f, 4 * f + 4).join(', ')];
            return `if (column + ${c}u < n) { let four = vec4<f32>(${four}); out[(out_at + ${r}u * out_row + out_column${c}) / 4u] = ${outHalves ? madeOf('four', 'f16', true) : 'four'}; }`;
          })
        : elements;
    lines.push(`if (row + ${r}u < m) {`, ...stores.map((e) => `  ${e}`), '}');
  }
  return lines.map((l) => `    ${l}`).join('\n');
}

/**
 * Opens the entry point of a kernel whose workgroups make a tile of tileM x tileN after another: sizes and steps.
 * @param more builtins that it takes besides.
 */
export function enterTiles(threads: number, tileM: number, tileN: number, more = ''): string {
  return `@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32${more}) {
  let z = group.z;
  let m = blocks[z].m;
  let n = blocks[z].n;
  let k = blocks[z].k;
  let a_row = blocks[z].a_row;
  let a_column = blocks[z].a_column;
  let b_row = blocks[z].b_row;
  let b_column = blocks[z].b_column;
  let tiles_n = (n + ${tileN - 1}u) / ${tileN}u;
  let tiles_m = (m + ${tileM - 1}u) / ${tileM}u;
  let tiles = tiles_m * tiles_n * blocks[z].batches;`;
}

/** Where tile number `tile` begins, in the result and in both operands. */
export function placeTile(tileM: number, tileN: number): string {
  return `    let batch = tile / (tiles_m * tiles_n);
    let in_batch = tile % (tiles_m * tiles_n);
    let row0 = (in_batch / tiles_n) * ${tileM}u;
    let column0 = (in_batch % tiles_n) * ${tileN}u;
    let outer = batch / blocks[z].batch_inner;
    let inner = batch % blocks[z].batch_inner;
    let a_base = blocks[z].a_start + outer * blocks[z].a_outer + inner * blocks[z].a_inner;
    let b_base = blocks[z].b_start + outer * blocks[z].b_outer + inner * blocks[z].b_inner;`;
}

/** Neighbouring invocations make a patch of the tile: 32 of 4 x 8 read fewer different words than 32 in a line. */
const PATCH = { rows: 4, columns: 8 };

/** Statements that tell an invocation its place among those of the tile. */
export function placeThread(threadsM: number, threadsN: number): string {
  const { rows, columns } = PATCH;
  if (threadsM % rows !== 0 || threadsN % columns !== 0) {
    return `  let my_row = thread / ${threadsN}u;\n  let my_column = thread % ${threadsN}u;`;
  }
  const across = threadsN / columns;
  return `  let block = thread / ${rows * columns}u;
  let my_row = block / ${across}u * ${rows}u + thread / ${columns}u % ${rows}u;
  let my_column = block % ${across}u * ${columns}u + thread % ${columns}u;`;
}
