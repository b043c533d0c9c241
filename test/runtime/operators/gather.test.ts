import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, type Graph, type Model, type Tensor } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  difference,
  floats,
  graphProblems,
  ints,
  known,
  Random,
  referenceProblems,
  rowsOf,
  SEED,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { expectRejection } from '../../support/errors.js';
import { testLiteral } from '../../support/literal.js';

const table = floats([3, 2], [1, 1.2, 2.3, 3.4, 4.5, 5.7]);
const wide = floats([3, 3], [1, 1.2, 1.9, 2.3, 3.4, 3.9, 4.5, 5.7, 5.9]);
const ids = (dims: number[], values: number[], dtype: 'int64' | 'int32' = 'int64') => tensorOf(dtype, dims, values);

const LITERAL: Case[] = [
  // The examples of the ONNX pages.
  {
    title: 'of rows',
    op: 'Gather',
    inputs: [data(table), data(ids([2, 2], [0, 1, 1, 2]))],
    expected: [floats([2, 2, 2], [1, 1.2, 2.3, 3.4, 2.3, 3.4, 4.5, 5.7])],
  },
  {
    title: 'of columns',
    op: 'Gather',
    inputs: [data(wide), data(ids([1, 2], [0, 2]))],
    attributes: { axis: 1 },
    expected: [floats([3, 1, 2], [1, 1.9, 2.3, 3.9, 4.5, 5.9])],
  },
  {
    title: 'from the end',
    op: 'Gather',
    inputs: [data(table), data(ids([3], [-1, -3, 2]))],
    expected: [floats([3, 2], [4.5, 5.7, 1, 1.2, 4.5, 5.7])],
  },
  {
    title: 'by int32',
    op: 'Gather',
    inputs: [known(table), data(ids([2], [-1, 1], 'int32'))],
    expected: [floats([2, 2], [4.5, 5.7, 2.3, 3.4])],
  },
  {
    title: 'of one column',
    op: 'Gather',
    inputs: [data(wide), known(ids([], [-1]))],
    attributes: { axis: 1 },
    expected: [floats([3], [1.9, 3.9, 5.9])],
  },
  {
    title: 'by a scalar',
    op: 'Gather',
    inputs: [data(table), data(ids([], [1]))],
    expected: [floats([2], [2.3, 3.4])],
  },
  {
    title: 'of int64',
    op: 'Gather',
    inputs: [data(ids([2], [-1, 2 ** 40])), data(ids([3], [1, 0, 1]))],
    expected: [ids([3], [2 ** 40, -1, 2 ** 40])],
  },
  {
    title: 'of bools',
    op: 'Gather',
    inputs: [data(tensorOf('bool', [2], [0, 1])), data(ids([2], [1, 0]))],
    expected: [tensorOf('bool', [2], [1, 0])],
  },
  {
    title: 'of int32',
    op: 'Gather',
    inputs: [data(ids([2], [-1, 7], 'int32')), ints(1, 1)],
    expected: [ids([2], [7, 7], 'int32')],
  },
  {
    title: 'for the rows of queries',
    op: 'Spread',
    domain: 'braid',
    opset: 1,
    inputs: [data(table), data(ids([4], [0, 0, 1, 2], 'int32'))],
    expected: [floats([4, 2], [1, 1.2, 1, 1.2, 2.3, 3.4, 4.5, 5.7])],
  },
  {
    title: 'of queries with several entries',
    op: 'Spread',
    domain: 'braid',
    opset: 1,
    inputs: [data(ids([4], [5, 6, 7, 8])), data(ids([3], [1, 0, 1], 'int32'))],
    attributes: { entries: 2 },
    expected: [ids([6], [7, 8, 5, 6, 7, 8])],
  },
  { title: 'by no ids', op: 'Gather', inputs: [data(table), data(ids([0], []))], expected: [floats([0, 2], [])] },
];

function randomCases(random: Random): Case[] {
  return Array.from({ length: 30 }, (_, i): Case => {
    const dims = random.dims(random.int(1, 4), 5);
    const axis = random.int(0, dims.length - 1);
    const size = dims[axis]!;
    const shape = random.dims(random.int(0, 2), 5);
    const indices = random.tensor(random.pick(['int64', 'int32']), shape, -size, size);
    return {
      title: `random ${i} [${dims.join()}] [${shape.join()}] axis ${axis}`,
      op: 'Gather',
      inputs: [axis > 0 ? rowsOf(random.floats(dims)) : data(random.floats(dims)), random.pick([data, known])(indices)],
      attributes: { axis: i % 2 ? axis : axis - dims.length },
    };
  });
}

const USERS = 50;
const ITEMS = 7;
const HISTORY = 3;

