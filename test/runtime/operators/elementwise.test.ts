import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, type DataType, type Tensor } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  known,
  Random,
  referenceProblems,
  rowsOf,
  SEED,
  symbolic,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { testLiteral } from '../../support/literal.js';

const list = (...values: number[]): Tensor => floats([values.length], values);
const bools = (...values: number[]): Tensor => tensorOf('bool', [values.length], values);
const integers = (dtype: DataType, ...values: number[]): Tensor => tensorOf(dtype, [values.length], values);

/** A function of one list, its values worked out apart from Braid. */
const scalar = (value: number, dtype: DataType = 'float32') => known(tensorOf(dtype, [], [value]));

/** Of the newest opset: some of the functions came late. */
function unary(op: string, x: number[], y: number[], attributes: Record<string, number | string> = {}): Case {
  const title = `of [${x.join(', ')}] ${JSON.stringify(attributes)}`;
  return { title, op, opset: 27, inputs: [data(list(...x))], attributes, expected: [list(...y)] };
}

function binary(op: string, a: Tensor, b: Tensor, y: Tensor, attributes: Case['attributes'] = {}): Case {
  const title = `of ${a.dtype} [${a.data.join()}] ${JSON.stringify(attributes)}`;
  return { title, op, opset: 27, inputs: [data(a), data(b)], attributes, expected: [y] };
}

/** WGSL promises its trigonometric functions to an absolute error of 2^-11. */
const CURVE = 2 ** -11;

// Values by Python's math module and by the definitions in the ONNX operator pages.
const UNARY: Case[] = [
  unary('Abs', [-1.5, 0, 2], [1.5, 0, 2]),
  { ...unary('Acos', [-0.5, 0, 0.5], [2.0943951, 1.5707963, 1.0471976]), atol: CURVE },
  unary('Acosh', [1, 2, 30], [0, 1.3169579, 4.0940667]),
  { ...unary('Asin', [-0.5, 0, 0.5], [-0.5235988, 0, 0.5235988]), atol: CURVE },
  unary('Asinh', [-1, -0.01, 0, 30], [-0.8813736, -0.0099998333, 0, 4.0946222]),
  { ...unary('Atan', [-1, 0, 30], [-0.7853982, 0, 1.5374753]), atol: CURVE },
  unary('Atanh', [-0.5, 0, 0.01, 0.9], [-0.5493061, 0, 0.010000333, 1.4722195]),
  unary('Celu', [-1, 0, 3], [-0.7869387, 0, 3], { alpha: 2 }),
  unary('Celu', [-1, 1], [-0.6321206, 1]),
  unary('Cosh', [-1, 0, 3], [1.5430806, 1, 10.067662]),
  unary('Gelu', [-1, 0, 1, 9], [-0.1586553, 0, 0.8413447, 9]),
  unary('Gelu', [-1, 0, 1, 9], [-0.158808, 0, 0.841192, 9], { approximate: 'tanh' }),
  unary('Shrink', [-2, -1, 0, 1, 2], [-0.5, 0, 0, 0, 0.5], { bias: 1.5, lambd: 1.5 }),
  unary('Shrink', [-2, 0.5, 2], [-2, 0, 2]),
  unary('Sinh', [-1, 0.01, 3], [-1.1752012, 0.010000167, 10.017875]),
  unary('Swish', [-1, 0, 1], [-0.1192029, 0, 0.8807971], { alpha: 2 }),
  unary('Swish', [-1, 0, 1], [-0.2689414, 0, 0.7310586]),
  { ...unary('Tan', [-1, 0, 1], [-1.5574077, 0, 1.5574077]), atol: CURVE },
  unary('Ceil', [-1.5, 1.2, 2], [-1, 2, 2]),
  { ...unary('Cos', [0, 1, -2], [1, 0.5403023, -0.4161468]), atol: CURVE },
  unary('Elu', [-1, 0, 1], [-1.2642411, 0, 1], { alpha: 2 }),
  unary('Elu', [-1, 0, 1], [-0.6321206, 0, 1]),
  unary('Erf', [-3, -0.5, 0, 1e-3, 0.5, 1], [-0.9999779, -0.5204999, 0, 1.128379e-3, 0.5204999, 0.8427008]),
  unary('Exp', [-1, 0, 1], [0.3678794, 1, Math.E]),
  unary('Floor', [-1.5, 1.2, 2], [-2, 1, 2]),
  unary('HardSigmoid', [-1, 0, 1, 9], [0.1, 0.6, 1, 1], { alpha: 0.5, beta: 0.6 }),
  unary('HardSigmoid', [-3, 0, 1], [0, 0.5, 0.7]),
  unary('HardSwish', [-4, -1, 0, 1, 4], [0, -0.3333333, 0, 0.6666667, 4]),
  unary('LeakyRelu', [-1, 0, 1], [-0.1, 0, 1], { alpha: 0.1 }),
  unary('LeakyRelu', [-1, 0, 1], [-0.01, 0, 1]),
  unary('Log', [1, 10], [0, Math.LN10]),
  unary('Mish', [-1, 0, 1, 30], [-0.3034015, 0, 0.8650984, 30]),
  unary('Neg', [-4, 2, 0], [4, -2, 0]),
  unary('Reciprocal', [-4, 2], [-0.25, 0.5]),
  unary('Relu', [-1, 0, 1], [0, 0, 1]),
  unary('Round', [0.1, 0.5, 0.9, 1.2, 1.5, 2.3, 2.5, -1.5, -2.5], [0, 0, 1, 1, 2, 2, 2, -2, -2]),
  unary('Selu', [-1, 0, 1], [-1.1113307, 0, 1.050701]),
  unary('Selu', [-1, 0, 1], [-3.7927234, 0, 3], { alpha: 2, gamma: 3 }),
  unary('Sigmoid', [-100, -1, 0, 1, 100], [0, 0.2689414, 0.5, 0.7310586, 1]),
  unary('Sign', [-3, 0, 5], [-1, 0, 1]),
  { ...unary('Sin', [0, 1, -2], [0, 0.841471, -0.9092974]), atol: CURVE },
  unary('Softplus', [-100, -1, 0, 1, 100], [0, 0.3132617, Math.LN2, 1.3132617, 100]),
  unary('Softsign', [-1, 0, 3], [-0.5, 0, 0.75]),
  unary('Sqrt', [1, 4, 0], [1, 2, 0]),
  unary('Tanh', [-100, -1, 0, 1, 100], [-1, -0.7615942, 0, 0.7615942, 1]),
  unary('ThresholdedRelu', [-1.5, 0, 1.2, 2, 2.2], [0, 0, 0, 0, 2.2], { alpha: 2 }),
  unary('ThresholdedRelu', [1, 1.5], [0, 1.5]),
  { title: 'of bools', op: 'Not', inputs: [data(bools(0, 1, 1))], expected: [bools(1, 0, 0)] },
];

