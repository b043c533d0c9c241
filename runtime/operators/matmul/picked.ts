import type { View } from '../../compile/view.js';
import type { Dim } from '../../graph/dim.js';
import type { Lowering } from '../../compile/lowering.js';
import { fusedOperator } from '../fused.js';
import { matMulStep } from './kernel.js';

function lower(lowering: Lowering): void {
  const [a, b] = [lowering.view(0), lowering.view(1)];
  const written = lowering.output(0);
  const lift = (view: View): View => ({ ...view, shape: [1, ...view.shape], strides: [0, ...view.strides] });
  const [batch, rows] = a.shape as [Dim, Dim];
  const inColumns = lowering.context.attributes.number('columns', 0) !== 0;
  const [line, step] = (inColumns ? written.strides.toReversed() : written.strides) as [Dim, Dim];
  lowering.emit(
    matMulStep({
      name: 'PickedMatMul',
      a: lift(a),
      b: lift(b),
      // A line a batch; the places tell where in it an element goes.
      output: { ...written, shape: [1, batch, rows, b.shape[2]!], strides: [0, line, 0, step] },
      picks: { places: lowering.view(2), written },
      others: [],
      alpha: 1,
      beta: 1,
    }),
  );
}

/**
 * PickedMatMul(A, B, places): of the products A B of a batch, element (i, j) at places[i, j] of the batch's line, or
 * nowhere; with `columns` the lines stand side by side. What compile/picked-product.ts makes; no model has it.
 */
export const PICKED_MATMUL = fusedOperator('PickedMatMul', lower);
