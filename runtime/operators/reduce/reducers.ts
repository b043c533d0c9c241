import { bytesPerElement, isFloat, type DataType } from '../../graph/dtype.js';
import { NAN_EXTREMES, type ArithmeticType } from '../elementwise/types.js';

/** The statements of a reduction; see shaders/reduce.ts. */
export interface ReduceKernel {
  readonly state: string;
  readonly update: string;
  readonly finish: string;
  readonly helpers?: string;
}

/** A reduction: its WGSL for each type it works on, and a line of reference over all the elements. */
export interface Reducer {
  readonly type: string;
  readonly kernel: (type: ArithmeticType) => ReduceKernel;
  readonly reference: (x: Float64Array, dtype: DataType) => number;
  /** Of one element it is that element, so that a reduction over no axes is a copy. */
  readonly keepsOne?: true;
}

/** The least and the greatest value of a type: the extremes of nothing. */
export function rangeOf(dtype: DataType): readonly [least: number, most: number] {
  if (isFloat(dtype)) return [-Infinity, Infinity];
  if (dtype === 'bool') return [0, 1];
  const values = 2 ** (8 * bytesPerElement(dtype));
  return dtype.startsWith('u') ? [0, values - 1] : [-values / 2, values / 2 - 1];
}

const sum = (x: Float64Array): number => x.reduce((s, v) => s + v, 0);

/** WGSL of the types' arithmetic: operators have no meaning on the two words of a 64-bit integer. */
interface Arithmetic {
  readonly wgsl: string;
  readonly zero: string;
  readonly one: string;
  readonly add: (a: string, b: string) => string;
  readonly mul: (a: string, b: string) => string;
  readonly abs: (a: string) => string;
  readonly divide: (a: string, count: string) => string;
  readonly larger: (a: string, b: string) => string;
  readonly smaller: (a: string, b: string) => string;
  /** What no element is smaller, and none is larger than. Infinities come out of bits that are not constants. */
  readonly least: string;
  readonly most: string;
}

const plain = (wgsl: string, zero: string, one: string, least: string, most: string): Arithmetic => ({
  wgsl,
  zero,
  one,
  least,
  most,
  add: (a, b) => `${a} + ${b}`,
  mul: (a, b) => `${a} * ${b}`,
  abs: (a) => `abs(${a})`,
  divide: (a, count) => `${a} / ${wgsl}(${count})`,
  larger: (a, b) => `max(${a}, ${b})`,
  smaller: (a, b) => `min(${a}, ${b})`,
});

const long = (type: 'i64' | 'u64', least: string, most: string): Arithmetic => ({
  wgsl: 'vec2<u32>',
  zero: 'vec2<u32>()',
  one: 'vec2<u32>(1u, 0u)',
  least,
  most,
  add: (a, b) => `i64_add(${a}, ${b})`,
  mul: (a, b) => `i64_mul(${a}, ${b})`,
  abs: (a) => (type === 'i64' ? `i64_abs(${a})` : a),
  divide: (a, count) => `${type}_div(${a}, vec2<u32>(${count}, 0u))`,
  larger: (a, b) => `select(${a}, ${b}, vec2<bool>(${type}_less(${a}, ${b})))`,
  smaller: (a, b) => `select(${b}, ${a}, vec2<bool>(${type}_less(${a}, ${b})))`,
});

const ALL_ONES = '0xffffffffu';
const ARITHMETIC: Record<ArithmeticType, Arithmetic> = {
  f32: {
    ...plain('f32', '0.0', '1.0', 'bitcast<f32>(0xff800000u | zero)', 'bitcast<f32>(0x7f800000u | zero)'),
    larger: (a, b) => `larger(${a}, ${b})`,
    smaller: (a, b) => `smaller(${a}, ${b})`,
  },
  i32: plain('i32', '0', '1', 'bitcast<i32>(0x80000000u)', '0x7fffffff'),
  u32: plain('u32', '0u', '1u', '0u', ALL_ONES),
  i64: long('i64', 'vec2<u32>(0u, 0x80000000u)', `vec2<u32>(${ALL_ONES}, 0x7fffffffu)`),
  u64: long('u64', 'vec2<u32>()', `vec2<u32>(${ALL_ONES})`),
};

/** A reduction that carries one value. */
const folding =
  (initial: (a: Arithmetic) => string, step: (a: Arithmetic) => string, finish: (a: Arithmetic) => string) =>
  (type: ArithmeticType): ReduceKernel => {
    const a = ARITHMETIC[type];
    return {
      state: `var acc: ${a.wgsl} = ${initial(a)};`,
      update: `acc = ${step(a)};`,
      finish: finish(a),
      helpers: type === 'f32' ? NAN_EXTREMES : '',
    };
  };