const BINARY: Case[] = [
  binary('Add', list(1, 2), list(3, -4), list(4, -2)),
  binary('Sub', list(1, 2), list(3, -4), list(-2, 6)),
  binary('Mul', list(1, 2), list(3, -4), list(3, -8)),
  binary('Div', list(3, 1), list(2, -4), list(1.5, -0.25)),
  binary('Pow', list(1, 2, 3), list(4, 5, 6), list(1, 32, 729)),
  // The edges: any base to the power 0, negative bases to whole powers, roots.
  binary(
    'Pow',
    list(0, -2, 5, -2, -2, -2, 9, 0, 2),
    list(0, 0, 0, 3, 2, -1, 0.5, 3, -2),
    list(1, 1, 1, -8, 4, -0.5, 3, 0, 0.25),
  ),
  binary('PRelu', list(-2, 0, 3), list(0.5, 0.5, 0.5), list(-1, 0, 3)),
  binary('Equal', list(1, 2, 3), list(1, 3, 2), bools(1, 0, 0)),
  binary('Greater', list(1, 2, 3), list(1, 3, 2), bools(0, 0, 1)),
  binary('GreaterOrEqual', list(1, 2, 3), list(1, 3, 2), bools(1, 0, 1)),
  binary('Less', list(1, 2, 3), list(1, 3, 2), bools(0, 1, 0)),
  binary('LessOrEqual', list(1, 2, 3), list(1, 3, 2), bools(1, 1, 0)),
  binary('And', bools(0, 0, 1, 1), bools(0, 1, 0, 1), bools(0, 0, 0, 1)),
  binary('Or', bools(0, 0, 1, 1), bools(0, 1, 0, 1), bools(0, 1, 1, 1)),
  binary('Xor', bools(0, 0, 1, 1), bools(0, 1, 0, 1), bools(0, 1, 1, 0)),
  binary('Equal', bools(0, 0, 1, 1), bools(0, 1, 0, 1), bools(1, 0, 0, 1)),
  // The remainder has the sign of the divisor, as Python's does, or that of the dividend, as C's.
  binary('Mod', list(-5.5, 5.5, 6, -6), list(2, -2, 3, 4), list(0.5, -0.5, 0, 2)),
  binary('Mod', list(-5.5, 5.5, 6, -6), list(2, -2, 3, 4), list(-1.5, 1.5, 0, -2), { fmod: 1 }),
];

