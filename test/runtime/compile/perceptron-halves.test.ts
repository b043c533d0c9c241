import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphEngine, type Backend } from '../../../runtime/index.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { needsUnits } from '../../support/units.js';
import { perceptron, PERCEPTRON_FORMS, type PerceptronForm } from '../../support/perceptrons.js';

/** Beside those of float32: panels, tiles that are not full, rows for all sizes of workgroups. */
const FORMS: PerceptronForm[] = [
  ...PERCEPTRON_FORMS,
  {
    title: 'wide layers',
    dims: [13],
    widths: [512, 256, 128],
    product: 'Gemm transposed',
    activation: 'Relu',
    ends: ['activation'],
  },
  { title: 'a tower', dims: [768], widths: [200, 80, 1], product: 'Gemm', activation: 'Relu', ends: ['activation'] },
  { title: 'odd panels', dims: [131], widths: [250, 67, 5], product: 'MatMul', activation: 'Sigmoid', ends: ['gate'] },
  {
    title: 'a block of the zoo',
    dims: [21, 64],
    widths: [256, 64],
    product: 'MatMul',
    activation: 'LeakyRelu',
    ends: ['residual', 'norm'],
  },
  { title: 'a wide norm', dims: [2, 36], widths: [132], product: 'MatMul', activation: 'none', ends: ['norm'] },
];
const ROWS = [1, 6, 70, 820, 2100];
/** Factors are rounded to 11 bits in each of up to three layers. */
const TOLERANCE = 1.5e-2;

describe('layers that follow each other, in float16', () => {
  let backend: Backend;
  let engine: GraphEngine;
  beforeAll(async () => {
    backend = await openBackend();
    engine = new GraphEngine(backend);
  });
  afterAll(() => engine.close());

  it.for(FORMS)(`give nearly what the reference gives: $title (seed ${SEED})`, async (form, context) => {
    await needsUnits(engine, 'float16', context);
    const random = new Random();
    const graph = perceptron(form);
    const model = await engine.load(graph, { products: 'float16' });
    for (const n of ROWS) {
      const inputs = Object.fromEntries(
        graph.inputs.map(({ name, shape }) => [name, random.floats([n, ...(shape!.slice(1) as number[])])]),
      );
      expect(await graphProblems(model, graph, inputs, TOLERANCE, TOLERANCE)).toEqual([]);
    }
    await model.dispose();
  });

  it('are computed in float16', async (context) => {
    if (!backend.caps.multipliesHalves) context.skip('this device has no matrix units for float16');
    const form: PerceptronForm = { ...FORMS[0]!, dims: [64], widths: [64, 4] };
    const [exact, rounded] = await Promise.all(
      (['float32', 'float16'] as const).map((products) => engine.load(perceptron(form), { products })),
    );
    const x = new Random().floats([16, 64]);
    const [a, b] = await Promise.all([exact!.run({ x }), rounded!.run({ x })]);
    expect(Object.values(b)[0]!.data).not.toEqual(Object.values(a)[0]!.data);
    await Promise.all([exact!.dispose(), rounded!.dispose()]);
  });
});
