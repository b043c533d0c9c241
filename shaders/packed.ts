import { declareStorage, type ElementType } from './program.js';

/**
 * Element types of operands that are read. The last two hold weights in fewer bits; they are read as words and widened to
 * f32 by what every adapter has (no `shader-f16`), so that one source serves all of them.
 *
 * `f16`: IEEE halves, two a word, the first in the low bits. An adapter may take those below 2^-14 as 0.
 * `i8`: rows of signed codes, four a word, each row behind its scale and its offset, float32 both: an element is
 * offset + scale * code. Counted in bytes.
 */
export type StoredType = ElementType | 'f16' | 'i8';

/** An element type of results: `f16` is f32, rounded as it is stored. */
export type MadeType = ElementType | 'f16';

/** The directive that a program takes which stores single halves; those that come in fours are words, which any adapter stores. */
export function enableMade(type: MadeType, inFours: boolean): string {
  return type === 'f16' && !inFours ? 'enable f16;' : '';
}

/** The binding of results, single elements or fours of f32. */
export function declareMade(binding: number, name: string, type: MadeType, inFours: boolean): string {
  if (type !== 'f16') return declareStorage(binding, name, type, 'read_write', inFours);
  return `@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<${inFours ? 'vec2<u32>' : 'f16'}>;`;
}

/** What is stored of `value`: a single element, or four as a vec4<f32>. */
export function madeOf(value: string, type: MadeType, inFours: boolean): string {
  if (type !== 'f16') return value;
  return inFours ? `vec2<u32>(pack2x16float((${value}).xy), pack2x16float((${value}).zw))` : `f16(${value})`;
}

/** The type of an element once it is read. */
export function readType(type: StoredType): ElementType {
  return type === 'f16' || type === 'i8' ? 'f32' : type;
}

/** Types of which four neighbours can be read at once. */
export type FourType = 'f32' | 'f16' | 'i8';

/** The binding of an operand that is read, and the functions that readElement calls. */
export function declareRead(binding: number, name: string, type: StoredType): string {
  switch (type) {
    case 'f16':
      return `${declareStorage(binding, name, 'u32', 'read')}
fn ${name}_half(at: u32) -> f32 { return unpack2x16float(${name}[at >> 1u] >> ((at & 1u) << 4u)).x; }`;
    case 'i8':
      return `${declareCodes(binding, name)}
fn ${name}_code(at: u32) -> f32 { return f32(bitcast<i32>(${name}[at >> 2u] << (24u - ((at & 3u) << 3u))) >> 24u); }`;
    default:
      return declareStorage(binding, name, type, 'read');
  }
}

/** As declareRead, for readFour alone. */
export function declareReadFours(binding: number, name: string, type: FourType): string {
  const bind = (vector: string): string =>
    `@group(0) @binding(${binding}) var<storage, read> ${name}: array<${vector}>;
fn ${name}_four(at: u32) -> vec4<f32> { let four = ${name}[at >> 2u]; return`;
  switch (type) {
    case 'f16':
      return `${bind('vec2<u32>')} vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y)); }`;
    case 'i8':
      return `${declareCodes(binding, name)}
fn ${name}_four(at: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(${name}[at >> 2u]) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}`;
    default:
      return `${bind('vec4<f32>')} four; }`;
  }
}

function declareCodes(binding: number, name: string): string {
  return `${declareStorage(binding, name, 'u32', 'read')}
// Scale and offset of the row whose codes begin at \`row\`.
fn ${name}_row(row: u32) -> vec2<f32> {
  let at = row / 4u - 2u;
  return vec2<f32>(bitcast<f32>(${name}[at]), bitcast<f32>(${name}[at + 1u]));
}`;
}

/** A declaration that reading elements of the row at `row` takes, once a row. */
export function enterRow(name: string, type: StoredType, row: string): string {
  return type === 'i8' ? `let ${name}_scale = ${name}_row(${row});` : '';
}

/** Element `at` places into the row at `row`, which enterRow was called for. */
export function readElement(name: string, type: StoredType, row: string, at: string): string {
  switch (type) {
    case 'f16':
      return `${name}_half(${row} + ${at})`;
    case 'i8':
      return `fma(${name}_code(${row} + ${at}), ${name}_scale.x, ${name}_scale.y)`;
    default:
      return `${name}[${row} + ${at}]`;
  }
}

/** As readElement, of four elements as a vec4<f32>, where `row + at` is a multiple of 4. */
export function readFour(name: string, type: FourType, row: string, at: string): string {
  const four = `${name}_four(${row} + ${at})`;
  return type === 'i8' ? `fma(${four}, vec4<f32>(${name}_scale.x), vec4<f32>(${name}_scale.y))` : four;
}
