import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  add,
  ceilDivide,
  compare,
  denseStrides,
  divideExact,
  equal,
  evaluate,
  floorDivide,
  maximum,
  minimum,
  mul,
  product,
  sub,
  symbol,
  symbolsOf,
  type Bindings,
  type Dim,
} from '../../../runtime/graph/dim.js';
import { expectError } from '../../support/errors.js';

const NAMES = ['a', 'b', 'c'] as const;
const bindings = fc
  .record({ a: fc.integer({ min: 1, max: 9 }), b: fc.integer({ min: 1, max: 9 }), c: fc.integer({ min: 1, max: 9 }) })
  .map((r): Bindings => new Map(Object.entries(r)));

/** A dimension, and what it has to come to under bindings. */
interface Modelled {
  readonly dim: Dim;
  model(sizes: Bindings): number;
}

const { polynomial, any } = fc.letrec<{ polynomial: Modelled; any: Modelled }>((tie) => {
  const leaf = fc.oneof(
    fc.integer({ min: -4, max: 4 }).map((n): Modelled => ({ dim: n, model: () => n })),
    fc.constantFrom(...NAMES).map((s): Modelled => ({ dim: symbol(s), model: (sizes) => sizes.get(s)! })),
  );
  const ring = (of: 'polynomial' | 'any') =>
    fc.tuple(fc.constantFrom('add', 'sub', 'mul'), tie(of), tie(of)).map(([op, x, y]): Modelled => {
      const [make, count] = {
        add: [add, (p: number, q: number) => p + q] as const,
        sub: [sub, (p: number, q: number) => p - q] as const,
        mul: [mul, (p: number, q: number) => p * q] as const,
      }[op]!;
      return { dim: make(x.dim, y.dim), model: (sizes) => count(x.model(sizes), y.model(sizes)) };
    });
  const opaque = fc
    .tuple(fc.constantFrom('floor', 'ceil', 'min', 'max'), tie('any'), fc.integer({ min: 1, max: 5 }))
    .map(([op, x, n]): Modelled => {
      const [make, count] = {
        floor: [floorDivide, (p: number, q: number) => Math.floor(p / q)] as const,
        ceil: [ceilDivide, (p: number, q: number) => Math.ceil(p / q)] as const,
        min: [minimum, Math.min] as const,
        max: [maximum, Math.max] as const,
      }[op]!;
      return { dim: make(x.dim, n), model: (sizes) => count(x.model(sizes), n) };
    });
  return {
    polynomial: fc.oneof({ maxDepth: 4 }, leaf, ring('polynomial')),
    any: fc.oneof({ maxDepth: 4 }, leaf, ring('any'), opaque),
  };
});

describe('dimensions', () => {
  it('evaluate to what their arithmetic says', () => {
    // -0 and 0 are the same size.
    fc.assert(
      fc.property(any, bindings, ({ dim, model }, sizes) => {
        expect(evaluate(dim, sizes) + 0).toBe(model(sizes) + 0);
      }),
    );
  });

  it('are equal where their polynomials are, however they were made', () => {
    fc.assert(
      fc.property(polynomial, polynomial, polynomial, ({ dim: x }, { dim: y }, { dim: z }) => {
        expect(equal(add(x, y), add(y, x))).toBe(true);
        expect(equal(mul(x, y), mul(y, x))).toBe(true);
        expect(equal(mul(x, add(y, z)), add(mul(x, y), mul(x, z)))).toBe(true);
        expect(equal(sub(add(x, y), y), x)).toBe(true);
        expect(equal(sub(x, x), 0)).toBe(true);
      }),
    );
  });

  it('never call different polynomials equal', () => {
    fc.assert(
      fc.property(any, any, bindings, (x, y, sizes) => {
        if (equal(x.dim, y.dim)) expect(x.model(sizes) + 0).toBe(y.model(sizes) + 0);
      }),
    );
  });

  it('divide exactly, or not at all', () => {
    fc.assert(
      fc.property(polynomial, polynomial, bindings, (x, y, sizes) => {
        const quotient = divideExact(x.dim, y.dim);
        if (quotient !== undefined) expect(evaluate(quotient, sizes) * y.model(sizes) + 0).toBe(x.model(sizes) + 0);
      }),
    );
  });

  it('divide a product by its factor of one term', () => {
    const term = fc
      .tuple(fc.integer({ min: 1, max: 6 }), fc.array(fc.constantFrom(...NAMES), { maxLength: 3 }))
      .map(([n, names]) => product([n, ...names.map(symbol)]));
    fc.assert(
      fc.property(polynomial, term, ({ dim }, factor) => {
        expect(equal(divideExact(mul(dim, factor), factor) ?? NaN, dim)).toBe(true);
      }),
    );
  });

  it('do not divide by zero or into fractions', () => {
    expect(divideExact(symbol('a'), 0)).toBeUndefined();
    expect(divideExact(7, 2)).toBeUndefined();
    expect(divideExact(add(mul(2, symbol('a')), 1), 2)).toBeUndefined();
    expect(divideExact(symbol('a'), symbol('b'))).toBeUndefined();
  });

  it('compare only where every size agrees', () => {
    fc.assert(
      fc.property(any, any, fc.array(bindings, { minLength: 5, maxLength: 5 }), (x, y, samples) => {
        const sign = compare(x.dim, y.dim);
        if (sign === undefined) return;
        for (const sizes of samples) expect(Math.sign(x.model(sizes) - y.model(sizes)) + 0).toBe(sign + 0);
      }),
    );
  });

  it('decide the comparisons that slices and picks need', () => {
    const n = symbol('n');
    expect(compare(sub(n, 1), n)).toBe(-1);
    expect(compare(n, 0)).toBe(1);
    expect(compare(mul(2, n), mul(n, 2))).toBe(0);
    // 1 is possible, and so is more.
    expect(compare(n, 1)).toBeUndefined();
    expect(compare(n, 5)).toBeUndefined();
    expect(compare(floorDivide(n, 2), n)).toBeUndefined();
  });

  it('tell their symbols, through opaque terms too', () => {
    expect([...symbolsOf(add(mul(symbol('a'), symbol('b')), floorDivide(symbol('c'), 2)))].toSorted()).toEqual([
      'a',
      'b',
      'c',
    ]);
    expect([...symbolsOf(sub(symbol('a'), symbol('a')))]).toEqual([]);
  });

  it('name the symbol that has no size', () => {
    expectError('INTERNAL', /'a'/, () => evaluate(symbol('a'), new Map()));
  });

  it('make row-major strides', () => {
    expect(denseStrides([2, 3, 4])).toEqual([12, 4, 1]);
    expect(denseStrides([])).toEqual([]);
    expect(denseStrides([symbol('n'), 3, symbol('d')]).map(String)).toEqual(['3*d', 'd', '1']);
  });
});
