import { deviceType, type DeviceType } from '../../compile/view.js';
import type { DataType } from '../../graph/dtype.js';
import type { NodeContext } from '../operator.js';

/** What arithmetic a value takes part in: its device type, but unsigned 64-bit integers apart from signed ones. */
export type ArithmeticType = DeviceType | 'u64';

export function arithmeticType(dtype: DataType): ArithmeticType {
  return dtype === 'uint64' ? 'u64' : deviceType(dtype);
}

/** Integers narrower than the words they are held in, and the bits that are left over. */
const SPARE_BITS: Readonly<Partial<Record<DataType, number>>> = { int8: 24, int16: 16, uint8: 24, uint16: 16 };

/** `expression`, wrapped around as arithmetic of the narrow integer type `dtype` does; others are as they are. */
export function wrapped(dtype: DataType, expression: string): string {
  const bits = SPARE_BITS[dtype];
  return bits === undefined ? expression : `((${expression}) << ${bits}u) >> ${bits}u`;
}

/** Name of the variant of kernel `name` for `dtype`: types that share a device type but not their arithmetic differ. */
export function variantName(name: string, dtype: DataType): string {
  return dtype === 'uint64' || SPARE_BITS[dtype] !== undefined ? `${name}_${dtype}` : name;
}

const DOUBLES: ReadonlySet<DataType> = new Set(['float32', 'float64']);

/**
 * The type that inputs share. float32 beside float64 counts as float64: constants of float64 models arrive narrowed.
 * @throws BraidError MODEL_INVALID for any other mixture.
 */
export function commonType(context: NodeContext, dtypes: readonly DataType[]): DataType {
  const [first] = dtypes as readonly [DataType];
  const odd = dtypes.find((t) => t !== first);
  if (odd === undefined) return first;
  if (dtypes.every((t) => DOUBLES.has(t))) return 'float64';
  throw context.invalid(`inputs of different types ${first} and ${odd}`);
}

/** A WGSL test for `a < b`. */
export function lessThan(type: ArithmeticType, a: string, b: string): string {
  if (type === 'i64') return `i64_less(${a}, ${b})`;
  return type === 'u64' ? `u64_less(${a}, ${b})` : `${a} < ${b}`;
}

/** WGSL may assume that no float is NaN, so a test for it has to look at the bits. */
export const IS_NAN = `
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }`;

/** The larger and the smaller of two, NaN if either is, as numpy has it. */
export const NAN_EXTREMES = `${IS_NAN}
fn larger(a: f32, b: f32) -> f32 { return select(select(max(a, b), b, is_nan(b)), a, is_nan(a)); }
fn smaller(a: f32, b: f32) -> f32 { return select(select(min(a, b), b, is_nan(b)), a, is_nan(a)); }`;