/** Embeddings as recommendation models have them: a lookup a row, and several a row, by ids of both types. */
function embeddings(random: Random): Graph {
  const b = new GraphBuilder('embeddings');
  const users = b.constant('user_table', random.floats([USERS, 4]));
  const items = b.constant('item_table', random.floats([ITEMS, 2]));
  const user = b.op('Gather', [users, b.input('user', 'int32', ['n'])]);
  const history = b.op('Gather', [items, b.input('history', 'int64', ['n', HISTORY])]);
  const flat = b.op('Reshape', [history, b.constant('flat', tensorOf('int64', [2], [-1, 2 * HISTORY]))]);
  b.output(b.op('Concat', [user, flat], { axis: 1 }, { outputs: ['features'] }), 'float32');
  b.output(
    b.op(
      'ReduceSum',
      [history, b.constant('axes', tensorOf('int64', [1], [1]))],
      { keepdims: 0 },
      { outputs: ['pooled'] },
    ),
    'float32',
  );
  return b.build();
}

interface Query {
  readonly user: Tensor;
  readonly history: Tensor;
}

function goodQuery(random: Random, rows: number): Query {
  return {
    user: random.tensor('int32', [rows], -USERS, USERS),
    history: random.tensor('int64', [rows, HISTORY], -ITEMS, ITEMS),
  };
}

/** A query with one bad id, and what the message about it has to say. */
function badQuery(random: Random, rows: number): { query: Query; message: RegExp } {
  const query = goodQuery(random, rows);
  const row = random.int(0, rows - 1);
  if (random.next() < 0.4) {
    const value = random.pick([USERS, USERS + 1, -USERS - 1, 2 ** 31 - 1, -(2 ** 31)]);
    query.user.data[row] = value;
    return {
      query,
      message: new RegExp(
        `^input 'user': row ${row}, position 0: found id ${value}, expected -50 to 49 for table 'user_table'$`,
      ),
    };
  }
  const position = random.int(0, HISTORY - 1);
  // Low words that would be in range by themselves count with their high words.
  const value = random.pick([7n, 8n, -8n, 2n ** 31n, 2n ** 32n + 3n, -(2n ** 32n) + 1n, 2n ** 63n - 1n, -(2n ** 63n)]);
  query.history.data[row * HISTORY + position] = value;
  return {
    query,
    message: new RegExp(
      `^input 'history': row ${row}, position ${position}: found id ${value}, expected -7 to 6 for table 'item_table'$`,
    ),
  };
}

/** Runs good and bad queries together, `waves` times; bad ones have to fail, each for its own reason, and no other. */
async function mixedTraffic(model: Model, graph: Graph, random: Random, waves: number): Promise<void> {
  for (let wave = 0; wave < waves; wave++) {
    const work = Array.from({ length: random.int(2, 6) }, async (_, i) => {
      const rows = random.int(1, 5);
      if (i === 1 || random.next() < 0.2) {
        const { query, message } = badQuery(random, rows);
        await expectRejection('INDEX_OUT_OF_RANGE', message, model.run({ ...query }));
      } else {
        expect(await graphProblems(model, graph, { ...goodQuery(random, rows) })).toEqual([]);
      }
    });
    await Promise.all(work);
  }
}

