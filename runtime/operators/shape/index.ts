import { product } from '../../graph/dim.js';
import { readNumber } from '../../graph/dtype.js';
import { sizeOf, tensorOf } from '../../graph/tensor.js';
import { broadcastView, reshapeView } from '../../compile/view.js';
import type { Dim } from '../../graph/dim.js';
import { knownDims } from '../elementwise/fold.js';
import type { NodeContext, Operator } from '../operator.js';
import { shownByShapes } from '../rows.js';
import { RANGE } from './range.js';
import { NON_ZERO, UNIQUE } from './sets.js';

function window(context: NodeContext): readonly [start: number, end: number] {
  const rank = context.input(0).shape.length;
  const at = (value: number): number => Math.min(rank, Math.max(0, value < 0 ? value + rank : value));
  return [at(context.attributes.number('start', 0)), at(context.attributes.number('end', rank))];
}

/** Shape(data, start, end): always known at load, up to symbols. */
const SHAPE: Operator = {
  type: 'Shape',
  opsets: [7, 27],
  infer(context) {
    const [start, end] = window(context);
    return [{ dtype: 'int64', shape: [Math.max(0, end - start)] }];
  },
  fold(context) {
    const elements = context.input(0).shape.slice(...window(context));
    return [{ kind: 'symbolic', value: { dtype: 'int64', dims: [elements.length], elements } }];
  },
  reference(context) {
    const dims = context.input(0).dims.slice(...window(context.shapes));
    return [{ dtype: 'int64', dims: [dims.length], data: Float64Array.from(dims) }];
  },
  rows: shownByShapes,
};

/** Size(data): the number of elements, known at load up to symbols. */
const SIZE: Operator = {
  type: 'Size',
  opsets: [7, 27],
  infer: () => [{ dtype: 'int64', shape: [] }],
  fold: (context) => [
    { kind: 'symbolic', value: { dtype: 'int64', dims: [], elements: [product(context.input(0).shape)] } },
  ],
  reference: (context) => [{ dtype: 'int64', dims: [], data: Float64Array.of(context.input(0).data.length) }],
  rows: shownByShapes,
};

/** ConstantOfShape(shape, value): one constant, repeated by strides of 0. */
const CONSTANT_OF_SHAPE: Operator = {
  type: 'ConstantOfShape',
  aliases: 'always',
  opsets: [9, 27],
  infer(context) {
    const dtype = context.attributes.tensor('value')?.dtype ?? 'float32';
    return [{ dtype, shape: context.requiredElements(0, 'the shape') }];
  },
  fold(context, outputs) {
    const dims = knownDims(outputs[0]!);
    const value = context.attributes.tensor('value');
    if (!dims || sizeOf(dims) > 1024 || !value || (value.dtype !== 'int64' && value.dtype !== 'int32'))
      return [undefined];
    const element: Dim = readNumber(value.dtype, value.data, 0);
    return [
      {
        kind: 'symbolic',
        value: { dtype: value.dtype, dims, elements: Array.from({ length: sizeOf(dims) }, () => element) },
      },
    ];
  },
  reference(context) {
    const value = context.attributes.tensor('value');
    const dims = [...context.input(0).data];
    const element = value ? readNumber(value.dtype, value.data, 0) : 0;
    return [{ dtype: value?.dtype ?? 'float32', dims, data: new Float64Array(sizeOf(dims)).fill(element) }];
  },
  rows: shownByShapes,
  keepsRows: () => true,
  lower(lowering) {
    const value = lowering.context.attributes.tensor('value') ?? tensorOf('float32', [1], [0]);
    const { shape } = lowering.outputs[0]!;
    const view = lowering.constant('value', { ...value, dims: [1] });
    lowering.alias(0, broadcastView(reshapeView(view, shape.length ? [1] : [])!, shape));
  },
};

export const SHAPE_OPERATORS: readonly Operator[] = [SHAPE, SIZE, CONSTANT_OF_SHAPE, RANGE, NON_ZERO, UNIQUE];
