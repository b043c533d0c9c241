import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { ERROR_BUFFER } from './errors.js';
import { declareRead, declareReadFours, readElement, readType, type FourType, type StoredType } from './packed.js';
import { declareParameters, declareStorage, listItem, type ParameterField, type WebGpuProgram } from './program.js';

/** An operand that the body addresses by coordinates of its own. */
export interface IndexedOperand {
  readonly name: string;
  readonly type: StoredType;
  readonly rank: number;
  /** The body reads it with readFour, and with nothing else. */
  readonly fours?: boolean;
}

export interface IndexedOptions {
  /** Names the body: two programs of one name, operands and rank have the same body. */
  readonly name: string;
  readonly reads: readonly IndexedOperand[];
  readonly writes: readonly IndexedOperand[];
  /** Dimensions of the space that the invocations walk. */
  readonly rank: number;
  /** Further parameters, which the body reads as `p.NAME`, or with `item`. */
  readonly fields: readonly ParameterField[];
  readonly helpers: string;
  readonly reportsErrors: boolean;
  readonly workgroupSize: number;
  /** Statements for one element of the space; they see its linear index `i`, its coordinates `c0`, `c1`, .. and `z`. */
  body(access: IndexedAccess): string;
}

/** How a body's statements reach memory and parameters. */
export interface IndexedAccess {
  /** The element of `operand` at these coordinates, as an expression that can be assigned to where the operand is written. */
  at(operand: string, coordinates: readonly string[]): string;
  /** Where in memory that is, in elements. */
  place(operand: string, coordinates: readonly string[]): string;
  /** Item `index` of a list of parameters. */
  item(list: string, index: number): string;
}

/** The coordinates of an element of a space of `rank` dimensions, as bodies name them. */
export function coordinates(rank: number): string[] {
  return Array.from({ length: rank }, (_, d) => `c${d}`);
}

/** WGSL type conversions that bodies share: an index as the two words of an int64, and its place in its axis. */
export const INDEX_HELPERS = `
fn words_i32(a: i32) -> vec2<u32> { return vec2<u32>(bitcast<u32>(a), select(0u, 0xffffffffu, a < 0)); }
fn words_i64(a: vec2<u32>) -> vec2<u32> { return a; }
// Where an index points in an axis of \`size\`, negative ones counted from the end; OUTSIDE where it is not in range.
const OUTSIDE = 0xffffffffu;
fn place(raw: vec2<u32>, size: u32) -> u32 {
  let low = bitcast<i32>(raw.x);
  let at = select(u32(low), size - u32(-low), low < 0);
  return select(OUTSIDE, at, raw.y == select(0u, 0xffffffffu, low < 0) && at < size);
}`;

/** The order of uint64, which INT64 reads as signed. */
export const WORDS_LESS = `
fn words_less(a: vec2<u32>, b: vec2<u32>) -> bool { return a.y < b.y || (a.y == b.y && a.x < b.x); }`;

/** A kernel that computes an element of a space from its coordinates: everything whose addresses are not plain strides. */
export function indexed(options: IndexedOptions): WebGpuProgram {
  const { name, reads, writes, rank, helpers, reportsErrors, workgroupSize } = options;
  const operands = [...reads, ...writes];
  const list = (length: number): number => Math.max(2, length);
  const fields: ParameterField[] = [
    { name: 'count', type: 'u32', length: 1 },
    ...operands.map((o): ParameterField => ({ name: `${o.name}_start`, type: 'u32', length: 1 })),
    ...options.fields.filter((f) => f.length === 1),
    { name: 'shape', type: 'u32', length: list(rank) },
    ...operands.map((o): ParameterField => ({ name: `${o.name}_strides`, type: 'u32', length: list(o.rank) })),
    ...options.fields.filter((f) => f.length > 1),
  ];
  const split = coordinates(rank).flatMap((c, d) =>
    d === 0 ? [] : [`let ${c} = rest % ${listItem('shape', d)};`, `rest = rest / ${listItem('shape', d)};`],
  );
  // From the last dimension to the first, two statements each.
  const inner = Array.from({ length: Math.max(0, rank - 1) }, (_, d) => split.slice(2 * d, 2 * d + 2)).reverse();
  const typeOf = new Map(operands.map((o) => [o.name, o.type]));
  const offsets = (operand: string, coords: readonly string[]): string =>
    coords.map((c, d) => `(${c}) * ${listItem(`${operand}_strides`, d)}`).join(' + ') || '0u';
  const access: IndexedAccess = {
    at: (operand, coords) =>
      readElement(operand, typeOf.get(operand)!, `blocks[z].${operand}_start`, offsets(operand, coords)),
    place: (operand, coords) => `blocks[z].${operand}_start + ${offsets(operand, coords)}`,
    item: listItem,
  };
  const source = wgsl`
${declareParameters(fields)}
${reads.map((o, b) => (o.fours ? declareReadFours(b + 1, o.name, o.type as FourType) : declareRead(b + 1, o.name, o.type))).join('\n')}
${writes.map((o, b) => declareStorage(reads.length + b + 1, o.name, readType(o.type), 'read_write')).join('\n')}
#if ${reportsErrors}
${ERROR_BUFFER(operands.length + 1)}
#endif
${helpers}
@compute @workgroup_size(${workgroupSize})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = id.z;
  let count = blocks[z].count;
  for (var i = id.x; i < count; i += groups.x * ${workgroupSize}u) {
    var rest = i;
${inner.flat().join('\n')}
#if ${rank > 0}
    let c0 = rest;
#endif
${options.body(access).replaceAll(/\bp\./g, 'blocks[z].')}
  }
}`;
  const types = operands.map((o) => `${o.type}${o.fours ? 'v' : ''}${o.rank}`).join('_');
  return { key: `${name}_${types}_r${rank}_w${workgroupSize}`, source, fields, reportsErrors };
}