/** Elements as floats, and a float as the integer below it in magnitude. */
const BY_FLOAT: Record<
  Exclude<ArithmeticType, 'f32'>,
  { readonly from: string; readonly to: (x: string) => string }
> = {
  i32: { from: 'f32(x)', to: (x) => `i32(${x})` },
  u32: { from: 'f32(x)', to: (x) => `u32(${x})` },
  i64: { from: 'i64_to_f32(x)', to: (x) => `i64_from_f32(${x})` },
  u64: { from: 'u64_to_f32(x)', to: (x) => `u64_from_f32(${x})` },
};

/** A reduction whose result is a float's; of integers it is computed in float32 and truncated. */
const byFloat =
  (kernel: ReduceKernel, whole: Pick<ReduceKernel, 'finish' | 'helpers'> = kernel) =>
  (type: ArithmeticType): ReduceKernel => {
    if (type === 'f32') return kernel;
    const { from, to } = BY_FLOAT[type];
    return { ...kernel, ...whole, update: `{ let x = ${from}; ${kernel.update} }`, finish: to(whole.finish) };
  };

// A root that is whole must not be truncated to the number below it.
const WHOLE_ROOT = `
fn whole_root(x: f32) -> f32 {
  let root = round(sqrt(x));
  return select(root, root - 1.0, root * root > x);
}`;

const zero = (a: Arithmetic): string => a.zero;
const acc = (): string => 'acc';
const squares = (a: Arithmetic): string => (a.wgsl === 'f32' ? 'fma(x, x, acc)' : a.add('acc', a.mul('x', 'x')));

export const REDUCERS: readonly Reducer[] = [
  { type: 'ReduceSum', kernel: folding(zero, (a) => a.add('acc', 'x'), acc), reference: sum, keepsOne: true },
  {
    type: 'ReduceMean',
    kernel: folding(
      zero,
      (a) => a.add('acc', 'x'),
      (a) => a.divide('acc', 'count'),
    ),
    reference: (x) => sum(x) / x.length,
  },
  {
    type: 'ReduceMax',
    kernel: folding(
      (a) => a.least,
      (a) => a.larger('acc', 'x'),
      acc,
    ),
    reference: (x, dtype) => x.reduce((a, b) => Math.max(a, b), rangeOf(dtype)[0]),
    keepsOne: true,
  },
  {
    type: 'ReduceMin',
    kernel: folding(
      (a) => a.most,
      (a) => a.smaller('acc', 'x'),
      acc,
    ),
    reference: (x, dtype) => x.reduce((a, b) => Math.min(a, b), rangeOf(dtype)[1]),
    keepsOne: true,
  },
  {
    type: 'ReduceProd',
    kernel: folding(
      (a) => a.one,
      (a) => a.mul('acc', 'x'),
      acc,
    ),
    reference: (x) => x.reduce((p, v) => p * v, 1),
    keepsOne: true,
  },
  {
    type: 'ReduceL1',
    kernel: folding(zero, (a) => a.add('acc', a.abs('x')), acc),
    reference: (x) => sum(x.map(Math.abs)),
  },
  {
    type: 'ReduceL2',
    kernel: byFloat(
      { state: 'var acc = 0.0;', update: 'acc = fma(x, x, acc);', finish: 'sqrt(acc)' },
      { finish: 'whole_root(acc)', helpers: WHOLE_ROOT },
    ),
    reference: (x) => Math.sqrt(sum(x.map((v) => v * v))),
  },
  {
    type: 'ReduceSumSquare',
    kernel: folding(zero, squares, acc),
    reference: (x) => sum(x.map((v) => v * v)),
  },
  {
    type: 'ReduceLogSum',
    kernel: byFloat({ state: 'var acc = 0.0;', update: 'acc = acc + x;', finish: 'log(acc)' }),
    reference: (x) => Math.log(sum(x)),
  },
  {
    type: 'ReduceLogSumExp',
    // The sum is kept in units of the largest exponential so far. The first largest is finite, so that -inf adds nothing.
    kernel: byFloat({
      state: 'var largest = -3.402823e38; var acc = 0.0;',
      update: `if (x > largest) { acc = fma(acc, exp(largest - x), 1.0); largest = x; }
      else { acc += select(exp(x - largest), 1.0, x == largest); }`,
      finish: 'select(largest + log(acc), bitcast<f32>(0xff800000u | zero), acc == 0.0)',
    }),
    reference(x) {
      const largest = x.reduce((a, b) => Math.max(a, b), -Infinity);
      return Number.isFinite(largest) ? largest + Math.log(sum(x.map((v) => Math.exp(v - largest)))) : largest;
    },
  },
];
