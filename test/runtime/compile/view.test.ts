import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluate, mul, product, sub, symbol, type Bindings, type Dim } from '../../../runtime/graph/dim.js';
import {
  broadcastView,
  collapse,
  denseView,
  isDense,
  pickView,
  reshapeView,
  sliceView,
  transposeView,
  type StridedSpace,
  type View,
} from '../../../runtime/compile/view.js';

/** Offsets that an operand with these strides walks, row-major. */
function walk(shape: readonly number[], strides: readonly number[], offset = 0): number[] {
  let offsets = [offset];
  shape.forEach((size, d) => {
    offsets = offsets.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * strides[d]!));
  });
  return offsets;
}

const sizesOf = (dims: readonly Dim[], bindings: Bindings): number[] => dims.map((d) => evaluate(d, bindings));

function elements(view: View, bindings: Bindings): number[] {
  return walk(sizesOf(view.shape, bindings), sizesOf(view.strides, bindings), evaluate(view.offset, bindings));
}

/** What a view should hold: element numbers under an index, kept apart from any stride. */
interface Model {
  readonly dims: readonly number[];
  at(index: readonly number[]): number;
}

function modelElements({ dims, at }: Model): number[] {
  let indices: number[][] = [[]];
  for (const size of dims) indices = indices.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i]));
  return indices.map(at);
}

function modelReshape(model: Model, dims: readonly number[]): Model {
  const flat = modelElements(model);
  return {
    dims,
    at: (index) => flat[index.reduce((sum, i, d) => sum * dims[d]! + i, 0)]!,
  };
}

const SIZES: Bindings = new Map([
  ['a', 2],
  ['b', 3],
]);
// Sizes that symbols stand for differ from the numbers, so that a mix-up shows.
const size: fc.Arbitrary<Dim> = fc.oneof(fc.constantFrom<Dim>(1, 2, 4), fc.constantFrom('a', 'b').map(symbol));

type Change = (view: View, model: Model) => { view: View; model: Model };

const change: fc.Arbitrary<Change> = fc
  .tuple(fc.constantFrom('transpose', 'slice', 'pick', 'broadcast', 'merge', 'split', 'one'), fc.nat(), fc.nat())
  .map(([kind, p, q]): Change => (view, model) => {
    const rank = view.shape.length;
    const same = { view, model };
    const axis = rank === 0 ? 0 : p % rank;
    const reshaped = (shape: Dim[]): { view: View; model: Model } => {
      const result = reshapeView(view, shape);
      expect(result !== undefined || !isDense(view)).toBe(true);
      return result ? { view: result, model: modelReshape(model, sizesOf(shape, SIZES)) } : same;
    };
    if (kind === 'transpose') {
      const perm = view.shape.map((_, i) => (i + q) % Math.max(1, rank));
      const back = perm.map((_, i) => perm.indexOf(i));
      return {
        view: transposeView(view, perm),
        model: { dims: perm.map((d) => model.dims[d]!), at: (index) => model.at(back.map((d) => index[d]!)) },
      };
    }
    if (kind === 'one')
      return reshaped([...view.shape.slice(0, q % (rank + 1)), 1, ...view.shape.slice(q % (rank + 1))]);
    if (rank === 0) return same;
    const moved = (by: (i: number) => number) => (index: readonly number[]) =>
      model.at(index.map((i, d) => (d === axis ? by(i) : i)));
    if (kind === 'slice' && model.dims[axis]! > 1) {
      const backwards = q % 2 === 1;
      const dims = model.dims.map((d, i) => (i === axis ? d - 1 : d));
      const count = sub(view.shape[axis]!, 1);
      return backwards
        ? {
            view: sliceView(view, axis, count, count, -1),
            model: { dims, at: moved((i) => model.dims[axis]! - 1 - i) },
          }
        : { view: sliceView(view, axis, 1, count), model: { dims, at: moved((i) => i + 1) } };
    }
    if (kind === 'pick') {
      const index = q % model.dims[axis]!;
      return {
        view: pickView(view, axis, index),
        model: {
          dims: model.dims.filter((_, i) => i !== axis),
          at: (rest) => model.at([...rest.slice(0, axis), index, ...rest.slice(axis)]),
        },
      };
    }
    if (kind === 'broadcast' && view.shape[axis] === 1) {
      const shape = [2, ...view.shape.map((d, i) => (i === axis ? 3 : d))];
      return {
        view: broadcastView(view, shape),
        model: { dims: sizesOf(shape, SIZES), at: ([, ...rest]) => moved(() => 0)(rest) },
      };
    }
    if (kind === 'merge' && axis + 1 < rank) {
      return reshaped([
        ...view.shape.slice(0, axis),
        mul(view.shape[axis]!, view.shape[axis + 1]!),
        ...view.shape.slice(axis + 2),
      ]);
    }
    if (kind === 'split' && view.shape[axis] === 4)
      return reshaped([...view.shape.slice(0, axis), 2, 2, ...view.shape.slice(axis + 1)]);
    return same;
  });