const [nan, infinite] = [Number.NaN, Number.POSITIVE_INFINITY];
const odd = list(nan, infinite, -infinite, 1);
const asked = (op: string, attributes: Record<string, number>, expected: Tensor, x = odd): Case => ({
  title: JSON.stringify(attributes),
  op,
  inputs: [data(x)],
  attributes,
  expected: [expected],
});
/** What is not a number, and what is not finite. */
const UNUSUAL: Case[] = [
  asked('IsNaN', {}, bools(1, 0, 0, 0)),
  asked('IsInf', {}, bools(0, 1, 1, 0)),
  asked('IsInf', { detect_positive: 0 }, bools(0, 0, 1, 0)),
  asked('IsInf', { detect_negative: 0 }, bools(0, 1, 0, 0)),
  asked('Relu', {}, list(nan, infinite, 0, 1)),
  binary('Max', odd, list(1, 1, 1, nan), list(nan, infinite, 1, nan)),
  binary('Min', odd, list(1, 1, 1, nan), list(nan, 1, -infinite, nan)),
  { title: 'of NaN', op: 'Clip', inputs: [data(odd), scalar(-2), scalar(2)], expected: [list(nan, 2, -2, 1)] },
  { title: 'without a bound', op: 'Clip', inputs: [data(odd), scalar(-2)], expected: [list(nan, infinite, -2, 1)] },
];

const three = [list(3, 2, 1), list(1, 4, 4), list(2, 5, 3)];
const VARIADIC: Case[] = [
  { title: 'of three', op: 'Max', inputs: three.map((t) => data(t)), expected: [list(3, 5, 4)] },
  { title: 'of three', op: 'Min', inputs: three.map((t) => data(t)), expected: [list(1, 2, 1)] },
  { title: 'of three', op: 'Sum', inputs: three.map((t) => data(t)), expected: [list(6, 11, 8)] },
  { title: 'of three', op: 'Mean', inputs: three.map((t) => data(t)), expected: [list(2, 11 / 3, 8 / 3)] },
  { title: 'of one', op: 'Mean', inputs: [data(three[0]!)], expected: [three[0]!] },
  { title: 'of one', op: 'Max', inputs: [data(three[0]!)], expected: [three[0]!] },
  { title: 'of one', op: 'Min', inputs: [data(three[0]!)], expected: [three[0]!] },
  { title: 'of one', op: 'Sum', inputs: [data(three[0]!)], expected: [three[0]!] },
];

