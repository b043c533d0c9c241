import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  evaluateGraph,
  GraphBuilder,
  GraphEngine,
  tensorOf,
  type Graph,
  type Model,
  type Tensor,
  type TensorInput,
} from '../../runtime/index.js';
import type { ErrorCode } from '../../runtime/errors.js';
import { floats, graphProblems, Random } from '../support/cases.js';
import { openBackend, testsCuda } from '../support/device.js';
import { expectRejection } from '../support/errors.js';

/** Scores a row from dense features and a looked-up embedding; small, and parallel over rows. */
function scorer(random: Random, name = 'scorer', width = 3): Graph {
  const b = new GraphBuilder(name);
  const x = b.input('x', 'float32', ['n', width]);
  const id = b.input('id', 'int64', ['n']);
  const found = b.op('Gather', [b.constant('table', random.floats([20, 5])), id]);
  const joined = b.op('Concat', [x, found], { axis: 1 });
  const hidden = b.op('Gemm', [
    joined,
    b.constant('w', random.floats([width + 5, 8])),
    b.constant('c', random.floats([8])),
  ]);
  b.output(b.op('Relu', [hidden], {}, { outputs: ['hidden'] }), 'float32');
  b.output(b.op('MatMul', ['hidden', b.constant('v', random.floats([8, 1]))], {}, { outputs: ['score'] }), 'float32');
  return b.build();
}

function query(random: Random, rows: number, width = 3): { x: Tensor; id: Tensor } {
  return { x: random.floats([rows, width]), id: random.tensor('int64', [rows], 0, 20) };
}