/** A view made by a chain of changes, and what it holds. */
const chain = fc.tuple(fc.array(size, { maxLength: 4 }), fc.array(change, { maxLength: 7 })).map(([shape, changes]) => {
  const storage = { id: 0, kind: 'temp' as const, type: 'f32' as const, size: product(shape), name: 's' };
  const dims = sizesOf(shape, SIZES);
  const dense = {
    view: denseView(storage, 'float32', shape),
    model: modelReshape({ dims: [product(dims) as number], at: ([i]) => i! }, dims),
  };
  return changes.reduce(({ view, model }, step) => step(view, model), dense as { view: View; model: Model });
});

describe('views', () => {
  it('hold the elements that an element-by-element model says, through any chain', () => {
    fc.assert(
      fc.property(chain, ({ view, model }) => {
        expect(sizesOf(view.shape, SIZES)).toEqual(model.dims);
        expect(elements(view, SIZES)).toEqual(modelElements(model));
      }),
      { numRuns: 1500 },
    );
  });

  it('are dense only where their elements lie in order without gaps', () => {
    fc.assert(
      fc.property(chain, ({ view }) => {
        const found = elements(view, SIZES);
        if (isDense(view)) expect(found).toEqual(found.map((_, i) => evaluate(view.offset, SIZES) + i));
      }),
      { numRuns: 500 },
    );
  });

  it('reshape without elements, whatever the strides', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }),
        (from, to) => {
          fc.pre(from.includes(0) && to.includes(0));
          const storage = { id: 0, kind: 'temp' as const, type: 'f32' as const, size: 0, name: 's' };
          const turned = transposeView(
            denseView(storage, 'float32', from),
            from.map((_, i) => from.length - 1 - i),
          );
          const result = reshapeView(turned, to);
          if (result) expect(elements(result, SIZES)).toEqual([]);
        },
      ),
    );
  });

  it('collapse without changing what any operand walks, in order', () => {
    const space = fc
      .tuple(chain, fc.constantFrom('same', 'dense', 'repeated'))
      .map(([{ view }, kind]): StridedSpace => {
        const { shape } = view;
        const dense = denseView(view.storage, 'float32', shape).strides;
        return {
          shape,
          strides: [view.strides, kind === 'same' ? view.strides : kind === 'dense' ? dense : shape.map(() => 0)],
        };
      });
    fc.assert(
      fc.property(space, (before) => {
        const after = collapse(before);
        before.strides.forEach((strides, operand) => {
          const walked = (s: StridedSpace): number[] =>
            walk(sizesOf(s.shape, SIZES), sizesOf(s.strides[operand]!, SIZES));
          expect(walked(after)).toEqual(walked({ ...before, strides: before.strides.with(operand, strides) }));
        });
        expect(after.shape.length).toBeLessThanOrEqual(before.shape.length);
        expect(after.shape).not.toContain(1);
      }),
      { numRuns: 500 },
    );
  });

  it('collapse dense operands to a single dimension', () => {
    const shape = [symbol('n'), 3, symbol('d')];
    const strides = [mul(3, symbol('d')), symbol('d'), 1];
    const { shape: merged } = collapse({ shape, strides: [strides, strides] });
    expect(merged.map(String)).toEqual([String(product(shape))]);
  });
});
