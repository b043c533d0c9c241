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

/** Pairs below the diagonal, row by row; those on it too where `withSelf`. */
const pairs = (n: number, withSelf = false): number[] =>
  Array.from({ length: n * n }, (_, i) => i).filter((i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    return column < row || (withSelf && column === row);
  });

/** concat(relu of each input .., elements of x x^T at `at`): `beside` says which vectors go where, -1 being the pairs. */
function interaction(vectors: number, width: number, at: number[], beside: number[], turned: boolean): Graph {
  const b = new GraphBuilder('interaction');
  const parts = Array.from({ length: vectors }, (_, i) => b.op('Relu', [b.input(`v${i}`, 'float32', ['n', width])]));
  const stack = b.op('Reshape', [b.op('Concat', parts, { axis: 1 }), b.constant('s', ints(0, vectors, width))]);
  const other = b.op('Transpose', [stack], { perm: [0, 2, 1] });
  const product = b.op('MatMul', [stack, other]);
  const picks = b.constant('at', ints(...at));
  const picked = turned
    ? b.op(
        'Transpose',
        [
          b.op('Gather', [b.op('Flatten', [b.op('Transpose', [product], { perm: [1, 2, 0] })], { axis: 2 }), picks], {
            axis: 0,
          }),
        ],
        { perm: [1, 0] },
      )
    : b.op('Gather', [b.op('Flatten', [product], { axis: 1 }), picks], { axis: 1 });
  const all = beside.map((j) => (j < 0 ? picked : parts[j]!));
  b.output(all.length === 1 ? all[0]! : b.op('Concat', all, { axis: 1 }), 'float32');
  return b.build();
}

const CASES: [what: string, vectors: number, width: number, at: number[], beside: number[], turned: boolean][] = [
  ['27 of 128, the first beside them', 27, 128, pairs(27), [0, -1], false],
  ['27 of 16, from PyTorch', 27, 16, pairs(27), [0, -1], true],
  ['5 of 7, some beside them', 5, 7, pairs(5, true), [3, -1, 1, 3], false],
  ['32 of 12, above and below, alone', 32, 12, [1, 64, 70, -1, 0], [-1], false],
  ['2 of 1', 2, 1, pairs(2), [-1], false],
  ['9 of 30', 9, 30, pairs(9).toReversed(), [-1, 8], true],
];

describe('the interaction of a row', () => {
  const engines = openBothEngines();

  it.each(CASES)(`is one kernel: %s (seed ${SEED})`, async (_, vectors, width, at, beside, turned) => {
    const random = new Random();
    const graph = interaction(vectors, width, at, beside, turned);
    expect(kernels(graph).filter((k) => k !== 'Relu')).toEqual(['Interaction']);
    const model = await engines[1]!.load(graph);
    for (const n of [1, 9]) {
      const inputs = Object.fromEntries(
        Array.from({ length: vectors }, (_, i) => [`v${i}`, random.floats([n, width])] as const),
      );
      expect(await graphProblems(model, graph, inputs)).toEqual([]);
    }
    await model.dispose();
  });

  it.each([
    ['pairs twice over', [1, 2, 3], [-1]],
    ['a value that is no vector beside them', [4], [-1]],
  ])('leaves results as they are: %s', async (_, at, beside) => {
    const random = new Random();
    const graph = interaction(3, 4, at, beside, false);
    for (const device of engines) {
      const model = await device.load(graph);
      const inputs = Object.fromEntries(['v0', 'v1', 'v2'].map((name) => [name, random.floats([5, 4])] as const));
      expect(await graphProblems(model, graph, inputs)).toEqual([]);
      await model.dispose();
    }
  });

  it('is found in DLRM, built and exported, with no copy', async () => {
    for (const graph of [
      buildZoo('dlrm', 'tiny'),
      buildZoo('dlrm', 'demo'),
      ...(await Promise.all(
        [goldenPath('dlrm.onnx'), ...['dynamo', 'torchscript'].map((e) => goldenPath(`../exports/dlrm.${e}.onnx`))].map(
          (path) => importOnnxFile(path),
        ),
      )),
    ]) {
      const found = kernels(graph);
      expect(found.filter((k) => k === 'Interaction')).toHaveLength(1);
      expect(found).not.toContain('Copy');
    }
  });

  it('leaves DLRM what it was', async () => {
    const graph = buildZoo('dlrm', 'tiny');
    const model = await engines[1]!.load(graph);
    expect(await graphProblems(model, graph, zooInputs('dlrm', 'tiny', 9, 1))).toEqual([]);
    await model.dispose();
  });
});
