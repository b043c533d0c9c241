import { transposeView } from '../../compile/view.js';
import { sizeOf } from '../../graph/tensor.js';
import type { NodeContext, Operator, ReferenceTensor } from '../operator.js';
import { shownByShapes } from '../rows.js';

function permutation(context: NodeContext): readonly number[] {
  const rank = context.input(0).shape.length;
  const perm = context.attributes.numbers('perm') ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
  if (perm.length !== rank || new Set(perm).size !== rank || perm.some((p) => p < 0 || p >= rank)) {
    throw context.invalid(`perm [${perm.join(', ')}] is no permutation of ${rank} dimensions`);
  }
  return perm;
}

/** `x` with its dimensions in the order of `perm`. */
export function transposeReference(x: ReferenceTensor, perm: readonly number[]): ReferenceTensor {
  const dims = perm.map((p) => x.dims[p]!);
  const strides = perm.map((p) => sizeOf(x.dims.slice(p + 1)));
  const data = new Float64Array(x.data.length);
  const index = dims.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = x.data[index.reduce((at, v, d) => at + v * strides[d]!, 0)]!;
    for (let d = dims.length - 1; d >= 0 && ++index[d]! === dims[d]; d--) index[d] = 0;
  }
  return { dtype: x.dtype, dims, data };
}

/** Transpose(X, perm): a view; kernels read it in place. */
export const TRANSPOSE: Operator = {
  type: 'Transpose',
  aliases: 'always',
  opsets: [7, 27],
  infer(context) {
    const { dtype, shape } = context.input(0);
    return [{ dtype, shape: permutation(context).map((p) => shape[p]!) }];
  },
  reference: (context) => [transposeReference(context.input(0), permutation(context.shapes))],
  rows: shownByShapes,
  keepsRows: () => true,
  lower: (lowering) => lowering.alias(0, transposeView(lowering.view(0), permutation(lowering.context))),
};
