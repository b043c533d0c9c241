import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, tensorOf, type Graph, type Tensor } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, zooInputs } from '../../../src/zoo/index.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { needsUnits } from '../../support/units.js';
import { goldenPath } from '../../support/golden.js';

const ints = (...values: number[]) => tensorOf('int64', [values.length], values);
const kernels = (graph: Graph): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27 }).program.steps.map((s) => s.kernel.split('+')[0]!);

interface Form {
  readonly length: number;
  readonly width: number;
  readonly first: number;
  readonly second: number;
  readonly activation: 'Relu' | 'Sigmoid' | 'LeakyRelu';
  readonly mask: 'where' | 'add' | 'none';
  /** Whether scores are divided before the softmax. */
  readonly scaled: boolean;
  /** Whether the target comes from a table, as the keys do. */
  readonly lookups: boolean;
}

/** concat(weighted sum of keys, target): the weights are the softmax of a perceptron of [q, k, q - k, q * k]. */
function attention({ length, width, first, second, activation, mask, scaled, lookups }: Form): Graph {
  const random = new Random();
  const b = new GraphBuilder('attention');
  const weights = (name: string, k: number, n: number): string =>
    b.constant(name, random.floats([k, n], -1.5 / Math.sqrt(k), 1.5 / Math.sqrt(k)));
  const table = b.constant('table', random.floats([50, width]));
  const look = (name: string, dims: number[]): string =>
    b.op('Gather', [table, b.input(name, 'int64', ['n', ...dims])], { axis: 0 });
  const q = lookups ? look('target', []) : b.op('Relu', [b.input('q', 'float32', ['n', width])]);
  const k = lookups ? look('keys', [length]) : b.input('k', 'float32', ['n', length, width]);
  const row = b.op('Unsqueeze', [q, b.constant('one', ints(1))]);
  const repeated = b.op('Expand', [row, b.constant('times', ints(1, length, 1))]);
  const features = b.op('Concat', [repeated, k, b.op('Sub', [row, k]), b.op('Mul', [row, k])], { axis: -1 });
  const layer = (x: string, name: string, from: number, to: number): string =>
    b.op('Add', [b.op('MatMul', [x, weights(name, from, to)]), b.constant(`${name} bias`, random.floats([to]))]);
  const act = (x: string): string => b.op(activation, [x]);
  let scores = b.op('Squeeze', [
    layer(act(layer(act(layer(features, 'a', 4 * width, first)), 'b', first, second)), 'c', second, 1),
    b.constant('last', ints(-1)),
  ]);
  const seen = mask === 'none' ? '' : b.input('mask', 'float32', ['n', length]);
  const zero = b.constant('zero', tensorOf('float32', [], [0]));
  if (mask === 'where')
    scores = b.op('Where', [b.op('Greater', [seen, zero]), scores, b.constant('low', tensorOf('float32', [], [-6e4]))]);
  if (mask === 'add') scores = b.op('Add', [scores, seen]);
  if (scaled) scores = b.op('Div', [scores, b.constant('root', tensorOf('float32', [], [1.7]))]);
  const line = b.op('Unsqueeze', [b.op('Softmax', [scores], { axis: -1 }), 'one']);
  const sum = b.op('Squeeze', [b.op('MatMul', [line, k]), 'one']);
  b.output(b.op('Concat', [sum, q], { axis: 1 }), 'float32');
  return b.build();
}

const FORMS: Form[] = [
  { length: 7, width: 8, first: 12, second: 5, activation: 'Relu', mask: 'where', scaled: false, lookups: true },
  { length: 100, width: 16, first: 16, second: 8, activation: 'Sigmoid', mask: 'none', scaled: true, lookups: true },
  { length: 2, width: 4, first: 1, second: 1, activation: 'LeakyRelu', mask: 'add', scaled: true, lookups: false },
  { length: 130, width: 20, first: 16, second: 64, activation: 'Relu', mask: 'where', scaled: false, lookups: false },
];

/** Runs of 8 features of a key that a subgroup does not hold an even number of. */
const UNEVEN: Form = { ...FORMS[0]!, length: 33, width: 72, first: 40, second: 24 };

/** As in the zoo. */
const DIN: Form = {
  length: 100,
  width: 128,
  first: 80,
  second: 40,
  activation: 'Relu',
  mask: 'where',
  scaled: false,
  lookups: true,
};
/** Factors are rounded to 11 bits; the softmax makes relative errors of what is off in a score. */
const HALF_TOLERANCE = 2e-2;

