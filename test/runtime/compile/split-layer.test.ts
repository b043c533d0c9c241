import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, tensorOf, type Graph } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, zooInputs } from '../../../src/zoo/index.js';
import { SOFTWARE_CAPS } from '../../support/caps.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { goldenPath } from '../../support/golden.js';

const ints = (...values: number[]) => tensorOf('int64', [values.length], values);
/** As on a software adapter; a GPU takes the whole attention further, see target-attention.test.ts. */
const kernels = (graph: Graph): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27, caps: SOFTWARE_CAPS }).program.steps.map((s) => s.kernel);

interface Form {
  readonly order: string;
  readonly length: number;
  readonly width: number;
  readonly columns: number;
  /** How the target is repeated along the keys. */
  readonly repeat: 'Expand' | 'Tile' | 'flat Tile';
  readonly product: 'MatMul' | 'Gemm' | 'Gemm transposed';
}

/** A layer over parts named as in `order`, such as 'q,k,q-k,q*k', then a bias and a function. */
function layer({ order, length, width, columns, repeat, product }: Form): Graph {
  const random = new Random();
  const b = new GraphBuilder('layer');
  const q = b.input('q', 'float32', ['n', width]);
  const k = b.input('k', 'float32', ['n', length, width]);
  const row = b.op('Unsqueeze', [q, b.constant('axis', ints(1))]);
  const shapes = { Expand: ints(1, length, 1), Tile: ints(1, length, 1), 'flat Tile': ints(1, length) };
  const times = b.constant('times', shapes[repeat]);
  const repeated =
    repeat === 'flat Tile'
      ? b.op('Reshape', [b.op('Tile', [q, times]), b.constant('apart', ints(-1, length, width))])
      : b.op(repeat, [row, times]);
  const target = repeat === 'Expand' ? row : repeated;
  const names = order.split(',');
  const part = (name: string): string => {
    if (name === 'q') return repeated;
    if (name === 'k') return k;
    const sides = name.startsWith('q') ? [target, k] : [k, target];
    return b.op(name.includes('*') ? 'Mul' : 'Sub', sides);
  };
  const features = b.op('Concat', names.map(part), { axis: -1 });
  const size = names.length * width;
  const bias = b.constant('bias', random.floats([columns]));
  let value: string;
  if (product === 'MatMul') {
    value = b.op('Add', [b.op('MatMul', [features, b.constant('w', random.floats([size, columns]))]), bias]);
  } else {
    const transB = Number(product === 'Gemm transposed');
    const w = b.constant('w', random.floats(transB ? [columns, size] : [size, columns]));
    const flat = b.op('Reshape', [features, b.constant('flat', ints(-1, size))]);
    const rows = b.op('Gemm', [flat, w, bias], { transB });
    value = b.op('Reshape', [rows, b.constant('rows', ints(-1, length, columns))]);
  }
  b.output(b.op('Relu', [value], {}, { outputs: ['y'] }), 'float32');
  return b.build();
}

const FORMS: Form[] = [
  { order: 'q,k,q-k,q*k', length: 7, width: 8, columns: 12, repeat: 'Expand', product: 'MatMul' },
  { order: 'k,q,k-q,k*q', length: 3, width: 5, columns: 9, repeat: 'Tile', product: 'Gemm' },
  { order: 'q,k,q-k,q*k', length: 100, width: 16, columns: 80, repeat: 'flat Tile', product: 'Gemm transposed' },
  { order: 'q*k,k', length: 33, width: 4, columns: 1, repeat: 'Expand', product: 'MatMul' },
  { order: 'q,k', length: 2, width: 20, columns: 130, repeat: 'Tile', product: 'MatMul' },
  { order: 'q,q-k,k-q,q*k,k,k', length: 130, width: 3, columns: 40, repeat: 'Expand', product: 'MatMul' },
];

describe('the layer over a target and keys', () => {
  const engines = openBothEngines();

  it.each(FORMS)('is split: $order, $repeat, $product', (form) => {
    const found = kernels(layer(form));
    expect(found.filter((k) => k.startsWith('ModulatedMatMul'))).toHaveLength(1);
    expect(found).not.toContain('Sub');
    expect(found).not.toContain('Copy');
  });

  it.each(FORMS)(`gives what the reference gives: $order, $repeat, $product (seed ${SEED})`, async (form) => {
    const random = new Random();
    const graph = layer(form);
    for (const device of engines) {
      const model = await device.load(graph);
      for (const n of [1, 5]) {
        const inputs = { q: random.floats([n, form.width]), k: random.floats([n, form.length, form.width]) };
        expect(await graphProblems(model, graph, inputs)).toEqual([]);
      }
      await model.dispose();
    }
  });

  it('is found in DIN, built and exported, at every scale', async () => {
    for (const graph of [
      buildZoo('din', 'tiny'),
      buildZoo('din', 'published', { maxRows: 100 }),
      await importOnnxFile(goldenPath('din.onnx')),
    ]) {
      const found = kernels(graph);
      expect(found.some((k) => k.startsWith('ModulatedMatMul'))).toBe(true);
      expect(found.some((k) => ['Sub', 'Mul', 'Copy'].includes(k))).toBe(false);
    }
  });

  it('leaves DIN what it was', async () => {
    const graph = buildZoo('din', 'tiny');
    const model = await engines[1]!.load(graph);
    expect(await graphProblems(model, graph, zooInputs('din', 'tiny', 9, 1))).toEqual([]);
    await model.dispose();
  });

  it('is left alone where the axis, the target or the keys are others', () => {
    const b = new GraphBuilder('others');
    const [x, y] = ['x', 'y'].map((name) => b.input(name, 'float32', ['n', 3, 4])) as [string, string];
    const w = b.constant('w', new Random().floats([12, 2]));
    b.output(b.op('MatMul', [b.op('Concat', [x, y, b.op('Sub', [x, y])], { axis: 2 }), w]), 'float32');
    b.output(b.op('MatMul', [b.op('Concat', [x, x, x], { axis: 2 }), w]), 'float32');
    expect(kernels(b.build()).filter((k) => k.startsWith('Modulated'))).toEqual([]);
  });
});
