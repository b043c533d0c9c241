import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, type Graph } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo } from '../../../src/zoo/index.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { goldenPath } from '../../support/golden.js';

const kernels = (graph: Graph, maxBindingBytes = 2 ** 27): string[] =>
  compile(graph, { maxBindingBytes }).program.steps.map((s) => s.kernel);

/** table[concat(ids .., along 1)] + positions; `sizes` are those of the ids behind the rows. */
function sequence(sizes: readonly number[], width: number, positions: readonly number[] | undefined): Graph {
  const random = new Random();
  const b = new GraphBuilder('sequence');
  const table = b.constant('table', random.floats([30, width]));
  const ids = sizes.map((size, i) => b.input(`ids${i}`, 'int64', ['n', size]));
  const all = ids.length === 1 ? ids[0]! : b.op('Concat', ids, { axis: -1 });
  let rows = b.op('Gather', [table, all], { axis: 0 });
  if (positions) rows = b.op('Add', random.shuffled([rows, b.constant('positions', random.floats(positions))]));
  b.output(rows, 'float32');
  return b.build();
}

const CASES: [what: string, sizes: number[], width: number, positions: number[] | undefined, kernels: string[]][] = [
  ['a history and a candidate, with positions', [20, 1], 16, [21, 16], ['Gather+Add', 'Gather+Add']],
  ['three parts', [3, 1, 5], 7, undefined, ['Gather', 'Gather', 'Gather']],
  ['one part and a line', [6], 5, [5], ['Gather+Add']],
  ['a column of positions', [2, 2], 3, [1, 4, 1], ['Gather+Add', 'Gather+Add']],
  ['features of one', [4, 1], 1, [5, 1], ['Gather+Add', 'Gather+Add']],
];

describe('lookups of joined indices', () => {
  const engines = openBothEngines();

  it.each(CASES)(`write their parts: %s (seed ${SEED})`, async (_, sizes, width, positions, expected) => {
    const random = new Random();
    const graph = sequence(sizes, width, positions);
    expect(kernels(graph)).toEqual(expected);
    for (const device of engines) {
      const model = await device.load(graph);
      for (const n of [1, 7]) {
        const inputs = Object.fromEntries(
          sizes.map((size, i) => [`ids${i}`, random.tensor('int64', [n, size], -30, 30)] as const),
        );
        expect(await graphProblems(model, graph, inputs)).toEqual([]);
      }
      await model.dispose();
    }
  });

  it('name the input, the row and the place of an index that is out of range', async () => {
    const random = new Random();
    const model = await engines[0]!.load(sequence([3, 1], 4, [4, 4]));
    const ids0 = random.tensor('int64', [2, 3], 0, 30);
    const ids1 = random.tensor('int64', [2, 1], 0, 30);
    (ids1.data as BigInt64Array)[1] = 77n;
    await expect(model.run({ ids0, ids1 })).rejects.toThrow(/input 'ids1': row 1, position 0: found id 77/);
    await model.dispose();
  });

  it('are found in BST, built and exported, with no copy', async () => {
    for (const graph of [buildZoo('bst', 'tiny'), await importOnnxFile(goldenPath('bst.onnx'))]) {
      const found = kernels(graph);
      expect(found.filter((k) => k === 'Gather+Add')).toHaveLength(2);
      expect(found.filter((k) => k === 'Copy' || k === 'Add')).toEqual([]);
    }
  });

  it('add nothing where the rows are read elsewhere, or the addend is data', () => {
    const b = new GraphBuilder('left');
    const table = b.constant('table', new Random().floats([5, 4]));
    const rows = b.op('Gather', [table, b.input('ids', 'int64', ['n'])], { axis: 0 });
    b.output(b.op('Add', [rows, b.input('x', 'float32', ['n', 4])]), 'float32');
    b.output(rows, 'float32');
    expect(kernels(b.build())).toEqual(['Gather', 'Add']);
  });
});