// Sums, products and comparisons whose carries and signs cross the 32-bit words.
const WORD = 2 ** 32;
const unsigned = (...values: number[]): Tensor => integers('uint64', ...values);
const bigA = integers('int64', 5, -1, WORD - 1, WORD * 3, -WORD, 7);
const bigB = integers('int64', -7, 1, 1, -5, -WORD, 7);
const one = (op: string, x: Tensor, y: Tensor): Case => ({
  title: `of ${x.dtype} [${x.data.join()}]`,
  op,
  opset: 27,
  inputs: [data(x)],
  expected: [y],
});
/** 64-bit arithmetic that needs all of its bits; values by Python's integers. */
const LONG: Case[] = [
  binary(
    'Div',
    integers('int64', 7, -7, 2 ** 53 - 1, -(2 ** 40), 5, 2 ** 62),
    integers('int64', 2, 2, 3, 2 ** 33, -2, 2 ** 61),
    integers('int64', 3, -3, 3_002_399_751_580_330, -128, -2, 2),
  ),
  binary(
    'Mod',
    integers('int64', -7, 7, -(2 ** 40) - 1, 7),
    integers('int64', 3, -3, 2 ** 33, 3),
    integers('int64', 2, -2, 2 ** 33 - 1, 1),
  ),
  binary(
    'Mod',
    integers('int64', -7, 7, -(2 ** 40) - 1, 7),
    integers('int64', 3, -3, 2 ** 33, 3),
    integers('int64', -1, 1, -1, 1),
    { fmod: 1 },
  ),
  binary(
    'Pow',
    integers('int64', 3, -2, 7, 2),
    integers('int64', 20, 31, 0, -1),
    integers('int64', 3 ** 20, -(2 ** 31), 1, 0),
  ),
  one('Sign', bigA, integers('int64', 1, -1, 1, 1, -1, 1)),
  one('Relu', bigA, integers('int64', 5, 0, WORD - 1, WORD * 3, 0, 7)),
  binary('Div', unsigned(2 ** 63 + 2 ** 40, 7), unsigned(2 ** 20, 2), unsigned(2 ** 43 + 2 ** 20, 3)),
  binary('Mod', unsigned(2 ** 63 + 2 ** 40, 7), unsigned(2 ** 41, 2), unsigned(2 ** 40, 1)),
  binary('Less', unsigned(2 ** 63, 1), unsigned(1, 2 ** 63), bools(0, 1)),
  binary('GreaterOrEqual', unsigned(2 ** 63, 1), unsigned(1, 2 ** 63), bools(1, 0)),
  binary('Max', unsigned(2 ** 63, 1), unsigned(1, 2), unsigned(2 ** 63, 2)),
  binary('Min', unsigned(2 ** 63, 1), unsigned(1, 2), unsigned(1, 1)),
  binary('BitShift', unsigned(1, 5, 2 ** 40), unsigned(40, 64, 3), unsigned(2 ** 40, 0, 2 ** 43), {
    direction: 'LEFT',
  }),
  binary('BitShift', unsigned(2 ** 40, 5, 3), unsigned(33, 64, 1), unsigned(128, 0, 1), { direction: 'RIGHT' }),
  binary('BitwiseAnd', bigA, bigB, integers('int64', 1, 1, 1, WORD * 3, -WORD, 7)),
];
/** Integers narrower than their words wrap around where their own bits end. */
const NARROW: Case[] = [
  binary('Add', integers('int8', 127, -128), integers('int8', 1, -1), integers('int8', -128, 127)),
  binary('Sub', integers('uint8', 3, 200), integers('uint8', 5, 100), integers('uint8', 254, 100)),
  binary('Mul', integers('uint16', 300, 2), integers('uint16', 300, 2), integers('uint16', 24_464, 4)),
  binary('Mod', integers('int8', -7, 7), integers('int8', 3, -3), integers('int8', 2, -2)),
  binary('Mod', integers('uint32', 7, WORD - 1), integers('uint32', 4, 10), integers('uint32', 3, 5)),
  binary('BitShift', integers('uint8', 200, 1), integers('uint8', 1, 3), integers('uint8', 144, 8), {
    direction: 'LEFT',
  }),
  binary('BitShift', integers('uint32', 16, 5), integers('uint32', 3, 32), integers('uint32', 2, 0), {
    direction: 'RIGHT',
  }),
  binary('BitwiseOr', integers('int32', 12, -8), integers('int32', 10, 3), integers('int32', 14, -5)),
  binary('BitwiseXor', integers('uint8', 12, 255), integers('uint8', 10, 15), integers('uint8', 6, 240)),
  one('BitwiseNot', integers('uint8', 12, 255), integers('uint8', 243, 0)),
  one('BitwiseNot', integers('int32', 12, -1), integers('int32', -13, 0)),
  one('Neg', integers('int8', -128, 5), integers('int8', -128, -5)),
];
/** Exponents of another type than the base; the result has the base's. */
const MIXED_POWERS: Case[] = [
  binary('Pow', list(1, 2, 3), integers('int64', 4, 5, 6), list(1, 32, 729)),
  binary('Pow', list(1, 2, 3), integers('int32', 4, 5, -1), list(1, 32, 1 / 3)),
  binary('Pow', list(1, 2, 3), integers('uint64', 4, 5, 6), list(1, 32, 729)),
  binary('Pow', integers('int32', 1, 3, -2), list(4, 4, 3), integers('int32', 1, 81, -8)),
  binary('Pow', integers('int64', 1, 3, 4), list(4, 4, 0.5), integers('int64', 1, 81, 2)),
  binary('Pow', integers('int32', 1, 3, 2), integers('int64', 4, 4, 3), integers('int32', 1, 81, 8)),
];

