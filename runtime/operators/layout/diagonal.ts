import { add, equal, shapeText } from '../../graph/dim.js';
import { BRAID_DOMAIN } from '../composite.js';
import type { NodeContext, Operator } from '../operator.js';
import { offsetOf, stridesOf, walk } from '../indexing/gather.js';
import { sizeOf } from '../../graph/tensor.js';

function axesOf(context: NodeContext): { first: number; second: number } {
  const { shape } = context.input(0);
  const axis = (name: string): number => context.axis(context.attributes.requiredNumber(name), shape.length);
  const [first, second] = [axis('axis1'), axis('axis2')];
  if (first >= second || !equal(shape[first]!, shape[second]!))
    throw context.invalid(`dimensions ${first} and ${second} of ${shapeText(shape)} have no diagonal`);
  return { first, second };
}

/** Diagonal(X, axis1, axis2): the elements with equal coordinates on both axes, in the place of the first: a view. */
export const DIAGONAL: Operator = {
  type: 'Diagonal',
  aliases: 'always',
  domain: BRAID_DOMAIN,
  opsets: [1, 1],
  infer(context) {
    const { dtype, shape } = context.input(0);
    const { second } = axesOf(context);
    return [{ dtype, shape: shape.filter((_, d) => d !== second) }];
  },
  reference(context) {
    const x = context.input(0);
    const { first, second } = axesOf(context.shapes);
    const strides = stridesOf(x.dims);
    strides[first]! += strides[second]!;
    const kept = strides.filter((_, d) => d !== second);
    const dims = x.dims.filter((_, d) => d !== second);
    const data = new Float64Array(sizeOf(dims));
    walk(dims, (at, i) => void (data[i] = x.data[offsetOf(at, kept)]!));
    return [{ dtype: x.dtype, dims, data }];
  },
  rows: (row) => (axesOf(row.context).first === 0 && row.carriesRows(0) ? 'mixing' : 'parallel'),
  lower(lowering) {
    const view = lowering.view(0);
    const { first, second } = axesOf(lowering.context);
    const drop = <T>(list: readonly T[]): T[] => list.filter((_, d) => d !== second);
    const strides = view.strides.map((s, d) => (d === first ? add(s, view.strides[second]!) : s));
    lowering.alias(0, { ...view, shape: drop(view.shape), strides: drop(strides) });
  },
};