describe('gather', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 22 }));
  });
  afterAll(() => engine.close());

  testLiteral('gather', LITERAL, () => engine);

  it(`agrees with the reference on random axes (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it(`refuses the query that holds a bad id and no other, wave after wave (seed ${SEED})`, async () => {
    const random = new Random();
    const graph = embeddings(random);
    const model = await engine.load(graph);
    await mixedTraffic(model, graph, random, 60);
    await model.dispose();
  });

  it('refuses the same bad query again after another model made the shared memory grow', async () => {
    const random = new Random();
    const graph = embeddings(random);
    const own = new GraphEngine(await openBackend({ arenaBytes: 2 ** 16 }));
    const model = await own.load(graph);
    const { query, message } = badQuery(random, 1);
    await expectRejection('INDEX_OUT_OF_RANGE', message, model.run({ ...query }));
    // Fewer bytes a row: more rows fit a wave, and the error records grow with them.
    const b = new GraphBuilder('ids only');
    const small = b.op('Gather', [b.constant('t', floats([5], [1, 2, 3, 4, 5])), b.input('id', 'int32', ['n'])]);
    b.output(small, 'float32');
    await own.load(b.build());
    await expectRejection('INDEX_OUT_OF_RANGE', message, model.run({ ...query }));
    expect(await graphProblems(model, graph, { ...goodQuery(random, 3) })).toEqual([]);
    await own.close();
  });

  it('names the row of the query where the query runs in chunks', async () => {
    const random = new Random();
    const graph = embeddings(random);
    const own = new GraphEngine(await openBackend({ arenaBytes: 4096 }));
    const model = await own.load(graph);
    const most = (await model.summary()).rowsPerWave!;
    const rows = 3 * most + 1;
    const query = goodQuery(random, rows);
    const bad = 2 * most + 1;
    query.user.data[bad] = USERS;
    await expectRejection(
      'INDEX_OUT_OF_RANGE',
      new RegExp(`^input 'user': row ${bad}, position 0: found id 50,`),
      model.run({ ...query }),
    );
    query.user.data[bad] = 0;
    expect(await graphProblems(model, graph, { ...query })).toEqual([]);
    await own.close();
  });

  it('refuses bad ids in any row of a model that mixes rows', async () => {
    const random = new Random();
    const b = new GraphBuilder('mixing');
    const found = b.op('Gather', [b.constant('table', random.floats([5, 2])), b.input('id', 'int64', ['n', 2])]);
    b.output(b.op('Softmax', [found], { axis: 0 }, { outputs: ['share'] }), 'float32');
    const graph = b.build();
    const model = await engine.load(graph);
    for (const [at, value] of [
      [0, 5],
      [5, -6],
      [7, 9],
    ] as const) {
      const id = random.tensor('int64', [4, 2], 0, 5);
      expect(await graphProblems(model, graph, { id })).toEqual([]);
      id.data[at] = BigInt(value);
      await expectRejection(
        'INDEX_OUT_OF_RANGE',
        new RegExp(`^input 'id': position ${at}: found id ${value}, expected -5 to 4`),
        model.run({ id }),
      );
    }
    await model.dispose();
  });

  it('refuses bad ids in a model without rows, and in one whose ids all rows share', async () => {
    const b = new GraphBuilder('fixed');
    b.output(
      b.op(
        'Gather',
        [b.input('x', 'float32', [2, 3, 4]), b.input('id', 'int64', [2])],
        { axis: 1 },
        { outputs: ['y'] },
      ),
      'float32',
    );
    const fixed = await engine.load(b.build());
    const c = new GraphBuilder('shared');
    c.output(
      c.op(
        'Gather',
        [c.input('x', 'float32', ['n', 3, 4]), c.input('id', 'int64', [2])],
        { axis: 1 },
        { outputs: ['y'] },
      ),
      'float32',
    );
    const shared = await engine.load(c.build());
    const x = new Random().floats([2, 3, 4]);
    for (const model of [fixed, shared]) {
      const message = /^input 'id': (row 0, )?position 1: found id 3, expected -3 to 2 for table 'x'$/;
      await expectRejection('INDEX_OUT_OF_RANGE', message, model.run({ x, id: ids([2], [0, 3]) }));
      const { y } = await model.run({ x, id: ids([2], [0, -3]) });
      expect(y!.dims).toEqual([2, 2, 4]);
      await model.dispose();
    }
  });

  it('refuses constant indices outside a fixed dimension when the model is loaded', async () => {
    for (const index of [4, -5]) {
      const b = new GraphBuilder('pick');
      const at = b.constant('at', ids([], [index]));
      b.output(b.op('Gather', [b.input('x', 'float32', ['n', 4]), at], { axis: 1 }, { name: 'pick' }), 'float32');
      await expectRejection(
        'MODEL_INVALID',
        new RegExp(`Gather 'pick': index ${index} is outside dimension 4`),
        engine.load(b.build()),
      );
    }
  });

  it('checks constant indices into a symbolic dimension when the query comes', async () => {
    const b = new GraphBuilder('pick');
    const x = b.input('x', 'float32', ['n', 'length', 2]);
    const pick = (index: number, name: string): void => {
      const at = b.constant(`at ${index}`, ids([], [index]));
      b.output(b.op('Gather', [x, at], { axis: 1 }, { outputs: [name] }), 'float32');
    };
    pick(0, 'first');
    pick(-1, 'last');
    pick(2, 'third');
    pick(-2, 'before last');
    const graph = b.build();
    const model = await engine.load(graph);
    const random = new Random();
    expect(await graphProblems(model, graph, { x: random.floats([2, 3, 2]) })).toEqual([]);
    expect(await graphProblems(model, graph, { x: random.floats([1, 5, 2]) })).toEqual([]);
    await expectRejection(
      'INDEX_OUT_OF_RANGE',
      /Gather 'Gather_\d+'.*found id 2, expected -2 to 1/,
      model.run({ x: random.floats([2, 2, 2]) }),
    );
    await model.dispose();
  });

  it('names the node of a lookup that fails while constants fold', () => {
    const b = new GraphBuilder('constants');
    b.output(
      b.op('Gather', [b.constant('t', table), b.constant('i', ids([1], [3]))], {}, { name: 'lookup' }),
      'float32',
    );
    const run = engine.load(b.build());
    return expectRejection('MODEL_INVALID', /Gather 'lookup': index 3 is outside dimension 3/, run);
  });
});

describe('gather by the kernels of a GPU, several pieces at once', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 22, software: false }));
  });
  afterAll(() => engine.close());

  it(`agrees with the reference (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, [...LITERAL, ...randomCases(new Random())])).toEqual([]);
  });

  it(`refuses the query that holds a bad id and no other (seed ${SEED})`, async () => {
    const random = new Random();
    const graph = embeddings(random);
    const model = await engine.load(graph);
    await mixedTraffic(model, graph, random, 20);
    await model.dispose();
  });

  it.each([
    [4, 1, 1],
    [4, 3, 85],
    [64, 2, 33],
    [12, 5, 50],
    [100, 1, 129],
    [6, 7, 300],
  ])('looks rows of %i elements up, %i a row, in %i rows', async (width, perRow, rows) => {
    const random = new Random();
    const b = new GraphBuilder(`rows of ${width}`);
    const found = b.op('Gather', [
      b.constant('t', random.floats([USERS, width])),
      b.input('id', 'int64', ['n', perRow]),
    ]);
    b.output(found, 'float32');
    const graph = b.build();
    const model = await engine.load(graph);
    const id = random.tensor('int64', [rows, perRow], -USERS, USERS);
    expect(await graphProblems(model, graph, { id })).toEqual([]);
    // The last piece of the last run of indices, and the first.
    for (const at of [rows * perRow - 1, 0]) {
      const bad: Tensor = { ...id, data: id.data.slice() };
      bad.data[at] = BigInt(USERS);
      const [row, position] = [Math.floor(at / perRow), at % perRow];
      const message = new RegExp(`^input 'id': row ${row}, position ${position}: found id ${USERS},`);
      await expectRejection('INDEX_OUT_OF_RANGE', message, model.run({ id: bad }));
    }
    await model.dispose();
  });
});

