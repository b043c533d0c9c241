import { product, divideExact, mul, type Dim } from '../../graph/dim.js';
import type { View } from '../../compile/view.js';
import { BRAID_DOMAIN } from '../composite.js';
import type { NodeContext, Operator } from '../operator.js';
import { shownByShapes } from '../rows.js';
import { gatherStep } from './index.js';

/** Entries of the leading dimension that a query has: more than one where others were flattened into it. */
function entriesOf(context: NodeContext): number {
  return context.attributes.number('entries', 1);
}

/** `view` with `entries` taken out of its leading dimension into one of their own. */
function perQuery(view: View, entries: number): View {
  const [leading, ...rest] = view.shape as [Dim, ...Dim[]];
  const [stride, ...strides] = view.strides as [Dim, ...Dim[]];
  return {
    ...view,
    shape: [divideExact(leading, entries)!, entries, ...rest],
    strides: [mul(stride, entries), stride, ...strides],
  };
}

/**
 * Spread(value, query_of_row): what a query's rows share, for each of the rows. The numbers of queries are the engine's
 * own, so that nothing checks them.
 */
export const SPREAD: Operator = {
  type: 'Spread',
  domain: BRAID_DOMAIN,
  opsets: [1, 1],
  infer(context) {
    const { dtype, shape } = context.input(0);
    const [rows] = context.input(1).shape;
    return [{ dtype, shape: [mul(rows!, entriesOf(context)), ...shape.slice(1)] }];
  },
  reference(context) {
    const [value, { data: queries }] = [context.input(0), context.input(1)];
    const entries = entriesOf(context.shapes);
    const width = (value.data.length / value.dims[0]!) * entries;
    const data = new Float64Array(queries.length * width);
    queries.forEach((query, row) => data.set(value.data.subarray(query * width, (query + 1) * width), row * width));
    return [{ dtype: value.dtype, dims: [queries.length * entries, ...value.dims.slice(1)], data }];
  },
  rows: shownByShapes,
  lower(lowering) {
    const entries = entriesOf(lowering.context);
    const view = perQuery(lowering.view(0), entries);
    const output = perQuery(lowering.output(0), entries);
    const [queries] = view.shape as [Dim];
    const step = gatherStep({
      data: { view, first: 0, count: queries },
      indices: lowering.view(1),
      output,
      axis: 0,
      size: queries,
      rowRuns: product(output.shape.slice(1)),
      code: 0,
    });
    lowering.emit({ ...step, kernel: 'Spread', detail: '' });
  },
};
