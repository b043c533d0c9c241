import { shapesEqual, shapeText } from '../../graph/dim.js';
import type { DataType } from '../../graph/dtype.js';
import { broadcastShapes } from '../broadcast.js';
import { dataTypeOf } from '../elementwise/cast.js';
import type { NodeContext } from '../operator.js';

export function epsilonOf(context: NodeContext): number {
  return context.attributes.number('epsilon', 1e-5);
}

/** The type that statistics are computed in, which their outputs have. */
export function stashType(context: NodeContext): DataType {
  return dataTypeOf(context, context.attributes.number('stash_type', 1));
}

/** @throws BraidError MODEL_INVALID unless input `index`, where it is given, broadcasts to the shape of input 0. */
export function checkBroadcasts(context: NodeContext, index: number): void {
  const { shape } = context.input(0);
  const operand = context.optional(index);
  if (!operand) return;
  const joint = broadcastShapes([shape, operand.shape], (p) => context.invalid(p));
  if (!shapesEqual(joint, shape))
    throw context.invalid(`input ${index} of shape ${shapeText(operand.shape)} beside ${shapeText(shape)}`);
}

/** @throws BraidError MODEL_INVALID unless inputs `first` and on have one element for each of `count` channels. */
export function checkChannels(context: NodeContext, first: number, last: number, axis: number): void {
  const channels = context.input(0).shape[axis];
  if (channels === undefined) throw context.invalid(`input of rank ${context.input(0).shape.length} has no channels`);
  for (let i = first; i <= last; i++) {
    const { shape } = context.input(i);
    if (!shapesEqual(shape, [channels]))
      throw context.invalid(`input ${i} of shape ${shapeText(shape)} for ${String(channels)} channels`);
  }
}