describe.each([
  ['a software adapter', true],
  ['a GPU', false],
])('gather from a table cut over several bindings, by the kernels of %s', (_, software) => {
  let engine: GraphEngine;

  beforeAll(async () => {
    // 4 and 3 rows of the two tables: 13 parts and 3.
    engine = new GraphEngine(await openBackend({ maxBindingBytes: 64, arenaBytes: 2 ** 20, software }));
  });
  afterAll(() => engine.close());

  it('gives the same results and the same errors', async () => {
    const random = new Random();
    const graph = embeddings(random);
    const model = await engine.load(graph);
    expect((await model.summary()).plan.filter((line) => line.startsWith('Gather')).length).toBeGreaterThan(10);
    await mixedTraffic(model, graph, random, 20);
    // Every row of a table once, whatever part holds it.
    const user = tensorOf(
      'int32',
      [2 * USERS],
      Array.from({ length: 2 * USERS }, (_, i) => i - USERS),
    );
    const history = random.tensor('int64', [2 * USERS, HISTORY], -ITEMS, ITEMS);
    expect(await graphProblems(model, graph, { user, history })).toEqual([]);
    await model.dispose();
  });

  it('keeps int64 tables whole', async () => {
    const b = new GraphBuilder('codes');
    const values = Array.from({ length: 20 }, (_, i) => (i - 10) * 2 ** 35);
    b.output(
      b.op(
        'Gather',
        [b.constant('codes', ids([20], values)), b.input('id', 'int64', ['n'])],
        {},
        { outputs: ['code'] },
      ),
      'int64',
    );
    const model = await engine.load(b.build());
    const { code } = await model.run({ id: ids([3], [19, 0, -9]) });
    expect(
      difference(code!, { dtype: 'int64', dims: [3], data: [9 * 2 ** 35, -10 * 2 ** 35, 2 ** 35] }),
    ).toBeUndefined();
    await model.dispose();
  });

  it('refuses a table whose single row is larger than a binding, naming it', () => {
    const b = new GraphBuilder('too wide');
    b.output(
      b.op('Gather', [
        b.constant(
          'wide',
          floats(
            [2, 20],
            Array.from({ length: 40 }, () => 1),
          ),
        ),
        b.input('id', 'int64', ['n']),
      ]),
      'float32',
    );
    return expectRejection('MODEL_UNSUPPORTED', /one row of table 'wide'/, engine.load(b.build()));
  });
});

it('the reference refuses ids out of range too', () => {
  expect(() => referenceProblems([{ title: 'bad', op: 'Gather', inputs: [data(table), data(ids([1], [3]))] }])).toThrow(
    /index 3/,
  );
});
