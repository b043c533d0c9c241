import type { Attributes } from '../attributes.js';
import { IS_NAN, NAN_EXTREMES, type ArithmeticType } from './types.js';

/** Scalar parameters of an elementwise operator, taken from its attributes, by name. */
export type Scalars = Readonly<Record<string, number>>;

/** An elementwise operator: a line of WGSL a type, a line of reference. */
export interface ElementwiseEntry {
  readonly type: string;
  readonly opsets?: readonly [first: number, last: number];
  /** Number of inputs; `variadic` folds a two-input expression over one or more. */
  readonly inputs: 1 | 2 | 3 | 'variadic';
  /** `same` as the first input's type, or bool. */
  readonly result: 'same' | 'bool';
  /** WGSL over `a`, `b`, `c` and scalars `p.NAME`, for each type it works on. */
  readonly wgsl: Partial<Record<ArithmeticType, string>>;
  /** Inputs may differ in type, the result has the first's: WGSL for the first type and another one beside it. */
  readonly mixes?: (first: ArithmeticType, other: ArithmeticType) => string | undefined;
  /** Of a variadic operator: the result is divided by the number of inputs. */
  readonly averages?: true;
  readonly helpers?: string;
  readonly scalars?: (attributes: Attributes) => Scalars;
  /** Scalar operations an element, for the cost model. */
  readonly operations?: number;
  readonly reference: (x: readonly number[], p: Scalars) => number;
}

const ERF = `
fn erf(x: f32) -> f32 {
  // Abramowitz and Stegun 7.1.26; absolute error at most 1.5e-7. Near 0 the series keeps the relative error small.
  let t = 1.0 / (1.0 + 0.3275911 * abs(x));
  let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let x2 = x * x;
  let series = 1.1283791671 * x * (1.0 - x2 * (0.33333333 - x2 * (0.1 - x2 * (0.023809524 - x2 * 0.0046296296))));
  return select(sign(x) * (1.0 - poly * exp(-x2)), series, abs(x) < 0.5);
}`;

const POW = `
fn power(a: f32, b: f32) -> f32 {
  if (b == 2.0) { return a * a; }
  if (b == 0.5) { return sqrt(a); }
  if (b == 1.0) { return a; }
  if (a < 0.0 && b == floor(b)) {
    let magnitude = pow(-a, b);
    return select(magnitude, -magnitude, abs(b) - 2.0 * floor(abs(b) * 0.5) == 1.0);
  }
  return pow(a, b);
}
// Exact wherever the result is, which pow is not: a whole result must not be truncated to the number below it.
fn power_whole(a: f32, b: f32) -> f32 {
  if (b != floor(b) || abs(b) > 64.0) { return power(a, b); }
  var result = 1.0;
  for (var e = i32(abs(b)); e > 0; e--) { result *= a; }
  return select(result, 1.0 / result, b < 0.0);
}
fn power_i32(a: i32, b: i32) -> i32 {
  var result = 1;
  var base = a;
  for (var e = max(b, 0); e > 0; e = e >> 1u) {
    if ((e & 1) == 1) { result *= base; }
    base *= base;
  }
  return select(result, 0, b < 0 && abs(a) != 1);
}
fn power_u32(a: u32, b: u32) -> u32 {
  var result = 1u;
  var base = a;
  for (var e = b; e > 0u; e = e >> 1u) {
    if ((e & 1u) == 1u) { result *= base; }
    base *= base;
  }
  return result;
}`;

/** Powers of mixed types: floats take any exponent as float, integers an integer one exactly and a float one by floats. */
function powerOf(first: ArithmeticType, other: ArithmeticType): string | undefined {
  const float = (type: ArithmeticType, x: string): string =>
    ({ f32: x, i32: `f32(${x})`, u32: `f32(${x})`, i64: `i64_to_f32(${x})`, u64: `u64_to_f32(${x})` })[type];
  const result = `power_whole(${float(first, 'a')}, ${float(other, 'b')})`;
  switch (first) {
    case 'f32':
      return `power(a, ${float(other, 'b')})`;
    case 'i32':
      return `i32(${result})`;
    case 'u32':
      return `u32(${result})`;
    case 'i64':
    case 'u64':
      return other === 'f32' ? `${first}_from_f32(${result})` : undefined;
  }
}

/** Remainders: with the sign of the divisor (Mod), or with that of the dividend (C's fmod). */
const MOD = `
fn mod_f32(a: f32, b: f32, fmod: f32) -> f32 {
  let rest = a - b * trunc(a / b);
  if (fmod != 0.0 || rest == 0.0) { return rest; }
  return select(rest, rest + b, (rest < 0.0) != (b < 0.0));
}
fn mod_i32(a: i32, b: i32, fmod: f32) -> i32 {
  let rest = a % b;
  return select(rest, rest + b, fmod == 0.0 && rest != 0 && (rest < 0) != (b < 0));
}`;