const INTEGERS: Case[] = [
  binary('Add', bigA, bigB, integers('int64', -2, 0, WORD, WORD * 3 - 5, -2 * WORD, 14)),
  binary('Sub', bigA, bigB, integers('int64', 12, -2, WORD - 2, WORD * 3 + 5, 0, 0)),
  binary(
    'Mul',
    integers('int64', -5, 70_000, -WORD, 3),
    integers('int64', 7, 70_000, 3, -1),
    integers('int64', -35, 4_900_000_000, -3 * WORD, -3),
  ),
  binary('Equal', bigA, bigB, bools(0, 0, 0, 0, 1, 1)),
  binary('Less', bigA, bigB, bools(0, 1, 0, 0, 0, 0)),
  binary('LessOrEqual', bigA, bigB, bools(0, 1, 0, 0, 1, 1)),
  binary('Greater', bigA, bigB, bools(1, 0, 1, 1, 0, 0)),
  binary('GreaterOrEqual', bigA, bigB, bools(1, 0, 1, 1, 1, 1)),
  binary('Max', bigA, bigB, integers('int64', 5, 1, WORD - 1, WORD * 3, -WORD, 7)),
  binary('Min', bigA, bigB, integers('int64', -7, -1, 1, -5, -WORD, 7)),
  {
    title: 'int64',
    op: 'Neg',
    inputs: [data(bigA)],
    expected: [integers('int64', -5, 1, 1 - WORD, WORD * -3, WORD, -7)],
  },
  { title: 'int64', op: 'Abs', inputs: [data(bigA)], expected: [integers('int64', 5, 1, WORD - 1, WORD * 3, WORD, 7)] },
  binary('Add', integers('int32', 1, -2), integers('int32', 3, -4), integers('int32', 4, -6)),
  binary('Sub', integers('int32', 1, -2), integers('int32', 3, -4), integers('int32', -2, 2)),
  binary('Mul', integers('int32', 3, -2), integers('int32', 3, 4), integers('int32', 9, -8)),
  binary('Div', integers('int32', 7, -7), integers('int32', 2, 2), integers('int32', 3, -3)),
  binary('Pow', integers('int32', 2, -3, 5), integers('int32', 10, 3, 0), integers('int32', 1024, -27, 1)),
  binary('Less', integers('int32', -1, 2), integers('int32', 1, 2), bools(1, 0)),
  binary('Max', integers('int32', -1, 2), integers('int32', 1, -2), integers('int32', 1, 2)),
  binary('Min', integers('uint32', 1, WORD - 1), integers('uint32', 2, 5), integers('uint32', 1, 5)),
  binary('Greater', integers('uint32', 1, WORD - 1), integers('uint32', 2, 5), bools(0, 1)),
  { title: 'int32', op: 'Abs', inputs: [data(integers('int32', -3, 4))], expected: [integers('int32', 3, 4)] },
  { title: 'int32', op: 'Neg', inputs: [data(integers('int32', -3, 4))], expected: [integers('int32', 3, -4)] },
  { title: 'int32', op: 'Sign', inputs: [data(integers('int32', -3, 0, 4))], expected: [integers('int32', -1, 0, 1)] },
  ...LONG,
  ...NARROW,
  { title: 'int32', op: 'Relu', inputs: [data(integers('int32', -3, 4))], expected: [integers('int32', 0, 4)] },
];

const choose = (dtype: DataType): Case => ({
  title: `of ${dtype}`,
  op: 'Where',
  inputs: [data(bools(1, 0, 1)), data(integers(dtype, 1, 2, 3)), data(integers(dtype, 4, 5, 6))],
  expected: [integers(dtype, 1, 5, 3)],
});

