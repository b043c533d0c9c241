import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  evaluateGraph,
  GraphBuilder,
  GraphEngine,
  tensorOf,
  type Graph,
  type Model,
  type Tensor,
} from '../../runtime/index.js';
import { buildZoo, zooInputs, zooSharedInputs } from '../../src/zoo/index.js';
import { difference, floats, Random, RTOL, SEED } from '../support/cases.js';
import { openBackend } from '../support/device.js';
import { expectRejection } from '../support/errors.js';
import { randomGraph } from '../support/graphs.js';
import { repeatShared } from '../support/sharing.js';

/** Products summed in another order than the reference's, several deep. */
const ATOL = 1e-4;

/** Runs one query and compares with the reference on inputs whose shared rows are written out. */
async function problems(
  model: Model,
  graph: Graph,
  inputs: Readonly<Record<string, Tensor>>,
  shared: readonly string[],
  rows: number,
): Promise<string[]> {
  const found = await model.run(inputs);
  const expected = evaluateGraph(graph, new Map(Object.entries(repeatShared(inputs, shared, rows))));
  return [...expected].flatMap(([name, value]) => {
    const problem = difference(found[name]!, value, RTOL, ATOL);
    return problem ? [`${rows} rows: ${name}: ${problem}`] : [];
  });
}

/** A user's ids and vector beside candidates' ids; user and candidate meet in a product. Both outputs of the user's. */
function recommender(random: Random): Graph {
  const b = new GraphBuilder('recommender');
  const history = b.input('history', 'int64', ['n', 4]);
  const user = b.input('user', 'float32', ['n', 3]);
  const item = b.input('item', 'int64', ['n']);
  const table = b.constant('table', random.floats([20, 5]));
  const keys = b.op('Gather', [table, history]);
  const flat = b.op('Reshape', [keys, b.constant('each', tensorOf('int64', [2], [-1, 5]))]);
  const projected = b.op('MatMul', [flat, b.constant('w', random.floats([5, 6]))]);
  const candidate = b.op('Gather', [b.constant('items', random.floats([30, 6])), item]);
  const split = b.op('Reshape', [projected, b.constant('split', tensorOf('int64', [3], [-1, 4, 6]))]);
  const scores = b.op('MatMul', [
    split,
    b.op('Unsqueeze', [candidate, b.constant('axis', tensorOf('int64', [1], [2]))]),
  ]);
  b.output(b.op('Squeeze', [scores, 'axis'], {}, { outputs: ['scores'] }), 'float32');
  b.output(b.op('Softmax', [user], {}, { outputs: ['mood'] }), 'float32');
  b.output(b.op('Neg', [projected], {}, { outputs: ['flat'] }), 'float32');
  b.output(b.op('Shape', [user], {}, { outputs: ['sizes'] }), 'int64');
  return b.build();
}

const USER = ['history', 'user'];

function query(random: Random, rows: number): Record<string, Tensor> {
  return {
    history: random.tensor('int64', [1, 4], 0, 20),
    user: random.floats([1, 3]),
    item: random.tensor('int64', [rows], 0, 30),
  };
}