describe('an engine', () => {
  const random = new Random();
  const graph = scorer(random);
  let engine: GraphEngine;
  let model: Model;

  beforeAll(async () => {
    // A wave carries a few hundred rows: large queries run in chunks.
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 16 }));
    model = await engine.load(graph);
  });
  afterAll(() => engine.close());
  afterEach(() => vi.restoreAllMocks());

  it('tells what a model takes and gives', async () => {
    expect(model.inputs).toEqual([
      { name: 'x', dtype: 'float32', shape: ['n', 3] },
      { name: 'id', dtype: 'int64', shape: ['n'] },
    ]);
    expect(model.outputs).toEqual([
      { name: 'hidden', dtype: 'float32', shape: ['n', 8] },
      { name: 'score', dtype: 'float32', shape: ['n', 1] },
    ]);
    const summary = await model.summary();
    expect(summary).toMatchObject({ name: 'scorer', parameters: 20 * 5 + 8 * 8 + 8 + 8, foldedNodes: 0 });
    expect(summary.operators).toEqual({ Concat: 1, Gather: 1, Gemm: 1, MatMul: 1, Relu: 1 });
    expect(summary.rowsPerWave).toBeGreaterThan(100);
    expect(summary.rowsMixedBy).toBeUndefined();
    expect(summary.dispatches).toBeLessThanOrEqual(summary.plan.length);
  });

  const { x, id } = query(new Random(), 2);
  const bad: [what: string, inputs: Record<string, TensorInput>, code: ErrorCode, message: RegExp][] = [
    ['an unknown name', { x, id, y: x }, 'INPUT_UNKNOWN', /no input 'y'; it has 'x', 'id'/],
    ['a name of Object.prototype', { x, id, toString: x }, 'INPUT_UNKNOWN', /no input 'toString'/],
    ['nothing for an input', { x }, 'INPUT_MISSING', /input 'id' is missing; .*needs 'x', 'id'/],
    [
      'another type',
      { x, id: tensorOf('int32', [2], [0, 1]) },
      'INPUT_TYPE',
      /input 'id': found int32, expected int64/,
    ],
    [
      'another array',
      { x, id: { dims: [2], data: new Int32Array(2) } },
      'INPUT_TYPE',
      /input 'id': found Int32Array, expected BigInt64Array/,
    ],
    [
      'a plain list',
      { x: { dims: [2, 3], data: [1, 2, 3, 4, 5, 6] as never }, id },
      'INPUT_TYPE',
      /input 'x': found Array, expected Float32Array/,
    ],
    [
      'no array at all',
      { x: { dims: [2, 3] } as never, id },
      'INPUT_TYPE',
      /input 'x': found undefined, expected Float32Array/,
    ],
    [
      'another rank',
      { x: { dims: [6], data: x.data }, id },
      'INPUT_SHAPE',
      /input 'x': found shape \[6\], expected \[n, 3\]/,
    ],
    [
      'another size',
      { x: floats([3, 2], [1, 2, 3, 4, 5, 6]), id },
      'INPUT_SHAPE',
      /input 'x': found shape \[3, 2\], expected \[n, 3\]/,
    ],
    [
      'rows that disagree',
      { x, id: tensorOf('int64', [1], [0]) },
      'INPUT_SHAPE',
      /input 'id': found shape \[1\], expected \[n\] with n = 2 from input 'x'/,
    ],
    [
      'too few elements',
      { x: { dims: [2, 3], data: new Float32Array(5) }, id },
      'INPUT_SIZE',
      /input 'x': found 5 elements, expected 6 for shape \[2, 3\]/,
    ],
    [
      'a negative size',
      { x: { dims: [-2, -3], data: x.data }, id },
      'INPUT_SHAPE',
      /input 'x': found shape \[-2, -3\]/,
    ],
  ];

  it.each(bad)('refuses %s, saying what was found and what was expected', async (_, inputs, code, message) => {
    await expectRejection(code, message, model.run(inputs));
  });

  it('refuses an unknown output, and gives those asked for', async () => {
    await expectRejection(
      'OUTPUT_UNKNOWN',
      /no output 'rank'; it has 'hidden', 'score'/,
      model.run({ x, id }, { outputs: ['rank'] }),
    );
    expect(Object.keys(await model.run({ x, id }, { outputs: ['score'] }))).toEqual(['score']);
  });

  it('answers after it refused', async () => {
    expect(await graphProblems(model, graph, { x, id })).toEqual([]);
  });

  it.each([0, 1, 2, 3, 63, 64, 65, 255, 256, 257, 1000, 4097, 65_535, 65_536])('runs %i rows', async (rows) => {
    expect(await graphProblems(model, graph, query(random, rows))).toEqual([]);
  });

  it('runs any number of queries of any size at once', async () => {
    const sizes = Array.from({ length: 60 }, () => random.pick([0, 1, 2, 7, 50, 300, 1500]));
    const problems = await Promise.all(sizes.map((rows) => graphProblems(model, graph, query(random, rows))));
    expect(problems.flat()).toEqual([]);
  });

  it('lets the caller reuse its arrays once a run is over', async () => {
    const own = query(random, 4);
    const first = await model.run(own);
    const copy = Float32Array.from(first['score']!.data as Float32Array);
    (own.x.data as Float32Array).fill(9);
    await model.run(own);
    expect(first['score']!.data).toEqual(copy);
  });

  it('gives outputs that do not carry rows once, however many chunks a query has', async () => {
    const b = new GraphBuilder('mixed outputs');
    const x = b.input('x', 'float32', ['n', 4]);
    b.output(b.op('Neg', [x], {}, { outputs: ['negative'] }), 'float32');
    b.output(b.op('Shape', [x], {}, { outputs: ['sizes'] }), 'int64');
    b.output(b.constant('weights', floats([3], [1, 2, 3])), 'float32');
    b.output(
      b.op('Reshape', [x, b.constant('flat', tensorOf('int64', [1], [-1]))], {}, { outputs: ['flat rows'] }),
      'float32',
    );
    const graph = b.build();
    const model = await engine.load(graph);
    const most = (await model.summary()).rowsPerWave!;
    for (const rows of [0, 1, most, most + 1, 3 * most + 2])
      expect(await graphProblems(model, graph, { x: random.floats([rows, 4]) })).toEqual([]);
    const several = [1, 5, 2 * most].map((rows) => graphProblems(model, graph, { x: random.floats([rows, 4]) }));
    expect((await Promise.all(several)).flat()).toEqual([]);
    await model.dispose();
  });

  it('runs a model that mixes rows one query at a time, and never in chunks', async () => {
    const b = new GraphBuilder('mixing');
    const x = b.input('x', 'float32', ['n', 2]);
    b.output(b.op('Sub', [x, b.op('ReduceMean', [x], { axes: [0] })], {}, { outputs: ['centred'] }), 'float32');
    const graph = b.build();
    const model = await engine.load(graph);
    expect(await model.summary()).toMatchObject({ rowsMixedBy: expect.stringMatching(/ReduceMean 'ReduceMean_0'/) });
    const problems = [1, 4, 3, 50].map((rows) => graphProblems(model, graph, { x: random.floats([rows, 2]) }));
    expect((await Promise.all(problems)).flat()).toEqual([]);
    await model.dispose();
  });

  it('does not let queries of different lengths share a wave', async () => {
    const b = new GraphBuilder('sequences');
    const x = b.input('x', 'float32', ['n', 'length', 2]);
    b.output(b.op('ReduceMax', [x], { axes: [1], keepdims: 0 }, { outputs: ['pooled'] }), 'float32');
    const graph = b.build();
    const model = await engine.load(graph);
    const shapes = Array.from({ length: 30 }, () => [random.int(0, 9), random.int(1, 6), 2]);
    const problems = await Promise.all(shapes.map((dims) => graphProblems(model, graph, { x: random.floats(dims) })));
    expect(problems.flat()).toEqual([]);
    await model.dispose();
  });

  it('frees the leading dimension of a fixed export where asked to', async () => {
    const b = new GraphBuilder('fixed');
    const x = b.input('x', 'float32', [1, 4]);
    b.output(b.op('Softmax', [x], {}, { outputs: ['share'] }), 'float32');
    const fixed = await engine.load(b.build());
    await expectRejection(
      'INPUT_SHAPE',
      /found shape \[3, 4\], expected \[1, 4\]/,
      fixed.run({ x: random.floats([3, 4]) }),
    );
    const lifted = await engine.load(b.build(), { rows: 'lift', name: 'lifted' });
    expect([lifted.name, lifted.inputs[0]!.shape]).toEqual(['lifted', ['rows', 4]]);
    const three = random.floats([3, 4]);
    const { share } = await lifted.run({ x: three });
    const rows = [0, 1, 2].map((r) => floats([1, 4], [...(three.data as Float32Array).subarray(4 * r, 4 * r + 4)]));
    const alone = await Promise.all(rows.map((x) => fixed.run({ x })));
    alone.forEach(({ share: one }, r) =>
      expect((share!.data as Float32Array).subarray(4 * r, 4 * r + 4)).toEqual(one!.data),
    );
    await Promise.all([fixed.dispose(), lifted.dispose()]);
  });

  it('answers what runs before it lets a model go', async () => {
    const leaving = await engine.load(graph);
    const queries = [1, 700, 20].map((rows) => query(random, rows));
    const running = queries.map((q) => leaving.run(q));
    const disposed = leaving.dispose();
    await expectRejection('CLOSED', /model 'scorer' is closed/, leaving.run(queries[0]!));
    await disposed;
    const answers = await Promise.all(running);
    answers.forEach((a, i) => expect(a['score']!.dims).toEqual([queries[i]!.x.dims[0], 1]));
    await expectRejection('CLOSED', /model 'scorer' is closed/, leaving.run(queries[0]!));
    await leaving.dispose();
    expect(await graphProblems(model, graph, queries[0]!)).toEqual([]);
  });

  it.skipIf(testsCuda)('makes no pipeline, binding or buffer for a query once a model is warm', async () => {
    await model.run(query(random, 1));
    const made = (['createBindGroup', 'createComputePipelineAsync', 'createBuffer', 'createShaderModule'] as const).map(
      (name) => vi.spyOn(GPUDevice.prototype, name as 'createBuffer'),
    );
    for (const rows of [1, 2, 17, 300]) await model.run(query(random, rows));
    await Promise.all([5, 600, 1, 2].map((rows) => model.run(query(random, rows))));
    expect(made.map((spy) => spy.mock.calls.length)).toEqual([0, 0, 0, 0]);
    // The spies do see what a load makes.
    const other = await engine.load(scorer(random, 'other', 4));
    await other.run(query(random, 1, 4));
    expect(made[0]!.mock.calls.length).toBeGreaterThan(0);
    expect(made[2]!.mock.calls.length).toBeGreaterThan(0);
    await other.dispose();
  });

  it.skipIf(testsCuda)('runs queries that wait together in one submission, or in two that overlap', async () => {
    await model.run(query(random, 1));
    const submits = vi.spyOn(GPUQueue.prototype, 'submit');
    await Promise.all(Array.from({ length: 30 }, () => model.run(query(random, 3))));
    expect(submits.mock.calls.length).toBeLessThanOrEqual(2);
  });

  it('runs several models at once while loads make the shared memory grow', async () => {
    const own = new GraphEngine(await openBackend({ arenaBytes: 2 ** 15 }));
    const graphs: Graph[] = [];
    const models: Model[] = [];
    for (const width of [2, 6, 1]) {
      const next = scorer(random, `width ${width}`, width);
      const loading = own.load(next);
      // Queries of the models that are there keep coming while the next one loads.
      const during = models.flatMap((m, i) =>
        [3, 400].map((rows) =>
          graphProblems(m, graphs[i]!, query(random, rows, Number(graphs[i]!.name.split(' ')[1]))),
        ),
      );
      models.push(await loading);
      graphs.push(next);
      expect((await Promise.all(during)).flat()).toEqual([]);
    }
    const mixed = Array.from({ length: 30 }, (_, i) => {
      const at = i % models.length;
      return graphProblems(
        models[at]!,
        graphs[at]!,
        query(random, random.int(0, 200), Number(graphs[at]!.name.split(' ')[1])),
      );
    });
    expect((await Promise.all(mixed)).flat()).toEqual([]);
    await own.close();
  });

  it('refuses a model whose single row passes the memory budget', async () => {
    const own = new GraphEngine(await openBackend({ budgetBytes: 2 ** 16 }));
    const b = new GraphBuilder('wide');
    b.output(b.op('Relu', [b.input('x', 'float32', ['n', 2 ** 16])]), 'float32');
    await expectRejection('OVERLOADED', /\d+ bytes of device memory; the budget is 65536 bytes/, own.load(b.build()));
    await own.close();
  });

  it('refuses a query that cannot be cut and passes the memory budget, and goes on', async () => {
    const own = new GraphEngine(await openBackend({ budgetBytes: 2 ** 20 }));
    const b = new GraphBuilder('mixing');
    const x = b.input('x', 'float32', ['n', 16]);
    b.output(b.op('Softmax', [x], { axis: 0 }, { outputs: ['share'] }), 'float32');
    const graph = b.build();
    const model = await own.load(graph);
    const small = { x: random.floats([5, 16]) };
    const large = model.run({ x: random.floats([2 ** 16, 16]) });
    await expectRejection('OVERLOADED', /the budget is 1048576 bytes/, large);
    expect(await graphProblems(model, graph, small)).toEqual([]);
    await own.close();
  });

  it('refuses loads once it is closed, and closes once', async () => {
    const own = new GraphEngine(await openBackend({ arenaBytes: 2 ** 16 }));
    const last = await own.load(graph);
    const running = last.run(query(random, 3));
    await Promise.all([own.close(), own.close()]);
    expect((await running)['score']!.dims).toEqual([3, 1]);
    await expectRejection('CLOSED', /engine is closed/, own.load(graph));
    await expectRejection('CLOSED', /model 'scorer' is closed/, last.run(query(random, 3)));
  });

  it('lets a load that it closes over end as closed', async () => {
    const own = new GraphEngine(await openBackend({ arenaBytes: 2 ** 16 }));
    const loading = [own.load(graph), own.load(scorer(random, 'second', 2))];
    const closing = own.close();
    for (const load of loading) await expectRejection('CLOSED', /engine is closed/, load);
    await closing;
  });

  it('counts progress up to its end', async () => {
    const seen: [string, number, number][] = [];
    const counted = await engine.load(graph, { onProgress: (...p) => seen.push(p) });
    for (const stage of ['compile', 'upload', 'pipelines']) {
      const [, done, total] = seen.findLast(([s]) => s === stage)!;
      expect([stage, done]).toEqual([stage, total]);
    }
    await counted.dispose();
  });

  it('reports the missing operators of a model, all of them', async () => {
    const b = new GraphBuilder('exotic');
    const x = b.input('x', 'float32', ['n', 4]);
    b.output(b.op('Det', [b.op('NonMaxSuppression', [x])]), 'float32');
    const message = await expectRejection('MODEL_UNSUPPORTED', /model 'exotic' has 2 nodes/, engine.load(b.build()));
    expect(message).toMatch(/NonMaxSuppression 'NonMaxSuppression_0'[^]*Det 'Det_1'/);
  });
});

it('the reference answers what the scorer computes', () => {
  // A check of the oracle of this file against a sum written out.
  const graph = scorer(new Random(1));
  const q = query(new Random(2), 1);
  const { table, w, c, v } = Object.fromEntries(
    [...graph.constants].map(([k, t]) => [k, [...(t.data as Float32Array)]]),
  ) as Record<string, number[]>;
  const row = [...(q.x.data as Float32Array), ...table!.slice(5 * Number(q.id.data[0]), 5 * Number(q.id.data[0]) + 5)];
  const hidden = Array.from({ length: 8 }, (_, j) =>
    Math.max(
      0,
      row.reduce((s, r, i) => s + r * w![8 * i + j]!, c![j]!),
    ),
  );
  const score = hidden.reduce((s, h, j) => s + h * v![j]!, 0);
  expect(evaluateGraph(graph, new Map(Object.entries(q))).get('score')!.data[0]).toBeCloseTo(score, 10);
});
