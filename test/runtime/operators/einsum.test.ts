import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphEngine, tensorOf, type Tensor } from '../../../runtime/index.js';
import { evaluateGraph, GraphBuilder } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  difference,
  floats,
  Random,
  referenceProblems,
  SEED,
  symbolic,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { expectError } from '../../support/errors.js';
import { testLiteral } from '../../support/literal.js';

const einsum = (equation: string, inputs: readonly Tensor[], expected?: Tensor): Case => ({
  title: equation,
  op: 'Einsum',
  inputs: inputs.map((x) => data(x)),
  attributes: { equation },
  ...(expected ? { expected: [expected] } : {}),
});

const square = floats([2, 2], [1, 2, 3, 4]);
const other = floats([2, 2], [5, 6, 7, 8]);
const pair = floats([2], [10, 100]);

const LITERAL: Case[] = [
  einsum('ij->ji', [square], floats([2, 2], [1, 3, 2, 4])),
  einsum('ij->i', [square], floats([2], [3, 7])),
  einsum('ij->', [square], floats([], [10])),
  einsum('ii->i', [square], floats([2], [1, 4])),
  einsum('ii', [square], floats([], [5])),
  einsum('ba', [square], floats([2, 2], [1, 3, 2, 4])),
  einsum('i,i', [pair, pair], floats([], [10_100])),
  einsum('i,j->ij', [pair, pair], floats([2, 2], [100, 1000, 1000, 10_000])),
  einsum('ij,jk->ik', [square, other], floats([2, 2], [19, 22, 43, 50])),
  einsum('ij, jk', [square, other], floats([2, 2], [19, 22, 43, 50])),
  einsum('ij,ij->ij', [square, other], floats([2, 2], [5, 12, 21, 32])),
  einsum('ij,kj->', [square, other], floats([], [132])),
  einsum('...ij,...j->...i', [square, pair], floats([2], [210, 430])),
  einsum('ij,jk,k->i', [square, other, pair], floats([2], [19 * 10 + 22 * 100, 43 * 10 + 50 * 100])),
  {
    ...einsum(
      'bid,bjd->bij',
      [floats([1, 2, 1], [2, 3]), floats([1, 2, 1], [5, 7])],
      floats([1, 2, 2], [10, 14, 15, 21]),
    ),
  },
  {
    title: 'of symbols',
    op: 'Einsum',
    inputs: [symbolic(square, ['b', 'd']), symbolic(other, ['b', 'd'])],
    attributes: { equation: 'bd,bd->b' },
    expected: [floats([2], [17, 53])],
  },
];

/** The sum that the equation says, letter by letter. */
function brute(equation: string, inputs: readonly Tensor[]): Tensor {
  const [left, result] = equation.split('->') as [string, string];
  const terms = left.split(',');
  const sizes = new Map<string, number>();
  terms.forEach((term, i) => [...term].forEach((l, d) => sizes.set(l, inputs[i]!.dims[d]!)));
  const letters = [...sizes.keys()];
  const dims = [...result].map((l) => sizes.get(l)!);
  const out = new Float64Array(dims.reduce((a, b) => a * b, 1));
  const total = letters.reduce((n, l) => n * sizes.get(l)!, 1);
  for (let c = 0; c < total; c++) {
    const at = new Map<string, number>();
    let rest = c;
    for (const l of letters) {
      at.set(l, rest % sizes.get(l)!);
      rest = Math.floor(rest / sizes.get(l)!);
    }
    const place = (term: string) => [...term].reduce((o, l) => o * sizes.get(l)! + at.get(l)!, 0);
    out[place(result)]! += terms.reduce((p, term, i) => p * Number(inputs[i]!.data[place(term)]), 1);
  }
  return tensorOf('float32', dims, out);
}

/** Up to three terms of letters that may repeat, and a result of some of them. */
function randomCases(random: Random): Case[] {
  return Array.from({ length: 12 }, (): Case => {
    const letters = ['a', 'b', 'c', 'd'];
    const sizes = new Map(letters.map((l) => [l, random.int(1, 4)]));
    const terms = Array.from({ length: random.int(1, 3) }, () =>
      Array.from({ length: random.int(1, 3) }, () => random.pick(letters)).join(''),
    );
    const used = [...new Set(terms.join(''))];
    const result = random.shuffled(used).slice(0, random.int(0, used.length)).join('');
    const equation = `${terms.join(',')}->${result}`;
    const inputs = terms.map((term) => random.floats([...term].map((l) => sizes.get(l)!)));
    return einsum(equation, inputs, brute(equation, inputs));
  });
}

describe('Einsum', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('einsum', LITERAL, () => engine);

  it(`is the sum that the letters say (seed ${SEED})`, async () => {
    const cases = randomCases(new Random());
    expect(referenceProblems(cases)).toEqual([]);
    expect(await deviceProblems(engine, cases)).toEqual([]);
  });

  it('refuses letters whose dimensions differ, and results out of nowhere', () => {
    const run = (equation: string, a: Tensor, b: Tensor): unknown => {
      const builder = new GraphBuilder('einsum');
      const inputs = [builder.input('a', 'float32', a.dims), builder.input('b', 'float32', b.dims)];
      builder.output(builder.op('Einsum', inputs, { equation }, { outputs: ['y'] }), 'float32');
      return difference(a, {
        ...a,
        data: [
          ...evaluateGraph(
            builder.build(),
            new Map([
              ['a', a],
              ['b', b],
            ]),
          ).values(),
        ][0]!.data,
      });
    };
    expectError('MODEL_INVALID', /dimension 'j' is 2 and 1/, () => run('ij,jk->ik', square, floats([1, 2], [1, 2])));
    expectError('MODEL_INVALID', /'x' stands in the result alone/, () => run('ij,jk->ix', square, other));
    expectError('MODEL_INVALID', /term 'ijk' for an input of rank 2/, () => run('ijk,jk->i', square, other));
  });
});
