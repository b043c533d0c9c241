import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, tensorOf, type Graph } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, zooInputs } from '../../../src/zoo/index.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { goldenPath } from '../../support/golden.js';

const ints = (...values: number[]) => tensorOf('int64', [values.length], values);
const kernels = (graph: Graph): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27 }).program.steps.map((s) => s.kernel);

interface Form {
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly width: number;
  readonly values: number;
  /** Where the scores are scaled: behind the product, or before it, on both sides, as PyTorch exports it. */
  readonly scale: 'Div' | 'Mul' | 'both sides' | 'none';
  readonly mask?: readonly number[];
  /** Whether a Transpose and a Reshape join the heads. */
  readonly joins: boolean;
}

/** Attention of inputs [n, length, heads * width], heads split and joined as exporters do. */
function attention({ heads, queries, keys, width, values, scale, mask, joins }: Form): Graph {
  const random = new Random();
  const b = new GraphBuilder('attention');
  const split = (name: string, length: number, size: number, perm: number[]): string => {
    const x = b.input(name, 'float32', ['n', length, heads * size]);
    const shape = b.constant(`${name} heads`, ints(0, length, heads, size));
    return b.op('Transpose', [b.op('Reshape', [x, shape])], { perm });
  };
  const times = (value: string): string => b.op('Mul', [value, b.constant('root', tensorOf('float32', [], [0.6]))]);
  let q = split('q', queries, width, [0, 2, 1, 3]);
  let k = split('k', keys, width, [0, 2, 3, 1]);
  const v = split('v', keys, values, [0, 2, 1, 3]);
  if (scale === 'both sides') [q, k] = [times(q), times(k)];
  let scores = b.op('MatMul', [q, k]);
  if (scale === 'Div' || scale === 'Mul')
    scores = b.op(scale, [scores, b.constant('factor', tensorOf('float32', [1], [1.7]))]);
  if (mask) {
    const values_ = random.floats(mask);
    // One key that nobody sees.
    (values_.data as Float32Array)[0] = -Infinity;
    scores = b.op('Add', random.shuffled([scores, b.constant('mask', values_)]));
  }
  let y = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), v]);
  if (joins)
    y = b.op('Reshape', [
      b.op('Transpose', [y], { perm: [0, 2, 1, 3] }),
      b.constant('joined', ints(0, queries, heads * values)),
    ]);
  b.output(y, 'float32');
  return b.build();
}

const FORMS: Form[] = [
  { heads: 8, queries: 21, keys: 21, width: 8, values: 8, scale: 'Div', joins: true },
  { heads: 2, queries: 5, keys: 7, width: 5, values: 3, scale: 'Mul', mask: [5, 7], joins: true },
  { heads: 3, queries: 1, keys: 64, width: 64, values: 64, scale: 'both sides', mask: [1, 1, 1, 64], joins: true },
  { heads: 1, queries: 9, keys: 2, width: 4, values: 12, scale: 'none', joins: false },
  { heads: 3, queries: 8, keys: 8, width: 4, values: 4, scale: 'Mul', mask: [3, 8, 8], joins: true },
  { heads: 2, queries: 10, keys: 10, width: 16, values: 8, scale: 'none', mask: [10], joins: false },
  { heads: 2, queries: 3, keys: 128, width: 1, values: 1, scale: 'Div', mask: [2, 1, 128], joins: false },
];

describe('attention over short sequences', () => {
  const engines = openBothEngines();

  it.each(FORMS)('is one kernel: $queries queries, $keys keys, $scale', (form) => {
    expect(kernels(attention(form))).toEqual(['ShortAttention']);
  });

  it.each(FORMS)(`gives what the reference gives: $queries queries, $keys keys (seed ${SEED})`, async (form) => {
    const { heads, queries, keys, width, values } = form;
    const random = new Random();
    const graph = attention(form);
    for (const engine of engines) {
      const model = await engine.load(graph);
      for (const n of [1, 6]) {
        const inputs = {
          q: random.floats([n, queries, heads * width]),
          k: random.floats([n, keys, heads * width]),
          v: random.floats([n, keys, heads * values]),
        };
        expect(await graphProblems(model, graph, inputs)).toEqual([]);
      }
      await model.dispose();
    }
  });

  it('is found in BST, built and exported', async () => {
    for (const graph of [buildZoo('bst', 'tiny'), await importOnnxFile(goldenPath('bst.onnx'))]) {
      const found = kernels(graph);
      expect(found.filter((k) => /^(Short|Self)Attention$/.test(k))).toHaveLength(1);
      expect(found).not.toContain('Softmax');
      expect(found).not.toContain('Copy');
    }
  });

  it('leaves BST what it was', async () => {
    const graph = buildZoo('bst', 'tiny');
    for (const engine of engines) {
      const model = await engine.load(graph);
      expect(await graphProblems(model, graph, zooInputs('bst', 'tiny', 9, 1))).toEqual([]);
      await model.dispose();
    }
  });

  it('is found where the operator of that name stands', () => {
    const b = new GraphBuilder('attention', 23);
    const [q, k, v] = ['q', 'k', 'v'].map((name) => b.input(name, 'float32', ['n', 2, 6, 8])) as [
      string,
      string,
      string,
    ];
    b.output(b.op('Attention', [q, k, v]), 'float32');
    expect(kernels(b.build())).toEqual(['ShortAttention']);
  });

  it('is left alone where scores are read elsewhere, or keys are many', () => {
    const build = (keys: number, shown: boolean): Graph => {
      const b = new GraphBuilder('left');
      const x = b.input('x', 'float32', ['n', keys, 4]);
      const scores = b.op('MatMul', [x, b.op('Transpose', [x], { perm: [0, 2, 1] })]);
      const weights = b.op('Softmax', [scores], { axis: -1 });
      if (shown) b.output(weights, 'float32');
      b.output(b.op('MatMul', [weights, x]), 'float32');
      return b.build();
    };
    expect(kernels(build(9, false))).toEqual(['ShortAttention']);
    expect(kernels(build(9, true))).toContain('Softmax');
    expect(kernels(build(200, false))).toContain('Softmax');
  });
});