describe('shared inputs', () => {
  const random = new Random();
  const graph = recommender(random);
  let engine: GraphEngine;
  let model: Model;
  let most: number;

  beforeAll(async () => {
    // A wave carries a few hundred rows: large queries run in chunks.
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 16 }));
    model = await engine.load(graph, { shared: USER });
    most = (await model.summary()).rowsPerWave!;
  });
  afterAll(() => engine.close());

  it('have a leading dimension of 1', async () => {
    expect(model.inputs.map((i) => i.shape)).toEqual([[1, 4], [1, 3], ['n']]);
    expect(model.outputs.map((o) => o.shape)).toEqual([['n', 4], ['n', 3], ['4*n', 6], [2]]);
    expect(model.notices).toEqual(["shared by all rows of a query: 'history', 'user'"]);
    const repeated = { ...query(random, 3), user: random.floats([3, 3]) };
    await expectRejection(
      'INPUT_SHAPE',
      /input 'user': found shape \[3, 3\], expected \[1, 3\]: all rows of a query share this input/,
      model.run(repeated),
    );
    await expectRejection(
      'INPUT_UNKNOWN',
      /no input 'query_of_row'/,
      model.run({ ...query(random, 1), query_of_row: floats([1], [0]) }),
    );
  });

  it.each([0, 1, 2, 63, 64, 65, 1000])('runs a query of %i rows', async (rows) => {
    expect(await problems(model, graph, query(random, rows), USER, rows)).toEqual([]);
  });

  it('runs a query that is larger than a wave', async () => {
    for (const rows of [most, most + 1, 3 * most + 2])
      expect(await problems(model, graph, query(random, rows), USER, rows)).toEqual([]);
  });

  it('lets queries of several users share waves', async () => {
    const sizes = Array.from({ length: 60 }, () => random.pick([0, 1, 2, 7, 50, 2 * most]));
    const found = await Promise.all(sizes.map((rows) => problems(model, graph, query(random, rows), USER, rows)));
    expect(found.flat()).toEqual([]);
  });

  it('has room for more queries without rows than a wave has rows', async () => {
    const found = await Promise.all(
      Array.from({ length: most + 20 }, (_, i) =>
        problems(model, graph, query(random, i % 50 === 0 ? 1 : 0), USER, i % 50 === 0 ? 1 : 0),
      ),
    );
    expect(found.flat()).toEqual([]);
  });

  it('blames an id on its own query, wherever it is looked up', async () => {
    const queries = Array.from({ length: 9 }, (_, i) => query(random, [3, 1, 0, 20, 2][i % 5]!));
    (queries[2]!['history']!.data as BigInt64Array)[1] = 20n;
    (queries[3]!['item']!.data as BigInt64Array)[17] = -31n;
    (queries[6]!['history']!.data as BigInt64Array)[3] = 2n ** 40n;
    (queries[8]!['item']!.data as BigInt64Array)[2] = 30n;
    const outcomes = await Promise.allSettled(queries.map((q) => problems(model, graph, q, USER, q['item']!.dims[0]!)));
    expect(outcomes.map((o) => (o.status === 'fulfilled' ? o.value : (o.reason as Error).message))).toEqual([
      [],
      [],
      "input 'history': position 1: found id 20, expected -20 to 19 for table 'table'",
      "input 'item': row 17, position 0: found id -31, expected -30 to 29 for table 'items'",
      [],
      [],
      `input 'history': position 3: found id ${2n ** 40n}, expected -20 to 19 for table 'table'`,
      [],
      "input 'item': row 2, position 0: found id 30, expected -30 to 29 for table 'items'",
    ]);
    expect(await problems(model, graph, queries[0]!, USER, 3)).toEqual([]);
  });

  it('names the row of a large query, and refuses its shared ids once', async () => {
    const rows = 2 * most + 5;
    const far = query(random, rows);
    (far['item']!.data as BigInt64Array)[rows - 1] = 99n;
    await expectRejection(
      'INDEX_OUT_OF_RANGE',
      new RegExp(`input 'item': row ${rows - 1}, position 0`),
      model.run(far),
    );
    const wrong = query(random, rows);
    (wrong['history']!.data as BigInt64Array)[0] = 99n;
    await expectRejection('INDEX_OUT_OF_RANGE', /input 'history': position 0: found id 99/, model.run(wrong));
  });

  it('looks ids up for the rows where users and candidates meet before the lookup', async () => {
    const b = new GraphBuilder('sequence');
    const history = b.input('history', 'int64', ['n', 2]);
    const item = b.input('item', 'int64', ['n', 1]);
    const ids = b.op('Concat', [history, item], { axis: 1 });
    b.output(b.op('Gather', [b.constant('t', random.floats([9, 3])), ids], {}, { outputs: ['found'] }), 'float32');
    const sequence = b.build();
    const loaded = await engine.load(sequence, { shared: ['history'] });
    const ask = (history: number[], items: number[]): Record<string, Tensor> => ({
      history: tensorOf('int64', [1, 2], history),
      item: tensorOf('int64', [items.length, 1], items),
    });
    const outcomes = await Promise.allSettled([
      problems(loaded, sequence, ask([1, 2], [3, 4]), ['history'], 2),
      loaded.run(ask([1, 9], [3, 4])),
      problems(loaded, sequence, ask([8, -9], [0]), ['history'], 1),
    ]);
    expect(outcomes[0]).toEqual({ status: 'fulfilled', value: [] });
    expect(String((outcomes[1] as PromiseRejectedResult).reason)).toMatch(
      /input 'history': row [01], position 1: found id 9/,
    );
    expect(outcomes[2]).toEqual({ status: 'fulfilled', value: [] });
    await loaded.dispose();
  });

  it('takes what a model declares with one row beside its candidates', async () => {
    const b = new GraphBuilder('single');
    const user = b.input('user', 'float32', [1, 2, 3]);
    const x = b.input('x', 'float32', ['n', 6]);
    const flat = b.op('Reshape', [user, b.constant('to', tensorOf('int64', [2], [1, 6]))]);
    b.output(b.op('Mul', [flat, x], {}, { outputs: ['y'] }), 'float32');
    const single = b.build();
    const loaded = await engine.load(single, { shared: ['user'] });
    const found = await Promise.all(
      [2, 0, 5].map(async (rows) => {
        const inputs = { user: random.floats([1, 2, 3]), x: random.floats([rows, 6]) };
        const { y } = await loaded.run(inputs);
        // The file itself broadcasts, so that nothing has to be written out.
        return difference(y!, evaluateGraph(single, new Map(Object.entries(inputs))).get('y')!);
      }),
    );
    expect(found).toEqual([undefined, undefined, undefined]);
    await loaded.dispose();
  });

  it('computes random graphs as the reference does', async () => {
    const inputs = { u: [6], v: [2, 3], x: [6], y: [2, 3] };
    for (let i = 0; i < 12; i++) {
      const seeded = new Random(SEED + i);
      const any = randomGraph(seeded, 18, inputs);
      const shared = seeded.pick([['u'], ['v'], ['u', 'v'], ['u', 'y', 'v']]);
      const used = shared.filter((name) => !any.outputs.some((o) => o.name === name));
      if (used.length === 0) continue;
      const loaded = await engine.load(any, { shared: used });
      const found = await Promise.all(
        [3, 0, 1, 40, 2].map((rows) => {
          const given = Object.entries(inputs).map(([name, dims]) => [
            name,
            seeded.floats([used.includes(name) ? 1 : rows, ...dims]),
          ]);
          return problems(loaded, any, Object.fromEntries(given) as Record<string, Tensor>, used, rows);
        }),
      );
      expect([i, found.flat()]).toEqual([i, []]);
      await loaded.dispose();
    }
  });
});

describe.each(['din', 'bst'])('%s with the inputs of the user shared', (name) => {
  const scale = 'tiny';
  let engine: GraphEngine;
  beforeAll(async () => {
    engine = new GraphEngine(await openBackend());
  });
  afterAll(() => engine.close());

  it('answers what the plain model does on rows written out', async () => {
    const graph = buildZoo(name, scale);
    const shared = zooSharedInputs(name, scale);
    const plain = await engine.load(graph);
    const loaded = await engine.load(graph, { shared });
    const sizes = [1, 0, 7, 33, 2];
    const inputs = sizes.map((rows, i) => zooInputs(name, scale, rows, i + 1, { shared: true }));
    const found = await Promise.all(inputs.map((i) => loaded.run(i)));
    for (const [i, rows] of sizes.entries()) {
      const expected = await plain.run(repeatShared(inputs[i]!, shared, rows));
      expect(found[i]!['out']!.dims).toEqual([rows, 1]);
      (found[i]!['out']!.data as Float32Array).forEach((value, row) => {
        expect(Math.abs(value - Number(expected['out']!.data[row]))).toBeLessThanOrEqual(1e-5);
      });
    }
  });
});