function inputsOf({ length, width, mask, lookups }: Form, random: Random, n: number): Record<string, Tensor> {
  return {
    ...(lookups
      ? { target: random.tensor('int64', [n], 0, 50), keys: random.tensor('int64', [n, length], 0, 50) }
      : { q: random.floats([n, width]), k: random.floats([n, length, width]) }),
    ...(mask === 'none' ? {} : { mask: random.floats([n, length], -1, 1) }),
  };
}

describe('attention to a target', () => {
  const engines = openBothEngines();

  it.each(FORMS)(`is one kernel: $length keys of $width, $mask (seed ${SEED})`, async (form) => {
    const { lookups } = form;
    const graph = attention(form);
    const found = kernels(graph);
    expect(found.filter((k) => k === 'TargetAttention')).toHaveLength(1);
    expect(found.filter((k) => !['Gather', 'TargetAttention', 'Relu', 'Copy'].includes(k))).toEqual(['MatMul']);
    // The target's lookup is made for the kernel too, so that its result needs no copy.
    if (lookups) expect(found).not.toContain('Copy');
    const random = new Random();
    const model = await engines[1]!.load(graph);
    for (const n of [1, 6]) expect(await graphProblems(model, graph, inputsOf(form, random, n))).toEqual([]);
    await model.dispose();
  });

  it.for([
    { ...FORMS[1]!, width: 16 },
    { ...FORMS[3]!, width: 24 },
    { ...FORMS[0]!, length: 100, width: 128, first: 80, second: 40 },
  ])(`is the same up to rounding in TF32: $length keys of $width (seed ${SEED})`, async (form, context) => {
    await needsUnits(engines[1]!, 'tf32', context);
    const { length, width, mask, lookups } = form;
    const graph = attention(form);
    const random = new Random();
    const model = await engines[1]!.load(graph, { products: 'tf32' });
    for (const n of [1, 6]) {
      const inputs = {
        ...(lookups
          ? { target: random.tensor('int64', [n], 0, 50), keys: random.tensor('int64', [n, length], 0, 50) }
          : { q: random.floats([n, width]), k: random.floats([n, length, width]) }),
        ...(mask === 'none' ? {} : { mask: random.floats([n, length], -1, 1) }),
      };
      expect(await graphProblems(model, graph, inputs, 0, 1e-2)).toEqual([]);
    }
    await model.dispose();
  });
  it.for([...FORMS, UNEVEN, DIN])(
    `gives nearly that in float16: $length keys of $width, $mask (seed ${SEED})`,
    async (form, context) => {
      await needsUnits(engines[1]!, 'float16', context);
      const graph = attention(form);
      const random = new Random();
      const model = await engines[1]!.load(graph, { products: 'float16' });
      for (const n of [1, 6, 70])
        expect(await graphProblems(model, graph, inputsOf(form, random, n), HALF_TOLERANCE, HALF_TOLERANCE)).toEqual(
          [],
        );
      await model.dispose();
    },
  );

  it('is found in DIN, built and exported', async () => {
    for (const graph of [
      buildZoo('din', 'tiny'),
      buildZoo('din', 'published', { maxRows: 100 }),
      await importOnnxFile(goldenPath('din.onnx')),
    ]) {
      const found = kernels(graph);
      if (graph.name.includes('published')) continue;
      expect(found.filter((k) => k === 'TargetAttention' || k === 'ModulatedMatMul')).toHaveLength(1);
    }
  });

  it('leaves DIN what it was, built and exported', async () => {
    const graph = buildZoo('din', 'tiny');
    const model = await engines[1]!.load(graph);
    expect(await graphProblems(model, graph, zooInputs('din', 'tiny', 9, 1))).toEqual([]);
    await model.dispose();
  });

  it('is left alone where weights are read elsewhere, or sum other values', () => {
    const b = new GraphBuilder('left');
    const random = new Random();
    const [q, k] = [b.input('q', 'float32', ['n', 4]), b.input('k', 'float32', ['n', 3, 4])];
    const row = b.op('Unsqueeze', [q, b.constant('one', ints(1))]);
    const repeated = b.op('Expand', [row, b.constant('times', ints(1, 3, 1))]);
    const features = b.op('Concat', [repeated, k, b.op('Mul', [row, k])], { axis: -1 });
    const layer = (x: string, from: number, to: number): string =>
      b.op('MatMul', [x, b.constant(`w${from}`, random.floats([from, to]))]);
    const scores = layer(b.op('Relu', [layer(b.op('Relu', [layer(features, 12, 8)]), 8, 6)]), 6, 1);
    const shares = b.op('Softmax', [b.op('Squeeze', [scores, b.constant('last', ints(-1))])], { axis: -1 });
    b.output(shares, 'float32');
    b.output(b.op('MatMul', [b.op('Unsqueeze', [shares, 'one']), k]), 'float32');
    expect(kernels(b.build())).toContain('Softmax');
  });
});
