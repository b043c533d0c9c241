import { readNumber, type DataType, type TensorData } from '../../runtime/graph/dtype.js';
import type { Tensor } from '../../runtime/graph/tensor.js';

export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

/** How an output differs from what was expected. */
export interface Comparison {
  readonly elements: number;
  /** Elements with |actual - expected| > atol + rtol * |expected|. */
  readonly failures: number;
  readonly maxAbsolute: number;
  /** Over elements whose expected value is not 0. */
  readonly maxRelative: number;
  /** The element with the largest absolute error; absent where all are equal. */
  readonly worst?: Difference;
  /** Why the elements could not be compared at all: another type or shape. */
  readonly mismatch?: string;
}

export interface Difference {
  readonly position: readonly number[];
  readonly actual: string;
  readonly expected: string;
}

export function passes(comparison: Comparison): boolean {
  return comparison.failures === 0 && comparison.mismatch === undefined;
}

/** Compares element by element. NaN equals NaN only, an infinity only itself; 64-bit integers are compared exactly. */
export function compareTensors(actual: Tensor, expected: Tensor, { rtol, atol }: Tolerance): Comparison {
  const mismatch = typeOrShape(actual, expected);
  const elements = expected.data.length;
  if (mismatch !== undefined) {
    return { elements, failures: elements, maxAbsolute: Number.NaN, maxRelative: Number.NaN, mismatch };
  }
  let failures = 0;
  let maxAbsolute = 0;
  let maxRelative = 0;
  let worst: number | undefined;
  for (let i = 0; i < elements; i++) {
    const difference = differenceAt(expected.dtype, actual.data, expected.data, i);
    if (difference === 0) continue;
    const size = Math.abs(readNumber(expected.dtype, expected.data, i));
    // With an infinite or NaN expectation the sum below is no bound: only equality, seen above, passes.
    if (!Number.isFinite(size) || difference > atol + rtol * size) failures += 1;
    if (difference > maxAbsolute) {
      maxAbsolute = difference;
      worst = i;
    }
    if (size > 0)
      maxRelative = Math.max(maxRelative, Number.isFinite(size) ? difference / size : Number.POSITIVE_INFINITY);
  }
  const comparison = { elements, failures, maxAbsolute, maxRelative };
  if (worst === undefined) return comparison;
  return {
    ...comparison,
    worst: {
      position: positionOf(worst, expected.dims),
      actual: elementText(actual, worst),
      expected: elementText(expected, worst),
    },
  };
}

/** |actual - expected|; infinite where one is NaN or they are infinities that differ. */
function differenceAt(dtype: DataType, actual: TensorData, expected: TensorData, index: number): number {
  if (actual[index] === expected[index]) return 0;
  if (dtype === 'int64' || dtype === 'uint64') {
    const difference = (actual[index] as bigint) - (expected[index] as bigint);
    return Number(difference < 0n ? -difference : difference);
  }
  const a = readNumber(dtype, actual, index);
  const e = readNumber(dtype, expected, index);
  if (Number.isNaN(a) && Number.isNaN(e)) return 0;
  const difference = Math.abs(a - e);
  return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
}

function typeOrShape(actual: Tensor, expected: Tensor): string | undefined {
  if (actual.dtype !== expected.dtype) return `type ${actual.dtype}, expected ${expected.dtype}`;
  const shapes = [actual, expected].map(({ dims }) => `[${dims.join(', ')}]`);
  return shapes[0] === shapes[1] ? undefined : `shape ${shapes[0]}, expected ${shapes[1]}`;
}

function elementText({ dtype, data }: Tensor, index: number): string {
  const element = data[index]!;
  return typeof element === 'bigint' ? String(element) : String(readNumber(dtype, data, index));
}

function positionOf(index: number, dims: readonly number[]): number[] {
  const position: number[] = [];
  let rest = index;
  for (const dim of dims.toReversed()) {
    position.unshift(rest % dim);
    rest = Math.floor(rest / dim);
  }
  return position;
}
