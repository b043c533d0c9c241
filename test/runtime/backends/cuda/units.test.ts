import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fitsUnits, unitAt, unitsLayout } from '../../../../shaders/perceptron_native.js';
import { nativeAttentionLayout } from '../../../../shaders/self_attention_native.js';
import { roundToTf32 } from '../../../../runtime/compile/tf32.js';
import { evaluateGraph, GraphEngine, type Backend } from '../../../../runtime/index.js';
import { Random, SEED } from '../../../support/cases.js';
import { openBackend, testsCuda } from '../../../support/device.js';
import { perceptron, type PerceptronForm } from '../../../support/perceptrons.js';

describe('parameters of perceptrons on matrix units', () => {
  it('have a place for each weight, and no two the same', () => {
    for (const isFirst of [true, false]) {
      const [k, n] = [48, 24];
      const places = new Set<number>();
      for (let row = 0; row < k; row++)
        for (let column = 0; column < n; column++) places.add(unitAt(row, column, n, isFirst));
      expect([places.size, Math.min(...places), Math.max(...places)]).toEqual([k * n, 0, k * n - 1]);
    }
  });

  it('lie as matrix units take them: a lane has neighbours, of a step the rows t and t + 4', () => {
    // Features 4 t to 4 t + 3 of lane t, two for each of two steps.
    expect([4, 5, 6, 7].map((row) => unitAt(row, 0, 8, true))).toEqual([2, 3, 66, 67]);
    // Hidden columns 2 t and 2 t + 1.
    expect([2, 3, 8].map((row) => unitAt(row, 1, 8, false))).toEqual([10, 11, 72]);
  });

  it('are refused where registers or memory do not hold them', () => {
    const layers = [
      { k: 64, n: 256 },
      { k: 256, n: 64 },
    ];
    expect(unitsLayout(layers, true).total).toBe(2 * 64 * 256 + 256 + 3 * 64);
    expect(fitsUnits(layers, true, 232_448)).toBe(true);
    expect(fitsUnits(layers, true, 100_000)).toBe(false);
    expect(fitsUnits([{ k: 24, n: 64 }], true, 232_448)).toBe(false);
    expect(fitsUnits([{ k: 64, n: 72 }], true, 232_448)).toBe(false);
    expect(fitsUnits([...layers, { k: 64, n: 64 }], true, 232_448)).toBe(false);
  });
});

describe('parameters of attention on matrix units', () => {
  it('have a place for each weight and bias, and no two the same', () => {
    const form = { length: 5, features: 48, heads: 4, width: 8, valueWidth: 8 };
    const { weight, bias, weights, total } = nativeAttentionLayout(form);
    const places = new Set<number>();
    for (let head = 0; head < 4; head++)
      for (let part = 0; part < 3; part++)
        for (let column = 0; column < 8; column++) {
          places.add(bias(head, part, column));
          for (let feature = 0; feature < 48; feature++) places.add(weight(feature, head, part, column));
        }
    expect([weights, total]).toEqual([48 * 96, 49 * 96]);
    expect([places.size, Math.min(...places), Math.max(...places)]).toEqual([total, 0, total - 1]);
  });
});

describe('roundToTf32', () => {
  it('keeps ten bits behind the first, to the nearest, and what is not finite', () => {
    const values = Float32Array.of(
      1 + 2 ** -10,
      1 + 2 ** -12,
      1 + 2 ** -11,
      -1 - 3 * 2 ** -12,
      0,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    );
    roundToTf32(values);
    const expected = [1 + 2 ** -10, 1, 1 + 2 ** -10, -1 - 2 ** -10, 0, Number.POSITIVE_INFINITY, Number.NaN];
    expect([...values]).toEqual(expected);
  });
});

const FORMS: readonly PerceptronForm[] = [
  {
    title: 'a block',
    dims: [21, 64],
    widths: [256, 64],
    product: 'MatMul',
    activation: 'LeakyRelu',
    ends: ['residual', 'norm'],
  },
  {
    title: 'small',
    dims: [16],
    widths: [32, 8],
    product: 'Gemm transposed',
    activation: 'Relu',
    ends: ['gate', 'activation'],
  },
  {
    title: 'one layer and a norm',
    dims: [5, 48],
    widths: [24],
    product: 'MatMul',
    activation: 'none',
    ends: ['residual', 'norm'],
  },
  { title: 'a norm alone', dims: [3, 64], widths: [64], product: 'MatMul', activation: 'none', ends: ['norm'] },
];

describe.skipIf(!testsCuda)('perceptrons on matrix units (BRAID_TEST_BACKEND=cuda)', () => {
  const random = new Random();
  let backend: Backend;
  let engine: GraphEngine;
  beforeAll(async () => {
    backend = await openBackend();
    engine = new GraphEngine(backend);
  });
  afterAll(() => engine.close());

  it.each(FORMS.flatMap((form) => (['tf32', 'float16'] as const).map((products) => ({ ...form, products }))))(
    `$title, $products (seed ${SEED})`,
    async ({ products, ...form }) => {
      const graph = perceptron(form);
      const model = await engine.load(graph, { products });
      for (const rows of [1, 7, 65, 1300]) {
        const given = Object.fromEntries(
          model.inputs.map(({ name, shape }) => [name, random.floats([rows, ...(shape.slice(1) as number[])], -1, 1)]),
        );
        const [output] = Object.values(await model.run(given));
        const [expected] = evaluateGraph(graph, new Map(Object.entries(given))).values();
        const found = output!.data as Float32Array;
        const worst = found.reduce((most, v, i) => Math.max(most, Math.abs(v - Number(expected!.data[i]!))), 0);
        expect(found.length).toBe(expected!.data.length);
        expect(worst).toBeLessThan(0.03);
      }
      await model.dispose();
    },
  );
});