const MOD_I64 = `select(i64_rem(a, b), i64_add(i64_rem(a, b), b),
      vec2<bool>(p.fmod == 0.0 && any(i64_rem(a, b) != vec2<u32>()) && ((i64_rem(a, b).y ^ b.y) >> 31u) == 1u))`;

const TANH = `
fn tanh_stable(x: f32) -> f32 { return tanh(clamp(x, -15.0, 15.0)); }`;

const SOFTPLUS = `
fn softplus(x: f32) -> f32 { return max(x, 0.0) + log(1.0 + exp(-abs(x))); }`;

const SHIFT = `
fn shift_u32(a: u32, b: u32, left: f32) -> u32 {
  // WGSL takes the amount modulo 32; ONNX shifts everything out.
  let shifted = select(a >> (b & 31u), a << (b & 31u), left != 0.0);
  return select(shifted, 0u, b > 31u);
}`;

const GELU = `${ERF}${TANH}
fn gelu(x: f32, by_tanh: f32) -> f32 {
  if (by_tanh != 0.0) { return 0.5 * x * (1.0 + tanh_stable(0.7978845608 * (x + 0.044715 * x * x * x))); }
  return 0.5 * x * (1.0 + erf(x * 0.7071067812));
}`;

const SIGMOID = '1.0 / (1.0 + exp(-a))';

