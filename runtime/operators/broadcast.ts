import { compare, equal, shapeText, type Dim } from '../graph/dim.js';
import type { BraidError } from '../errors.js';
import { sizeOf } from '../graph/tensor.js';

/**
 * The shape that numpy's broadcasting gives. Of two different symbols, the one that is not 1 at run time wins; since
 * symbols stand for at least 1, a symbol beside a constant other than 1 has to equal it, and two different symbols are
 * refused rather than guessed.
 */
export function broadcastShapes(shapes: readonly (readonly Dim[])[], fail: (problem: string) => BraidError): Dim[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, i) => {
    let result: Dim = 1;
    for (const shape of shapes) {
      const dim = shape[i - rank + shape.length];
      if (dim === undefined || dim === 1 || equal(dim, result)) continue;
      if (result === 1) result = dim;
      else throw fail(`shapes ${shapes.map(shapeText).join(' and ')} do not broadcast at dimension ${i}`);
    }
    return result;
  });
}

/** As broadcastShapes, for sizes. */
export function broadcastSizes(shapes: readonly (readonly number[])[]): number[] {
  return broadcastShapes(shapes, (problem) => {
    throw new RangeError(problem);
  }) as number[];
}

/** For each element of `shape` in row-major order, the offset of the element of `dims` that broadcasting pairs with it. */
export function broadcastOffsets(dims: readonly number[], shape: readonly number[]): Uint32Array {
  const strides: number[] = [];
  let stride = 1;
  for (let i = dims.length - 1; i >= 0; i--) {
    strides[i] = dims[i] === 1 ? 0 : stride;
    stride *= dims[i]!;
  }
  const lead = shape.length - dims.length;
  const offsets = new Uint32Array(sizeOf(shape));
  const index = shape.map(() => 0);
  let at = 0;
  for (let i = 0; i < offsets.length; i++) {
    offsets[i] = at;
    for (let d = shape.length - 1; d >= 0; d--) {
      const step = d < lead ? 0 : strides[d - lead]!;
      if (++index[d]! < shape[d]!) {
        at += step;
        break;
      }
      at -= step * (shape[d]! - 1);
      index[d] = 0;
    }
  }
  return offsets;
}

/** Whether `dim` is known to be at least `least`. */
export function atLeast(dim: Dim, least: number): boolean {
  const sign = compare(dim, least);
  return sign === 0 || sign === 1;
}
