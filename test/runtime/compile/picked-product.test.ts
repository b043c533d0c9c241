import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, tensorOf, type Graph } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo } from '../../../src/zoo/index.js';
import { SOFTWARE_CAPS } from '../../support/caps.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { goldenPath } from '../../support/golden.js';

const ints = (...values: number[]) => tensorOf('int64', [values.length], values);
/** As on a software adapter; a GPU takes products of a row's vectors among themselves further, see interaction.test.ts. */
const kernels = (graph: Graph): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27, caps: SOFTWARE_CAPS }).program.steps.map((s) => s.kernel);

/** Pairs of vectors below the diagonal, row by row. */
const below = (n: number): number[] =>
  Array.from({ length: n * n }, (_, i) => i).filter((i) => i % n < Math.floor(i / n));

/** concat(head, elements of x y^T at `indices`), y being x or another. */
function interaction(vectors: number, others: number, width: number, indices: number[]): Graph {
  const b = new GraphBuilder('interaction');
  const x = b.input('x', 'float32', ['n', vectors, width]);
  const y = others === vectors ? x : b.input('y', 'float32', ['n', others, width]);
  const products = b.op('MatMul', [x, b.op('Transpose', [y], { perm: [0, 2, 1] })]);
  const flat = b.op('Flatten', [products], { axis: 1 });
  const pairs = b.op('Gather', [flat, b.constant('at', ints(...indices))], { axis: 1 });
  b.output(b.op('Concat', [b.op('Relu', [b.input('head', 'float32', ['n', 3])]), pairs], { axis: 1 }), 'float32');
  return b.build();
}

const CASES: [what: string, vectors: number, others: number, width: number, indices: number[]][] = [
  ['below the diagonal of 27 x 27', 27, 27, 128, below(27)],
  ['below the diagonal of 5 x 5', 5, 5, 7, below(5)],
  ['some, from the end too', 32, 32, 20, [-1, 0, 31, 992, 500]],
  ['one of one', 1, 1, 3, [0]],
  ['of two sides', 6, 9, 70, [53, 1, 9, 8, 20]],
];

describe('products that elements are picked from', () => {
  const engines = openBothEngines();

  it.each(CASES)(`store those alone: %s (seed ${SEED})`, async (_, vectors, others, width, indices) => {
    const random = new Random();
    const graph = interaction(vectors, others, width, indices);
    expect(kernels(graph).toSorted()).toEqual(['PickedMatMul', 'Relu']);
    for (const device of engines) {
      const model = await device.load(graph);
      for (const n of [1, 9]) {
        const inputs = {
          x: random.floats([n, vectors, width]),
          head: random.floats([n, 3]),
          ...(others === vectors ? {} : { y: random.floats([n, others, width]) }),
        };
        expect(await graphProblems(model, graph, inputs)).toEqual([]);
      }
      await model.dispose();
    }
  });

  it.each(['positions', 'pairs'])('are found as PyTorch exports them, by %s', async (by) => {
    const random = new Random();
    const b = new GraphBuilder('exported', 18);
    const x = b.input('x', 'float32', ['n', 5, 8]);
    const products = b.op('MatMul', [x, b.op('Transpose', [x], { perm: [0, 2, 1] })]);
    const turned = b.op('Transpose', [products], { perm: [1, 2, 0] });
    const positions = below(5);
    const pairs = positions.flatMap((p) => [Math.floor(p / 5), p % 5]);
    const picked =
      by === 'pairs'
        ? b.op('GatherND', [turned, b.constant('at', tensorOf('int64', [positions.length, 2], pairs))])
        : b.op('Gather', [b.op('Flatten', [turned], { axis: 2 }), b.constant('at', ints(...positions))], { axis: 0 });
    const head = b.op('Relu', [b.input('head', 'float32', ['n', 3])]);
    b.output(b.op('Concat', [head, b.op('Transpose', [picked], { perm: [1, 0] })], { axis: 1 }), 'float32');
    const graph = b.build();
    expect(kernels(graph).toSorted()).toEqual(['PickedMatMul', 'Relu']);
    const model = await engines[0]!.load(graph);
    for (const n of [1, 7]) {
      const inputs = { x: random.floats([n, 5, 8]), head: random.floats([n, 3]) };
      expect(await graphProblems(model, graph, inputs)).toEqual([]);
    }
    await model.dispose();
  });

  it('are found in DLRM, built and exported', async () => {
    for (const graph of [buildZoo('dlrm', 'tiny'), await importOnnxFile(goldenPath('dlrm.onnx'))])
      expect(kernels(graph).filter((k) => k === 'PickedMatMul')).toHaveLength(1);
  });

  it('are left alone where an element is picked twice, or read elsewhere', () => {
    expect(kernels(interaction(4, 4, 4, [1, 1]))).toContain('MatMul');
    expect(kernels(interaction(33, 33, 4, [1, 2]))).toContain('MatMul');
  });
});
