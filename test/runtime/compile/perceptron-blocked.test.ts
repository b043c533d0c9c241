import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphEngine, type Backend } from '../../../runtime/index.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBackend, testsCuda } from '../../support/device.js';
import { forcing } from '../../support/forced.js';
import { perceptron, PERCEPTRON_FORMS, type PerceptronForm } from '../../support/perceptrons.js';

/** Beside those of few rows: pieces that are not full, several of them, inputs that are kept and that are not. */
const FORMS: PerceptronForm[] = [
  ...PERCEPTRON_FORMS,
  { title: 'wide layers', dims: [13], widths: [144, 72, 36], product: 'Gemm transposed', activation: 'Relu', ends: [] },
  { title: 'a tower', dims: [130], widths: [100, 40, 1], product: 'Gemm', activation: 'Relu', ends: ['activation'] },
  { title: 'odd pieces', dims: [67], widths: [122, 67, 3], product: 'MatMul', activation: 'Sigmoid', ends: ['gate'] },
  { title: 'a small tower', dims: [30], widths: [70, 70, 2], product: 'Gemm', activation: 'LeakyRelu', ends: ['gate'] },
  {
    title: 'layers of a block',
    dims: [5, 64],
    widths: [64],
    product: 'MatMul',
    activation: 'none',
    ends: ['residual', 'norm'],
  },
  { title: 'a deep layer', dims: [3, 258], widths: [64], product: 'MatMul', activation: 'none', ends: ['norm'] },
  {
    title: 'kept inputs',
    dims: [16],
    widths: [130, 48],
    product: 'MatMul',
    activation: 'LeakyRelu',
    ends: ['residual'],
  },
  { title: 'a wide norm', dims: [2, 36], widths: [132], product: 'MatMul', activation: 'none', ends: ['norm'] },
];

describe.skipIf(testsCuda)('layers that follow each other, for many rows', () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await openBackend({ software: false });
  });
  afterAll(() => backend.close());

  it.each(FORMS.flatMap((form) => [32, 64].map((rows) => ({ ...form, rows }))))(
    `give what the reference gives: $title, $rows rows (seed ${SEED})`,
    async ({ rows, ...form }) => {
      const random = new Random();
      const graph = perceptron(form);
      const taken = new Set<string>();
      const engine = new GraphEngine(forcing(backend, new RegExp(`^PerceptronBlocked.*_${rows}x`), taken));
      const model = await engine.load(graph);
      // Larger workgroups do not fit a software adapter's memory with every form.
      if (rows === 32) expect([...taken]).toHaveLength(1);
      for (const n of [1, 70]) {
        const inputs = Object.fromEntries(
          graph.inputs.map(({ name, shape }) => [name, random.floats([n, ...(shape!.slice(1) as number[])])]),
        );
        expect(await graphProblems(model, graph, inputs)).toEqual([]);
      }
      await model.dispose();
    },
  );
});