const clip = (title: string, opset: number, inputs: Case['inputs'], expected: Tensor, attributes = {}): Case => ({
  title,
  op: 'Clip',
  opset,
  inputs,
  attributes,
  expected: [expected],
});
const CLIP: Case[] = [
  clip('between two', 13, [data(list(-2, 0, 2)), scalar(-1), scalar(1)], list(-1, 0, 1)),
  clip('from below', 13, [data(list(-2, 0, 2)), scalar(0)], list(0, 0, 2)),
  clip('from above', 13, [data(list(-2, 0, 2)), undefined, scalar(0)], list(-2, 0, 0)),
  clip('without bounds', 13, [data(list(-2, 2e38, Infinity, -Infinity))], list(-2, 2e38, Infinity, -Infinity)),
  clip('with bounds that cross', 13, [data(list(-2, 0, 6)), scalar(2), scalar(1)], list(1, 1, 1)),
  clip('with attributes', 10, [data(list(-2, 0, 2))], list(-1, 0, 1), { min: -1, max: 1 }),
  clip('with one attribute', 6 + 1, [data(list(-2, 0, 2))], list(0, 0, 2), { min: 0 }),
  clip(
    'of int32 from below',
    13,
    [data(integers('int32', -9, 2 ** 30)), scalar(-3, 'int32')],
    integers('int32', -3, 2 ** 30),
  ),
  clip(
    'of int32',
    13,
    [data(integers('int32', -9, 0, 9)), scalar(-3, 'int32'), scalar(3, 'int32')],
    integers('int32', -3, 0, 3),
  ),
  clip('by data', 13, [data(list(-2, 0, 2)), data(floats([], [-1])), data(floats([], [1]))], list(-1, 0, 1)),
  clip('by data from above', 13, [data(list(-2, 0, 2)), undefined, data(floats([], [1]))], list(-2, 0, 1)),
  clip('by data and a constant', 13, [data(list(-2, 0, 2)), scalar(-1), data(floats([], [1]))], list(-1, 0, 1)),
  clip(
    'of int64',
    13,
    [data(bigA), scalar(-5, 'int64'), scalar(WORD * 2, 'int64')],
    integers('int64', 5, -1, WORD - 1, WORD * 2, -5, 7),
  ),
  clip('of uint64', 13, [data(unsigned(2 ** 63, 1)), scalar(2, 'uint64')], unsigned(2 ** 63, 2)),
  clip('of int8', 13, [data(integers('int8', -9, 9)), undefined, scalar(3, 'int8')], integers('int8', -9, 3)),
];

