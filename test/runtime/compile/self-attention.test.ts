import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, tensorOf, type Graph } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, zooInputs } from '../../../src/zoo/index.js';
import { SOFTWARE_CAPS } from '../../support/caps.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { goldenPath } from '../../support/golden.js';
import { needsUnits } from '../../support/units.js';

const kernels = (graph: Graph): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27 }).program.steps.map((s) => s.kernel);

interface Form {
  readonly length: number;
  readonly features: number;
  readonly heads: number;
  readonly width: number;
  readonly values: number;
  readonly biased: boolean;
  /** Features of the result behind which it is put, of a row of all places. */
  readonly behind?: number;
  /** What keeps it from being one kernel. */
  readonly spoiled?: 'shown' | 'activated' | 'two inputs';
}

/** Attention of x [n, length, features] to itself. */
function attention({ length, features, heads, width, values, biased, behind, spoiled }: Form): Graph {
  const random = new Random();
  const b = new GraphBuilder('attention');
  const x = b.input('x', 'float32', ['n', length, features]);
  const y = spoiled === 'two inputs' ? b.input('y', 'float32', ['n', length, features]) : x;
  const project = (name: string, of: string, size: number, perm: number[]): string => {
    const bound = 2 / Math.sqrt(features);
    let value = b.op('MatMul', [of, b.constant(`${name}.w`, random.floats([features, heads * size], -bound, bound))]);
    if (biased) value = b.op('Add', [value, b.constant(`${name}.b`, random.floats([heads * size]))]);
    if (spoiled === 'activated' && name === 'v') value = b.op('Relu', [value]);
    const split = b.constant(`${name}.heads`, tensorOf('int64', [4], [0, 0, heads, size]));
    const made = b.op('Reshape', [value, split]);
    if (spoiled === 'shown' && name === 'q') b.output(made, 'float32');
    return b.op('Transpose', [made], { perm });
  };
  const q = project('q', x, width, [0, 2, 1, 3]);
  const k = project('k', y, width, [0, 2, 3, 1]);
  const v = project('v', y, values, [0, 2, 1, 3]);
  const scores = b.op('Div', [b.op('MatMul', [q, k]), b.constant('root', tensorOf('float32', [], [1.7]))]);
  const mixed = b.op('Transpose', [b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), v])], {
    perm: [0, 2, 1, 3],
  });
  const size = heads * values;
  const joined = b.constant('joined', tensorOf('int64', [2], [-1, length * size]));
  const flat = b.op('Reshape', [mixed, joined]);
  b.output(
    behind === undefined ? flat : b.op('Concat', [b.input('f', 'float32', ['n', behind]), flat], { axis: 1 }),
    'float32',
  );
  return b.build();
}

/** Of the zoo, and such whose sequences, heads and columns fill nothing whole. */
const FORMS: Form[] = [
  { length: 21, features: 64, heads: 8, width: 8, values: 8, biased: true },
  { length: 11, features: 32, heads: 4, width: 8, values: 8, biased: true },
  { length: 1, features: 5, heads: 1, width: 4, values: 4, biased: false },
  { length: 32, features: 12, heads: 3, width: 4, values: 8, biased: true },
  { length: 7, features: 19, heads: 5, width: 8, values: 4, biased: true, behind: 3 },
  { length: 3, features: 8, heads: 2, width: 12, values: 16, biased: false, behind: 4 },
];

describe('attention of short sequences to themselves', () => {
  const engines = openBothEngines();

  it.each(FORMS)('is one kernel: $length places, $heads heads', (form) => {
    const copies = kernels(attention(form)).filter((k) => k === 'Copy').length;
    expect(kernels(attention(form)).filter((k) => k !== 'Copy')).toEqual(['SelfAttention']);
    expect(copies).toBeLessThanOrEqual(form.behind === undefined ? 0 : 1);
  });

  it.each(FORMS)(`gives what the reference gives: $length places, $heads heads (seed ${SEED})`, async (form) => {
    const random = new Random();
    const graph = attention(form);
    const model = await engines[1]!.load(graph);
    for (const n of [1, 2, 6, 65]) {
      const inputs = Object.fromEntries(
        graph.inputs.map(({ name, shape }) => [name, random.floats([n, ...(shape!.slice(1) as number[])])]),
      );
      expect(await graphProblems(model, graph, inputs)).toEqual([]);
    }
    await model.dispose();
  });

  it.for(
    [
      FORMS[0]!,
      { ...FORMS[1]!, biased: false },
      { length: 32, features: 48, heads: 2, width: 8, values: 8, biased: true },
      { length: 1, features: 16, heads: 6, width: 8, values: 8, biased: true, behind: 4 },
    ].flatMap((form) => (['tf32', 'float16'] as const).map((products) => ({ ...form, products }))),
  )(
    `is the same up to rounding in $products: $length places, $heads heads (seed ${SEED})`,
    async ({ products, ...form }, context) => {
      await needsUnits(engines[1]!, products, context);
      const random = new Random();
      const graph = attention(form);
      const model = await engines[1]!.load(graph, { products });
      for (const n of [1, 2, 65, 900]) {
        const inputs = Object.fromEntries(
          graph.inputs.map(({ name, shape }) => [name, random.floats([n, ...(shape!.slice(1) as number[])], -1, 1)]),
        );
        expect(await graphProblems(model, graph, inputs, 0, 1e-2)).toEqual([]);
      }
      await model.dispose();
    },
  );

  it('is found in BST, built and exported', async () => {
    for (const graph of [
      buildZoo('bst', 'tiny'),
      buildZoo('bst', 'demo'),
      await importOnnxFile(goldenPath('bst.onnx')),
    ])
      expect(kernels(graph).filter((k) => k === 'SelfAttention')).toHaveLength(1);
  });

  it('leaves BST what it was', async () => {
    const graph = buildZoo('bst', 'tiny');
    const model = await engines[1]!.load(graph);
    expect(await graphProblems(model, graph, zooInputs('bst', 'tiny', 9, 1))).toEqual([]);
    await model.dispose();
  });

  it.each(['shown', 'activated', 'two inputs'] as const)('is left alone where it is not that: %s', (spoiled) => {
    const found = kernels(attention({ ...FORMS[0]!, spoiled }));
    expect(found).toContain('ShortAttention');
    expect(found).not.toContain('SelfAttention');
  });

  it('is products and an attention on a software adapter', () => {
    const { program } = compile(attention(FORMS[0]!), { maxBindingBytes: 2 ** 27, caps: SOFTWARE_CAPS });
    expect(program.steps.map((s) => s.kernel)).toContain('ShortAttention');
  });
});