function erf(x: number): number {
  // Maclaurin series for small arguments, continued fraction for the complement beyond: double precision throughout.
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * ((2 / Math.sqrt(Math.PI)) * sum);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

/** Rounds half to even, as ONNX Round does. */
export function roundEven(x: number): number {
  const r = Math.round(x);
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

const unary = (
  type: string,
  f32: string,
  reference: (x: number, p: Scalars) => number,
  { wgsl, ...more }: Partial<ElementwiseEntry> = {},
): ElementwiseEntry => ({
  type,
  inputs: 1,
  result: 'same',
  wgsl: { f32, ...wgsl },
  reference: ([x], p) => reference(x!, p),
  ...more,
});

const binary = (
  type: string,
  wgsl: Partial<Record<ArithmeticType, string>>,
  reference: (a: number, b: number, p: Scalars) => number,
  more: Partial<ElementwiseEntry> = {},
): ElementwiseEntry => ({
  type,
  inputs: 2,
  result: 'same',
  wgsl,
  reference: ([a, b], p) => reference(a!, b!, p),
  ...more,
});

const comparison = (
  type: string,
  operator: string,
  i64: string,
  reference: (a: number, b: number) => boolean,
): ElementwiseEntry => {
  const plain = `select(0u, 1u, a ${operator} b)`;
  const wgsl = {
    f32: plain,
    i32: plain,
    u32: plain,
    i64: `select(0u, 1u, ${i64})`,
    u64: `select(0u, 1u, ${i64.replace('i64', 'u64')})`,
  };
  return { type, inputs: 2, result: 'bool', wgsl, reference: ([a, b]) => Number(reference(a!, b!)) };
};

const logical = (type: string, u32: string, reference: (a: boolean, b: boolean) => boolean): ElementwiseEntry => ({
  type,
  inputs: 2,
  result: 'bool',
  wgsl: { u32: `select(0u, 1u, ${u32})` },
  reference: ([a, b]) => Number(reference(a !== 0, b !== 0)),
});

const test = (
  type: string,
  f32: string,
  reference: (x: number, p: Scalars) => boolean,
  more: Partial<ElementwiseEntry>,
): ElementwiseEntry => ({
  type,
  inputs: 1,
  result: 'bool',
  wgsl: { f32: `select(0u, 1u, ${f32})` },
  reference: ([x], p) => Number(reference(x!, p)),
  ...more,
});

/** Two's complement of any width; the reference goes through BigInt, whose integers have no width. */
const bitwise = (type: string, operator: string, reference: (a: bigint, b: bigint) => bigint): ElementwiseEntry => {
  const plain = `a ${operator} b`;
  const wgsl = { i32: plain, u32: plain, i64: plain, u64: plain };
  return binary(type, wgsl, (a, b) => Number(reference(BigInt(a), BigInt(b))), { opsets: [18, 27] });
};

// Functions of the circle and the hyperbola; each with the range reduction that WGSL leaves out.
const HYPERBOLIC = `
fn sinh_exact(x: f32) -> f32 {
  // The difference of the exponentials cancels near 0, where the series does not.
  let x2 = x * x;
  let series = x * (1.0 + x2 * (0.16666667 + x2 * (0.0083333333 + x2 * 0.00019841270)));
  return select((exp(x) - exp(-x)) * 0.5, series, abs(x) < 0.5);
}
fn asinh_exact(x: f32) -> f32 {
  let m = abs(x);
  return sign(x) * log_one_plus(m + m * m / (1.0 + sqrt(m * m + 1.0)));
}
fn atanh_exact(x: f32) -> f32 {
  return sign(x) * 0.5 * log_one_plus(2.0 * abs(x) / (1.0 - abs(x)));
}
fn log_one_plus(x: f32) -> f32 {
  let series = x * (1.0 - x * (0.5 - x * (0.33333333 - x * (0.25 - x * 0.2))));
  return select(log(1.0 + x), series, x < 0.05);
}`;

const TRIGONOMETRY: readonly ElementwiseEntry[] = [
  unary('Acos', 'acos(a)', Math.acos, { operations: 12 }),
  unary('Acosh', 'log(a + sqrt(a * a - 1.0))', Math.acosh, { opsets: [9, 27], operations: 12 }),
  unary('Asin', 'asin(a)', Math.asin, { operations: 12 }),
  unary('Asinh', 'asinh_exact(a)', Math.asinh, { opsets: [9, 27], helpers: HYPERBOLIC, operations: 16 }),
  unary('Atan', 'atan(a)', Math.atan, { operations: 12 }),
  unary('Atanh', 'atanh_exact(a)', Math.atanh, { opsets: [9, 27], helpers: HYPERBOLIC, operations: 16 }),
  unary('Cosh', '(exp(a) + exp(-a)) * 0.5', Math.cosh, { opsets: [9, 27], operations: 16 }),
  unary('Sinh', 'sinh_exact(a)', Math.sinh, { opsets: [9, 27], helpers: HYPERBOLIC, operations: 16 }),
  unary('Tan', 'sin(a) / cos(a)', Math.tan, { operations: 16 }),
];

const alpha =
  (fallback: number) =>
  (a: Attributes): Scalars => ({ alpha: a.number('alpha', fallback) });

export const ELEMENTWISE: readonly ElementwiseEntry[] = [
  unary('Abs', 'abs(a)', Math.abs, {
    wgsl: { i32: 'abs(a)', u32: 'a', i64: 'i64_abs(a)', u64: 'a' },
  }),
  unary('Ceil', 'ceil(a)', Math.ceil),
  unary('Cos', 'cos(a)', Math.cos, { operations: 8 }),
  unary('Elu', 'select(p.alpha * (exp(a) - 1.0), a, a >= 0.0)', (x, p) => (x >= 0 ? x : p['alpha']! * Math.expm1(x)), {
    scalars: alpha(1),
    operations: 8,
  }),
  unary('Erf', 'erf(a)', erf, { helpers: ERF, operations: 20 }),
  unary('Exp', 'exp(a)', Math.exp, { operations: 8 }),
  unary('Floor', 'floor(a)', Math.floor),
  unary(
    'HardSigmoid',
    'clamp(p.alpha * a + p.beta, 0.0, 1.0)',
    (x, p) => Math.min(1, Math.max(0, p['alpha']! * x + p['beta']!)),
    {
      scalars: (a) => ({ alpha: a.number('alpha', 0.2), beta: a.number('beta', 0.5) }),
    },
  ),
  unary('HardSwish', 'a * clamp(a / 6.0 + 0.5, 0.0, 1.0)', (x) => x * Math.min(1, Math.max(0, x / 6 + 0.5))),
  unary('LeakyRelu', 'select(p.alpha * a, a, a >= 0.0)', (x, p) => (x >= 0 ? x : p['alpha']! * x), {
    scalars: alpha(0.01),
  }),
  unary(
    'Celu',
    'select(p.alpha * (exp(a / p.alpha) - 1.0), a, a >= 0.0)',
    (x, p) => (x >= 0 ? x : p['alpha']! * Math.expm1(x / p['alpha']!)),
    {
      opsets: [12, 27],
      scalars: alpha(1),
      operations: 8,
    },
  ),
  unary(
    'Gelu',
    'gelu(a, p.tanh)',
    (x, p) =>
      p['tanh']
        ? 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
        : 0.5 * x * (1 + erf(x / Math.SQRT2)),
    {
      opsets: [20, 27],
      helpers: GELU,
      scalars: (a) => ({ tanh: a.string('approximate', 'none') === 'tanh' ? 1 : 0 }),
      operations: 24,
    },
  ),
  unary(
    'Shrink',
    'select(select(0.0, a - p.bias, a > p.lambd), a + p.bias, a < -p.lambd)',
    (x, p) => (x < -p['lambd']! ? x + p['bias']! : x > p['lambd']! ? x - p['bias']! : 0),
    {
      opsets: [9, 27],
      scalars: (a) => ({ bias: a.number('bias', 0), lambd: a.number('lambd', 0.5) }),
    },
  ),
  unary('Swish', 'a / (1.0 + exp(-p.alpha * a))', (x, p) => x * sigmoid(p['alpha']! * x), {
    opsets: [24, 27],
    scalars: alpha(1),
    operations: 10,
  }),
  test('IsNaN', 'is_nan(a)', (x) => Number.isNaN(x), { opsets: [9, 27], helpers: IS_NAN }),
  test(
    'IsInf',
    '(p.positive != 0.0 && bitcast<u32>(a) == 0x7f800000u) || (p.negative != 0.0 && bitcast<u32>(a) == 0xff800000u)',
    (x, p) => (p['positive'] !== 0 && x === Infinity) || (p['negative'] !== 0 && x === -Infinity),
    {
      opsets: [10, 27],
      scalars: (a) => ({ positive: a.number('detect_positive', 1), negative: a.number('detect_negative', 1) }),
    },
  ),
  ...TRIGONOMETRY,
  unary('Log', 'log(a)', Math.log, { operations: 8 }),
  unary('Mish', 'a * tanh_stable(softplus(a))', (x) => x * Math.tanh(softplus(x)), {
    helpers: TANH + SOFTPLUS,
    operations: 24,
  }),
  unary('Neg', '-a', (x) => -x, { wgsl: { i32: '-a', i64: 'i64_neg(a)' } }),
  unary('Reciprocal', '1.0 / a', (x) => 1 / x),
  unary('Relu', 'select(a, 0.0, a < 0.0)', (x) => Math.max(x, 0), {
    wgsl: { i32: 'max(a, 0)', i64: 'select(a, vec2<u32>(), vec2<bool>(bitcast<i32>(a.y) < 0))' },
  }),
  unary('Round', 'round(a)', roundEven),
  unary(
    'Selu',
    'p.gamma * select(p.alpha * (exp(a) - 1.0), a, a > 0.0)',
    (x, p) => p['gamma']! * (x > 0 ? x : p['alpha']! * Math.expm1(x)),
    {
      scalars: (a) => ({ alpha: a.number('alpha', 1.6732632), gamma: a.number('gamma', 1.05070102) }),
      operations: 9,
    },
  ),
  unary('Sigmoid', SIGMOID, sigmoid, { operations: 10 }),
  unary('Sign', 'sign(a)', Math.sign, {
    wgsl: {
      i32: 'sign(a)',
      u32: 'min(a, 1u)',
      i64: 'select(vec2<u32>(select(0u, 1u, any(a != vec2<u32>())), 0u), vec2<u32>(0xffffffffu), vec2<bool>(bitcast<i32>(a.y) < 0))',
      u64: 'vec2<u32>(select(0u, 1u, any(a != vec2<u32>())), 0u)',
    },
  }),
  unary('Sin', 'sin(a)', Math.sin, { operations: 8 }),
  unary('Softplus', 'softplus(a)', softplus, { helpers: SOFTPLUS, operations: 16 }),
  unary('Softsign', 'a / (1.0 + abs(a))', (x) => x / (1 + Math.abs(x))),
  unary('Sqrt', 'sqrt(a)', Math.sqrt),
  unary('Tanh', 'tanh_stable(a)', Math.tanh, { helpers: TANH, operations: 10 }),
  unary('ThresholdedRelu', 'select(0.0, a, a > p.alpha)', (x, p) => (x > p['alpha']! ? x : 0), { scalars: alpha(1) }),
  {
    type: 'Not',
    inputs: 1,
    result: 'bool',
    wgsl: { u32: '1u - min(a, 1u)' },
    reference: ([x]) => (x === 0 ? 1 : 0),
  },
  binary(
    'Add',
    { f32: 'a + b', i32: 'a + b', u32: 'a + b', i64: 'i64_add(a, b)', u64: 'i64_add(a, b)' },
    (a, b) => a + b,
  ),
  binary(
    'Sub',
    { f32: 'a - b', i32: 'a - b', u32: 'a - b', i64: 'i64_sub(a, b)', u64: 'i64_sub(a, b)' },
    (a, b) => a - b,
  ),
  binary(
    'Mul',
    { f32: 'a * b', i32: 'a * b', u32: 'a * b', i64: 'i64_mul(a, b)', u64: 'i64_mul(a, b)' },
    (a, b) => a * b,
  ),
  binary(
    'Div',
    { f32: 'a / b', i32: 'a / b', u32: 'a / b', i64: 'i64_div(a, b)', u64: 'u64_div(a, b)' },
    (a, b) => a / b,
  ),
  binary(
    'Pow',
    {
      f32: 'power(a, b)',
      i32: 'power_i32(a, b)',
      u32: 'power_u32(a, b)',
      i64: 'select(i64_power(a, b), vec2<u32>(), vec2<bool>(bitcast<i32>(b.y) < 0 && any(i64_abs(a) != vec2<u32>(1u, 0u))))',
      u64: 'i64_power(a, b)',
    },
    (a, b) => a ** b,
    { helpers: POW, operations: 16, mixes: powerOf },
  ),
  binary(
    'Mod',
    {
      f32: 'mod_f32(a, b, p.fmod)',
      i32: 'mod_i32(a, b, p.fmod)',
      u32: 'a % b',
      i64: MOD_I64,
      u64: 'u64_rem(a, b)',
    },
    (a, b, p) => (p['fmod'] || a % b === 0 || a % b < 0 === b < 0 ? a % b : (a % b) + b),
    { opsets: [10, 27], helpers: MOD, operations: 8, scalars: (a) => ({ fmod: a.number('fmod', 0) }) },
  ),
  binary(
    'BitShift',
    {
      u32: 'shift_u32(a, b, p.left)',
      u64: 'select(u64_shift_right(a, u64_amount(b)), i64_shift_left(a, u64_amount(b)), vec2<bool>(p.left != 0.0))',
    },
    (a, b, p) => (p['left'] ? Number((BigInt(a) << BigInt(b)) & (2n ** 64n - 1n)) : Math.floor(a / 2 ** b)),
    {
      opsets: [11, 27],
      helpers: SHIFT,
      scalars: (a) => ({ left: a.string('direction', 'LEFT') === 'LEFT' ? 1 : 0 }),
    },
  ),
  bitwise('BitwiseAnd', '&', (a, b) => a & b),
  bitwise('BitwiseOr', '|', (a, b) => a | b),
  bitwise('BitwiseXor', '^', (a, b) => a ^ b),
  {
    type: 'BitwiseNot',
    opsets: [18, 27],
    inputs: 1,
    result: 'same',
    wgsl: { i32: '~a', u32: '~a', i64: '~a', u64: '~a' },
    reference: ([x]) => -1 - x!,
  },
  binary('PRelu', { f32: 'select(a * b, a, a >= 0.0)', i32: 'select(a * b, a, a >= 0)' }, (a, b) =>
    a >= 0 ? a : a * b,
  ),
  comparison('Equal', '==', 'all(a == b)', (a, b) => a === b),
  comparison('Greater', '>', 'i64_less(b, a)', (a, b) => a > b),
  comparison('GreaterOrEqual', '>=', '!i64_less(a, b)', (a, b) => a >= b),
  comparison('Less', '<', 'i64_less(a, b)', (a, b) => a < b),
  comparison('LessOrEqual', '<=', '!i64_less(b, a)', (a, b) => a <= b),
  logical('And', 'a != 0u && b != 0u', (a, b) => a && b),
  logical('Or', 'a != 0u || b != 0u', (a, b) => a || b),
  logical('Xor', '(a != 0u) != (b != 0u)', (a, b) => a !== b),
  {
    ...binary(
      'Max',
      {
        f32: 'larger(a, b)',
        i32: 'max(a, b)',
        u32: 'max(a, b)',
        i64: 'select(a, b, vec2<bool>(i64_less(a, b)))',
        u64: 'select(a, b, vec2<bool>(u64_less(a, b)))',
      },
      (a, b) => Math.max(a, b),
      { helpers: NAN_EXTREMES },
    ),
    inputs: 'variadic',
  },
  {
    ...binary(
      'Min',
      {
        f32: 'smaller(a, b)',
        i32: 'min(a, b)',
        u32: 'min(a, b)',
        i64: 'select(b, a, vec2<bool>(i64_less(a, b)))',
        u64: 'select(b, a, vec2<bool>(u64_less(a, b)))',
      },
      (a, b) => Math.min(a, b),
      { helpers: NAN_EXTREMES },
    ),
    inputs: 'variadic',
  },
  { ...binary('Sum', { f32: 'a + b' }, (a, b) => a + b), inputs: 'variadic' },
  { ...binary('Mean', { f32: 'a + b' }, (a, b) => a + b), inputs: 'variadic', averages: true },
];
