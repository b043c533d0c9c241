import type { Lowering } from '../../compile/lowering.js';
import { reshapeView, sliceView } from '../../compile/view.js';
import { fusedOperator } from '../fused.js';
import type { Operator } from '../operator.js';

function lower(lowering: Lowering): void {
  const { attributes } = lowering.context;
  const view = lowering.view(0);
  const part = sliceView(view, view.shape.length - 1, attributes.number('start', 0), attributes.number('count', 0));
  const { shape } = lowering.outputs[0]!;
  lowering.alias(0, reshapeView(part, shape) ?? reshapeView(lowering.dense(part), shape)!);
}

/**
 * Columns(X): `count` of the last dimension from `start` on, in another shape. What compile/joined-products.ts makes; no model
 * has it.
 */
export const COLUMNS: Operator = { ...fusedOperator('Columns', lower), aliases: 'always' };
