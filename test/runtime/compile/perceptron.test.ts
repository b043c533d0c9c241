import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, type Graph } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, zooInputs } from '../../../src/zoo/index.js';
import { SOFTWARE_CAPS } from '../../support/caps.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { goldenPath } from '../../support/golden.js';

const kernels = (graph: Graph): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27 }).program.steps.map((s) => s.kernel);

interface Form {
  readonly title: string;
  /** Sizes of a row of the input, features last. */
  readonly dims: readonly number[];
  readonly widths: readonly number[];
  readonly product: 'Gemm' | 'Gemm transposed' | 'MatMul';
  readonly activation: 'Relu' | 'LeakyRelu' | 'Sigmoid' | 'none';
  /** What the last layer does beside its own bias. */
  readonly ends: readonly ('activation' | 'residual' | 'gate' | 'norm')[];
}

function perceptron({ dims, widths, product, activation, ends }: Form): Graph {
  const random = new Random();
  const b = new GraphBuilder('perceptron');
  const x = b.input('x', 'float32', ['n', ...dims]);
  const activate = (value: string): string =>
    activation === 'none' ? value : b.op(activation, [value], activation === 'LeakyRelu' ? { alpha: 0.2 } : {});
  let value = x;
  let k = dims.at(-1)!;
  widths.forEach((n, i) => {
    const bias = b.constant(`b${i}`, random.floats([n]));
    const bound = 2 / Math.sqrt(k);
    const floats = (shape: number[]): string => b.constant(`w${i}`, random.floats(shape, -bound, bound));
    if (product === 'MatMul') value = b.op('Add', random.shuffled([b.op('MatMul', [value, floats([k, n])]), bias]));
    else if (product === 'Gemm') value = b.op('Gemm', [value, floats([k, n]), bias], { alpha: 0.5, beta: 2 });
    else value = b.op('Gemm', [value, floats([n, k]), bias], { transB: 1 });
    if (i < widths.length - 1) value = activate(value);
    k = n;
  });
  for (const end of ends) {
    if (end === 'activation') value = activate(value);
    else if (end === 'residual') value = b.op('Add', [value, b.input('r', 'float32', ['n', ...dims.slice(0, -1), k])]);
    else if (end === 'gate') value = b.op('Mul', [value, b.input('g', 'float32', ['n', ...dims.slice(0, -1), k])]);
    else
      value = b.op('LayerNormalization', [
        value,
        b.constant('scale', random.floats([k])),
        b.constant('shift', random.floats([k])),
      ]);
  }
  b.output(value, 'float32');
  return b.build();
}

const FORMS: Form[] = [
  {
    title: 'a tail',
    dims: [10],
    widths: [8, 1],
    product: 'Gemm transposed',
    activation: 'Relu',
    ends: ['activation'],
  },
  {
    title: 'three layers',
    dims: [13],
    widths: [17, 10, 12],
    product: 'Gemm transposed',
    activation: 'Relu',
    ends: [],
  },
  { title: 'odd widths', dims: [7], widths: [5, 3, 2], product: 'Gemm', activation: 'Sigmoid', ends: ['residual'] },
  { title: 'single features', dims: [1], widths: [1, 1], product: 'Gemm', activation: 'LeakyRelu', ends: [] },
  {
    title: 'feed-forward layers of a block',
    dims: [21, 8],
    widths: [18, 8],
    product: 'MatMul',
    activation: 'LeakyRelu',
    ends: ['residual', 'norm'],
  },
  {
    title: 'one layer and a norm',
    dims: [5, 24],
    widths: [28],
    product: 'MatMul',
    activation: 'none',
    ends: ['residual', 'norm'],
  },
  { title: 'a norm of four', dims: [3], widths: [6, 4], product: 'MatMul', activation: 'Relu', ends: ['norm'] },
  {
    title: 'a wide input',
    dims: [300],
    widths: [18, 9],
    product: 'Gemm transposed',
    activation: 'Sigmoid',
    ends: ['gate', 'activation'],
  },
];

describe('layers that follow each other', () => {
  const engines = openBothEngines();

  it.each(FORMS)('are one kernel: $title', (form) => {
    const found = kernels(perceptron(form));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^Perceptron/);
  });

  it.each(FORMS)(`give what the reference gives: $title (seed ${SEED})`, async (form) => {
    const random = new Random();
    const graph = perceptron(form);
    const model = await engines[1]!.load(graph);
    // The last is enough for workgroups of many rows.
    for (const n of [1, 6, form.title === 'feed-forward layers of a block' ? 820 : 70]) {
      const inputs = Object.fromEntries(
        graph.inputs.map(({ name, shape }) => [name, random.floats([n, ...(shape!.slice(1) as number[])])]),
      );
      expect(await graphProblems(model, graph, inputs)).toEqual([]);
    }
    await model.dispose();
  });

  it.each(['wnd', 'din', 'dlrm', 'bst'])('are found in %s, built and exported', async (name) => {
    for (const graph of [
      buildZoo(name, 'tiny'),
      buildZoo(name, 'demo'),
      await importOnnxFile(goldenPath(`${name}.onnx`)),
    ]) {
      const found = kernels(graph);
      expect(found.filter((k) => k.startsWith('Perceptron')).length).toBeGreaterThanOrEqual(name === 'bst' ? 3 : 1);
      expect(found).not.toContain('LayerNormalization');
    }
  });

  it.each(['wnd', 'dlrm', 'bst'])('leave %s what it was', async (name) => {
    const graph = buildZoo(name, 'tiny');
    const model = await engines[1]!.load(graph);
    expect(await graphProblems(model, graph, zooInputs(name, 'tiny', 9, 1))).toEqual([]);
    await model.dispose();
  });

  it('are left alone where a value between them is read elsewhere, weights are many, or data', () => {
    const b = new GraphBuilder('left');
    const random = new Random();
    const x = b.input('x', 'float32', ['n', 8]);
    const layer = (value: string, k: number, n: number, name: string): string =>
      b.op('MatMul', [value, b.constant(name, random.floats([k, n]))]);
    const hidden = b.op('Relu', [layer(x, 8, 4, 'a')]);
    b.output(hidden, 'float32');
    b.output(layer(hidden, 4, 2, 'b'), 'float32');
    b.output(b.op('MatMul', [layer(x, 8, 3, 'c'), b.input('w', 'float32', [3, 2])]), 'float32');
    b.output(layer(layer(x, 8, 600, 'd'), 600, 2, 'e'), 'float32');
    expect(kernels(b.build()).filter((k) => k.startsWith('Perceptron'))).toEqual([]);
  });

  it('are products of their own on a software adapter', () => {
    const { program } = compile(perceptron(FORMS[0]!), { maxBindingBytes: 2 ** 27, caps: SOFTWARE_CAPS });
    expect(program.steps).toHaveLength(2);
  });
});
