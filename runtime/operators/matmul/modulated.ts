import { broadcastView, pickView, reshapeView, type View } from '../../compile/view.js';
import type { Lowering } from '../../compile/lowering.js';
import { fusedOperator } from '../fused.js';
import { finishOf, othersOf, resultOf } from './finish.js';
import { matMulStep } from './kernel.js';

function lower(lowering: Lowering): void {
  const keys = lowering.view(0);
  const [batch, length, width] = keys.shape as [number, number, number];
  const weights = lowering.view(1);
  const columns = weights.shape[2]!;
  const shape = [batch, length, columns];
  const { output, place } = resultOf(lowering, shape);
  const lift = (view: View): View => ({ ...view, shape: [1, ...view.shape], strides: [0, ...view.strides] });
  const line = (view: View, size: View['shape'][number]): View =>
    reshapeView(view, [batch, 1, size]) ?? reshapeView(lowering.dense(view), [batch, 1, size])!;
  const once = pickView(weights, 0, 0);
  lowering.emit(
    matMulStep({
      name: 'ModulatedMatMul',
      a: lift(keys),
      b: lift(broadcastView(once, [batch, width, columns])),
      output: lift(output),
      bias: lift(broadcastView(line(lowering.view(2), columns), shape)),
      others: othersOf(lowering, shape).map(lift),
      modulator: { view: lift(line(lowering.view(3), width)), gap: weights.strides[0]! },
      alpha: 1,
      beta: 1,
      ...finishOf(lowering),
    }),
  );
  place();
}

/**
 * ModulatedMatMul(K, W, C, Q) = K (W[0] + diag(Q) W[1]) + C, of K [batch, length, width], W [2, width, columns], and a
 * line a row of C and Q. What compile/split-layer.ts makes; no model has it.
 */
export const MODULATED_MATMUL = fusedOperator('ModulatedMatMul', lower);
