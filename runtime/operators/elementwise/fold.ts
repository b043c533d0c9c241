import * as dim from '../../graph/dim.js';
import { isInteger, type DataType } from '../../graph/dtype.js';
import { broadcastOffsets } from '../broadcast.js';
import type { Known, NodeContext, ValueType } from '../operator.js';

/** Integer arithmetic on dimensions, for the shape chains that exporters emit. Undefined where it cannot be decided. */
const FOLDS: Record<string, (a: dim.Dim, b: dim.Dim) => dim.Dim | undefined> = {
  Add: dim.add,
  Sub: dim.sub,
  Mul: dim.mul,
  Div: (a, b) => (b === 0 ? undefined : dim.floorDivide(a, b)),
  Max: dim.maximum,
  Min: dim.minimum,
  Equal: (a, b) => decide(dim.compare(a, b), (s) => s === 0),
  Greater: (a, b) => decide(dim.compare(a, b), (s) => s > 0),
  GreaterOrEqual: (a, b) => decide(dim.compare(a, b), (s) => s >= 0),
  Less: (a, b) => decide(dim.compare(a, b), (s) => s < 0),
  LessOrEqual: (a, b) => decide(dim.compare(a, b), (s) => s <= 0),
};

/** Exporters of Keras models compute sizes as floats where an operator took no integers; a quotient may be no size then. */
const FLOAT_FOLDS: Record<string, (a: dim.Dim, b: dim.Dim) => dim.Dim | undefined> = { Div: dim.divideExact };

/** Floats that are followed as sizes: those that hold every size there is. */
export const HOLDS_SIZES: ReadonlySet<DataType> = new Set(['float32', 'float64']);

/** What leaves a size that is held as a float as it is. */
const ROUNDING = new Set(['Floor', 'Ceil', 'Round']);

const isSize = (element: dim.Dim): boolean => typeof element !== 'number' || Number.isInteger(element);

function roundedSizes(context: NodeContext): Known | undefined {
  const known = context.known(0);
  return known?.kind === 'symbolic' && known.value.elements.every(isSize) ? known : undefined;
}

function decide(sign: -1 | 0 | 1 | undefined, test: (sign: number) => boolean): number | undefined {
  return sign === undefined ? undefined : Number(test(sign));
}

/** Shape of a value whose elements are known at load, which never depends on symbols. */
export function knownDims(type: ValueType): readonly number[] | undefined {
  return type.shape.every((d) => typeof d === 'number') ? (type.shape as readonly number[]) : undefined;
}

/** The value of an operator on sizes where the elements of both inputs are known up to symbols. */
export function foldElementwise(op: string, context: NodeContext, output: ValueType): Known | undefined {
  const dims = knownDims(output);
  const { dtype } = context.input(0);
  const isWhole = isInteger(dtype);
  if (!isWhole && ROUNDING.has(op)) return roundedSizes(context);
  const fold = isWhole ? FOLDS[op] : (FLOAT_FOLDS[op] ?? FOLDS[op]);
  if (!fold || !dims || context.inputCount !== 2 || !(isWhole || HOLDS_SIZES.has(dtype))) return undefined;
  const a = context.elements(0);
  const b = context.elements(1);
  const aDims = knownDims(context.input(0));
  const bDims = knownDims(context.input(1));
  if (!a || !b || !aDims || !bDims) return undefined;
  if (!isWhole && ![...a, ...b].every(isSize)) return undefined;
  const bOffsets = broadcastOffsets(bDims, dims);
  const elements: dim.Dim[] = [];
  for (const [i, at] of broadcastOffsets(aDims, dims).entries()) {
    const value = fold(a[at]!, b[bOffsets[i]!]!);
    if (value === undefined) return undefined;
    elements.push(value);
  }
  return { kind: 'symbolic', value: { dtype: output.dtype, dims, elements } };
}
