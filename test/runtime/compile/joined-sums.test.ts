import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, tensorOf, type Graph } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, zooInputs } from '../../../src/zoo/index.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { goldenPath } from '../../support/golden.js';

const kernels = (graph: Graph): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27 }).program.steps.map((s) => s.kernel);

/** The sum of the weights of three ids, of a linear layer over x, of another over y, and of a deep layer over y. */
function sums(nesting: 'right' | 'left'): Graph {
  const random = new Random();
  const b = new GraphBuilder('sums');
  const [x, y] = [b.input('x', 'float32', ['n', 5]), b.input('y', 'float32', ['n', 9])];
  const wide = [0, 1, 2].map((i) =>
    b.op('Gather', [b.constant(`t${i}`, random.floats([20, 1])), b.input(`i${i}`, 'int64', ['n'])], { axis: 0 }),
  );
  const axes = b.constant('axes', tensorOf('int64', [1], [-1]));
  const sum = b.op('ReduceSum', [b.op('Concat', wide, { axis: 1 }), axes], { keepdims: 1 });
  const linear = b.op('Gemm', [x, b.constant('wx', random.floats([1, 5])), b.constant('bx', random.floats([1]))], {
    transB: 1,
    alpha: 0.5,
    beta: 3,
  });
  const other = b.op('Add', [
    b.op('MatMul', [y, b.constant('wy', random.floats([9, 1]))]),
    b.constant('by', random.floats([1])),
  ]);
  const hidden = b.op('Relu', [b.op('MatMul', [y, b.constant('wh', random.floats([9, 6]))])]);
  const deep = b.op('MatMul', [hidden, b.constant('wd', random.floats([6, 1]))]);
  const total =
    nesting === 'right'
      ? b.op('Add', [deep, b.op('Add', [sum, b.op('Add', [linear, other])])])
      : b.op('Add', [b.op('Add', [b.op('Add', [deep, sum]), linear]), other]);
  b.output(b.op('Sigmoid', [total]), 'float32');
  return b.build();
}

describe('sums of columns', () => {
  const engines = openBothEngines();

  it.each(['right', 'left'] as const)(`are one product: nested to the %s (seed ${SEED})`, async (nesting) => {
    const random = new Random();
    const graph = sums(nesting);
    const found = kernels(graph);
    expect(found).not.toContain('ReduceSum');
    expect(found.filter((k) => k.startsWith('Gemm'))).toHaveLength(1);
    for (const device of engines) {
      const model = await device.load(graph);
      for (const n of [1, 8]) {
        const inputs = {
          x: random.floats([n, 5]),
          y: random.floats([n, 9]),
          ...Object.fromEntries([0, 1, 2].map((i) => [`i${i}`, random.tensor('int64', [n], 0, 20)] as const)),
        };
        expect(await graphProblems(model, graph, inputs)).toEqual([]);
      }
      await model.dispose();
    }
  });

  it('are found in Wide & Deep, built and exported', async () => {
    for (const graph of [buildZoo('wnd', 'tiny'), await importOnnxFile(goldenPath('wnd.onnx'))]) {
      const found = kernels(graph);
      expect(found).not.toContain('ReduceSum');
      expect(found.filter((k) => k === 'Gemm')).toHaveLength(1);
    }
  });

  it('leave Wide & Deep what it was', async () => {
    const graph = buildZoo('wnd', 'tiny');
    const model = await engines[0]!.load(graph);
    expect(await graphProblems(model, graph, zooInputs('wnd', 'tiny', 9, 1))).toEqual([]);
    await model.dispose();
  });

  it('are left alone where a term is read elsewhere, or is no column', () => {
    const random = new Random();
    const b = new GraphBuilder('left');
    const x = b.input('x', 'float32', ['n', 5]);
    const column = (name: string, n: number): string => b.op('MatMul', [x, b.constant(name, random.floats([5, n]))]);
    const [a, c] = [column('a', 1), column('c', 1)];
    b.output(a, 'float32');
    b.output(b.op('Add', [a, c]), 'float32');
    b.output(b.op('Add', [column('d', 2), column('e', 2)]), 'float32');
    expect(kernels(b.build()).some((k) => k.startsWith('Gemm'))).toBe(false);
  });
});
