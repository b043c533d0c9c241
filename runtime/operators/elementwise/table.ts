import type { DeviceType } from '../../compile/view.js';
import type { Attributes } from '../attributes.js';

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
  /** WGSL over `a`, `b`, `c` and scalars `p.NAME`, for each device type it works on. */
  readonly wgsl: Partial<Record<DeviceType, string>>;
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
    return select(magnitude, -magnitude, abs(b) % 2.0 == 1.0);
  }
  return pow(a, b);
}
fn power_i32(a: i32, b: i32) -> i32 {
  var result = 1;
  var base = a;
  for (var e = max(b, 0); e > 0; e = e >> 1u) {
    if ((e & 1) == 1) { result *= base; }
    base *= base;
  }
  return select(result, 0, b < 0 && abs(a) != 1);
}`;

const TANH = `
fn tanh_stable(x: f32) -> f32 { return tanh(clamp(x, -15.0, 15.0)); }`;

const SOFTPLUS = `
fn softplus(x: f32) -> f32 { return max(x, 0.0) + log(1.0 + exp(-abs(x))); }`;

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
function roundEven(x: number): number {
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
  wgsl: Partial<Record<DeviceType, string>>,
  reference: (a: number, b: number) => number,
  more: Partial<ElementwiseEntry> = {},
): ElementwiseEntry => ({ type, inputs: 2, result: 'same', wgsl, reference: ([a, b]) => reference(a!, b!), ...more });

const comparison = (
  type: string,
  operator: string,
  i64: string,
  reference: (a: number, b: number) => boolean,
): ElementwiseEntry => {
  const plain = `select(0u, 1u, a ${operator} b)`;
  const wgsl = { f32: plain, i32: plain, u32: plain, i64: `select(0u, 1u, ${i64})` };
  return { type, inputs: 2, result: 'bool', wgsl, reference: ([a, b]) => Number(reference(a!, b!)) };
};

const logical = (type: string, u32: string, reference: (a: boolean, b: boolean) => boolean): ElementwiseEntry => ({
  type,
  inputs: 2,
  result: 'bool',
  wgsl: { u32: `select(0u, 1u, ${u32})` },
  reference: ([a, b]) => Number(reference(a !== 0, b !== 0)),
});

const alpha =
  (fallback: number) =>
  (a: Attributes): Scalars => ({ alpha: a.number('alpha', fallback) });

export const ELEMENTWISE: readonly ElementwiseEntry[] = [
  unary('Abs', 'abs(a)', Math.abs, {
    wgsl: { i32: 'abs(a)', u32: 'a', i64: 'i64_abs(a)' },
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
  unary('Log', 'log(a)', Math.log, { operations: 8 }),
  unary('Mish', 'a * tanh_stable(softplus(a))', (x) => x * Math.tanh(softplus(x)), {
    helpers: TANH + SOFTPLUS,
    operations: 24,
  }),
  unary('Neg', '-a', (x) => -x, { wgsl: { i32: '-a', i64: 'i64_neg(a)' } }),
  unary('Reciprocal', '1.0 / a', (x) => 1 / x),
  unary('Relu', 'max(a, 0.0)', (x) => Math.max(x, 0), { wgsl: { i32: 'max(a, 0)' } }),
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
  unary('Sign', 'sign(a)', Math.sign, { wgsl: { i32: 'sign(a)', u32: 'min(a, 1u)' } }),
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
  binary('Add', { f32: 'a + b', i32: 'a + b', u32: 'a + b', i64: 'i64_add(a, b)' }, (a, b) => a + b),
  binary('Sub', { f32: 'a - b', i32: 'a - b', u32: 'a - b', i64: 'i64_sub(a, b)' }, (a, b) => a - b),
  binary('Mul', { f32: 'a * b', i32: 'a * b', u32: 'a * b', i64: 'i64_mul(a, b)' }, (a, b) => a * b),
  binary('Div', { f32: 'a / b', i32: 'a / b', u32: 'a / b' }, (a, b) => a / b),
  binary('Pow', { f32: 'power(a, b)', i32: 'power_i32(a, b)' }, (a, b) => a ** b, { helpers: POW, operations: 16 }),
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
      { f32: 'max(a, b)', i32: 'max(a, b)', u32: 'max(a, b)', i64: 'select(a, b, i64_less(a, b))' },
      Math.max,
    ),
    inputs: 'variadic',
  },
  {
    ...binary(
      'Min',
      { f32: 'min(a, b)', i32: 'min(a, b)', u32: 'min(a, b)', i64: 'select(b, a, i64_less(a, b))' },
      Math.min,
    ),
    inputs: 'variadic',
  },
  { ...binary('Sum', { f32: 'a + b' }, (a, b) => a + b), inputs: 'variadic' },
];