const TYPE_CODES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int16: 5,
  int32: 6,
  uint16: 4,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
};
const cast = (from: Tensor, to: Tensor): Case => ({
  title: `${from.dtype} to ${to.dtype}`,
  op: 'Cast',
  inputs: [data(from)],
  attributes: { to: TYPE_CODES[to.dtype as keyof typeof TYPE_CODES] },
  expected: [to],
});
const CASTS: Case[] = [
  cast(list(-1.7, 0, 2.9, 3e9), integers('int64', -1, 0, 2, 3e9)),
  cast(list(-1.7, 0, 2.9), integers('int32', -1, 0, 2)),
  cast(list(1.7, 0, 2.9), integers('uint8', 1, 0, 2)),
  cast(list(-1.7, 0, 2.9), integers('int8', -1, 0, 2)),
  cast(list(-1.7, 0, 0.1), bools(1, 0, 1)),
  // 1/3 in binary16 is 0.333251953125.
  cast(list(1 / 3, 1, 65_504), tensorOf('float16', [3], [0.333251953125, 1, 65_504])),
  cast(list(-1.5, 2), tensorOf('float64', [2], [-1.5, 2])),
  cast(integers('int64', -1, 5, WORD * 3), list(-1, 5, WORD * 3)),
  cast(integers('int64', -1, 5, WORD + 7), integers('int32', -1, 5, 7)),
  cast(integers('int64', -1, 0, WORD), bools(1, 0, 1)),
  cast(integers('int64', 257, -1), integers('uint8', 1, 255)),
  cast(integers('int32', -1, 5), integers('int64', -1, 5)),
  cast(integers('int32', -1, 5), list(-1, 5)),
  cast(integers('int32', 130, -1), integers('int8', -126, -1)),
  cast(integers('int32', 70_000, -1), integers('int16', 4464, -1)),
  cast(integers('uint32', 5, WORD - 1), integers('int64', 5, WORD - 1)),
  cast(integers('uint8', 5, 255), list(5, 255)),
  cast(integers('int8', 5, -128), list(5, -128)),
  cast(bools(0, 1), list(0, 1)),
  cast(bools(0, 1), integers('int64', 0, 1)),
  cast(bools(0, 1), integers('int32', 0, 1)),
  cast(tensorOf('float16', [2], [0.5, -3]), list(0.5, -3)),
  cast(tensorOf('bfloat16', [2], [0.5, -3]), list(0.5, -3)),
  cast(list(nan, 0, -0.5), bools(1, 0, 1)),
  cast(list(nan, 2 ** 63 + 2 ** 41, 3.5), unsigned(0, 2 ** 63 + 2 ** 41, 3)),
  cast(list(nan, -(2 ** 62), 3.5), integers('int64', 0, -(2 ** 62), 3)),
  cast(list(-1.5, 300.7, 7), integers('uint8', 255, 44, 7)),
  cast(list(3e9, 0.5), integers('uint32', 3e9, 0)),
  cast(unsigned(2 ** 63, 5), list(2 ** 63, 5)),
  cast(unsigned(WORD * 5 + 9, 5), integers('int16', 9, 5)),
  cast(integers('int16', -5, 5), integers('uint16', 65_531, 5)),
  cast(bools(0, 1), unsigned(0, 1)),
  cast(integers('int64', 3, -70_000), tensorOf('float16', [2], [3, -infinite])),
  // Beyond the largest finite half, halfway to it, a subnormal, and a NaN.
  cast(
    list(65_520, 65_519, -1e-7, nan, -infinite),
    tensorOf('float16', [5], [infinite, 65_504, -(2 ** -23), nan, -infinite]),
  ),
  // bfloat16 has 8 bits of precision, and ties go to even.
  cast(
    list(1 + 2 ** -8, 1 + 3 * 2 ** -8, -1.01, nan, infinite),
    tensorOf('bfloat16', [5], [1, 1 + 2 ** -6, -1.0078125, nan, infinite]),
  ),
  // Integers of more than 24 bits round to nearest even.
  {
    ...cast(
      integers('int64', 2 ** 24 + 1, 2 ** 24 + 3, 2 ** 40 + 2 ** 16, 2 ** 40 + 2 ** 16 + 1, -(2 ** 24) - 3),
      list(2 ** 24, 2 ** 24 + 4, 2 ** 40, 2 ** 40 + 2 ** 17, -(2 ** 24) - 4),
    ),
    rtol: 0,
    atol: 0,
  },
  {
    title: 'to the type of another',
    op: 'CastLike',
    inputs: [data(list(-1.7, 2.9)), data(integers('int32', 5))],
    expected: [integers('int32', -1, 2)],
  },
  {
    title: 'to the same type',
    op: 'CastLike',
    inputs: [data(list(-1.7, 2.9)), scalar(5)],
    expected: [list(-1.7, 2.9)],
  },
];

/** float64 models: their constants arrive as float32. */
const DOUBLES: Case[] = [
  {
    title: 'of float64 and a narrowed constant',
    op: 'Add',
    inputs: [data(tensorOf('float64', [2], [1.5, 2])), known(list(1, 1))],
    expected: [tensorOf('float64', [2], [2.5, 3])],
  },
];

const LITERAL: Case[] = [
  ...UNARY,
  ...BINARY,
  ...UNUSUAL,
  ...VARIADIC,
  ...INTEGERS,
  ...MIXED_POWERS,
  ...DOUBLES,
  ...(['float32', 'float64', 'float16', 'int32', 'int64', 'uint64', 'uint8', 'bool'] as const).map(choose),
  ...CLIP,
  ...CASTS,
];

/** Where a function is defined, and where float32 can follow float64 to the tolerance. */
const DOMAINS: Readonly<Record<string, readonly [number, number]>> = {
  Log: [0.01, 20],
  Sqrt: [0, 20],
  Reciprocal: [0.1, 4],
  Exp: [-8, 8],
  Pow: [0.1, 3],
  Acos: [-0.9, 0.9],
  Acosh: [1.1, 5],
  Asin: [-0.9, 0.9],
  Atanh: [-0.9, 0.9],
  Tan: [-1.2, 1.2],
  Sinh: [-3, 3],
  Cosh: [-3, 3],
  Div: [0.2, 3],
};

