import type { Lowering } from '../../compile/lowering.js';
import { broadcastView, deviceType, reshapeView, type View } from '../../compile/view.js';
import type { Dim } from '../../graph/dim.js';
import type { Finish } from '../../../shaders/matmul_parts.js';
import { chainCode, type ChainCode } from '../elementwise/chain.js';
import { copyStep } from '../elementwise/kernel.js';
import type { MatMulCall } from './kernel.js';

/** The result in the shape of the product. Fusion may have renamed it; `place` moves it where strides do not allow that. */
export function resultOf(lowering: Lowering, shape: readonly Dim[]): { readonly output: View; place(): void } {
  const target = lowering.output(0);
  const output = reshapeView(target, shape);
  if (output) return { output, place: () => {} };
  const scratch = lowering.scratch('result', target.dtype, shape);
  return { output: scratch, place: () => lowering.emit(copyStep(reshapeView(scratch, target.shape)!, target)) };
}

/** Input `index`, which fusion added, in the shape of the product. */
export function addedOf(lowering: Lowering, index: number, shape: readonly Dim[]): View | undefined {
  const view = lowering.optional(index);
  const outer = lowering.epilogue?.shapes.get(index);
  if (!view || !outer) return undefined;
  const wide = broadcastView(view, outer);
  return reshapeView(wide, shape) ?? reshapeView(lowering.dense(wide), shape)!;
}

/** Positions of the inputs that the functions of the elements read; behind those of the product itself. */
function positionsOf({ epilogue }: Lowering): number[] {
  return [...(epilogue?.shapes.keys() ?? [])].filter((index) => index > 2).sort((a, b) => a - b);
}

export function othersOf(lowering: Lowering, shape: readonly Dim[]): View[] {
  return positionsOf(lowering).map((index) => addedOf(lowering, index, shape)!);
}

/** A finish as programs take it: names of its scalars, and types of what it reads beside the elements. */
export function finishForm(finish: ChainCode | undefined, others: readonly View[]): { readonly finish?: Finish } {
  if (!finish) return {};
  const types = others.map((v) => deviceType(v.dtype));
  return { finish: { ...finish, scalars: Object.keys(finish.scalars), others: types } };
}

/** The functions that fusion hung on the product, as the kernel takes them. */
export function finishOf(lowering: Lowering): Pick<MatMulCall, 'finish'> {
  const chain = lowering.epilogue?.chain ?? [];
  if (chain.length === 0) return {};
  const others = positionsOf(lowering).map((of) => ({ of, type: deviceType(lowering.context.input(of).dtype) }));
  return { finish: chainCode(chain, [{ of: 'result', type: 'f32' }, ...others]) };
}