/** WGSL promises sine and cosine within pi of 0. */
const CIRCLE = [-Math.PI, Math.PI] as const;

/** Broadcasts of every kind for a few operators: more would make pipelines for each rank and prove nothing new. */
function broadcasts(random: Random): Case[] {
  const shapes = (): number[] => random.dims(random.int(0, 5), 4);
  return Array.from({ length: 40 }, (_, i): Case => {
    const out = shapes();
    const op = (['Add', 'Where', 'Less', 'Sum'] as const)[i % 4]!;
    const dtype = op === 'Add' && i % 8 === 0 ? 'int64' : 'float32';
    const operand = (type: DataType) => data(random.tensor(type, random.broadcastable(out), -9, 9));
    const inputs =
      op === 'Where' ? [operand('bool'), operand(dtype), operand(dtype)] : [operand(dtype), operand(dtype)];
    return { title: `broadcast ${i}: ${inputs.map((x) => `[${x.tensor.dims.join()}]`).join(' ')}`, op, inputs };
  });
}

/** Every function on random values of its domain, a row-shaped and an all-symbolic operand among them. */
function randomUnary(random: Random): Case[] {
  return UNARY.filter((c) => c.op !== 'Not').map((c, i) => {
    const circular = c.op === 'Sin' || c.op === 'Cos';
    const [least, most] = circular ? CIRCLE : (DOMAINS[c.op] ?? [-4, 4]);
    const x = random.floats(random.dims(random.int(1, 4)), least, most);
    const inputs = [i % 3 === 0 ? rowsOf(x) : i % 3 === 1 ? symbolic(x) : data(x)];
    return {
      title: `random [${x.dims.join()}]`,
      op: c.op,
      opset: 27,
      inputs,
      attributes: c.attributes ?? {},
      ...(c.atol === undefined ? {} : { atol: c.op === 'Tan' ? 4 * CURVE : c.atol }),
    };
  });
}

function randomBinary(random: Random): Case[] {
  return ['Add', 'Sub', 'Mul', 'Div', 'Pow', 'PRelu', 'Max', 'Min'].map((op) => {
    const dims = [5, random.int(1, 9)];
    const [least, most] = DOMAINS[op] ?? [-4, 4];
    const operand = () => data(random.floats(dims, least, most), ['rows', 'd']);
    return { title: `random [${dims.join()}]`, op, inputs: [operand(), operand()] };
  });
}

describe('elementwise operators', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('elementwise', LITERAL, () => engine);

  it(`agree with the reference on random values (seed ${SEED})`, async () => {
    const random = new Random();
    expect(await deviceProblems(engine, [...randomUnary(random), ...randomBinary(random)])).toEqual([]);
  });

  it(`broadcast ranks 0 to 5 (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, broadcasts(new Random()))).toEqual([]);
  });

  it('take tensors without elements', async () => {
    const none = floats([0, 3], []);
    const cases: Case[] = [
      { title: 'of none', op: 'Relu', inputs: [data(none)], expected: [none] },
      { title: 'of none and one', op: 'Add', inputs: [data(none), data(list(1))], expected: [none] },
      { title: 'of no rows', op: 'Add', inputs: [rowsOf(none), data(list(1, 2, 3))], expected: [none] },
    ];
    expect(referenceProblems(cases)).toEqual([]);
    expect(await deviceProblems(engine, cases)).toEqual([]);
  });

  it('walk more elements than one dispatch has invocations for', async () => {
    // 65,535 workgroups of 256 are 16.8 million invocations; the grid-stride loop takes what is past them.
    const count = 65_535 * 256 + 1000;
    const x = new Float32Array(count).fill(1);
    x.set([5, -6, 7], count - 3);
    const b = new GraphBuilder('many');
    b.output(b.op('Relu', [b.input('x', 'float32', [count])], {}, { outputs: ['y'] }), 'float32');
    const model = await engine.load(b.build());
    const { y } = await model.run({ x: { dims: [count], data: x } });
    await model.dispose();
    // Compared with itself rather than with the reference, which would take ten times as long.
    x[count - 2] = 0;
    expect(Buffer.compare(new Uint8Array(y!.data.buffer), new Uint8Array(x.buffer))).toBe(0);
  });
});
