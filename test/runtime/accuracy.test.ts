import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, GraphBuilder, GraphEngine, tensorOf, type Graph, type Tensor } from '../../runtime/index.js';
import type { Backend } from '../../runtime/index.js';
import { compareOutputs } from '../../runtime/accuracy.js';
import { unpackedWeight } from '../../runtime/compile/packed.js';
import { floats, Random } from '../support/cases.js';
import { openBackend } from '../support/device.js';

const WIDTH = 12;
const ROWS = 40;

/** out = table[ids + first], of which ids up to `ROWS - first` are good. */
function lookup(first = 0): { graph: Graph; table: Tensor } {
  const b = new GraphBuilder('lookup');
  const table = new Random().floats([ROWS, WIDTH], -3, 5);
  const ids = b.input('ids', 'int64', ['n']);
  const at = first === 0 ? ids : b.op('Add', [ids, b.constant('first', tensorOf('int64', [1], [first]))]);
  b.output(b.op('Gather', [b.constant('table', table), at], {}, { outputs: ['y'] }), 'float32');
  return { graph: b.build(), table };
}

describe('the accuracy that a precision costs', () => {
  let backend: Backend;
  let engine: GraphEngine;

  beforeAll(async () => {
    backend = await openBackend({ arenaBytes: 2 ** 22 });
    engine = new GraphEngine(backend);
  });
  afterAll(() => engine.close());

  it.each([
    ['int8', 'i8'],
    ['float16', 'f16'],
  ] as const)('is the largest difference between what %s and float32 answer', async (tables, type) => {
    const { graph, table } = lookup();
    const before = backend.memory.weightBytes;
    const model = await engine.load(graph, { precision: { tables } });
    const { precision, memory } = await model.summary();
    // The copy in float32 is gone.
    expect(backend.memory.weightBytes).toBe(before + memory.weightBytes);
    // Every element of the table, which 64 random rows all but cover: no more than the largest, no less than the median.
    const stored = unpackedWeight(type, table).data;
    const errors = Array.from(table.data as Float32Array, (v, i) => Math.abs(v - Number(stored[i]))).sort(
      (a, b) => a - b,
    );
    const { accuracy } = precision;
    if (!accuracy || 'notMeasured' in accuracy) throw new Error('not measured');
    expect(accuracy.rows).toBe(64);
    const [{ name, maxAbsolute, maxRelative }] = accuracy.outputs as [(typeof accuracy.outputs)[number]];
    expect(name).toBe('y');
    expect(maxAbsolute).toBeLessThanOrEqual(errors.at(-1)! * 1.001);
    expect(maxAbsolute).toBeGreaterThan(errors[errors.length >> 1]!);
    expect(maxRelative).toBeGreaterThan(maxAbsolute / 5);
    expect(model.notices).toEqual([
      expect.stringMatching(
        new RegExp(
          `^weights stored in fewer bits: 1 as ${tables}; 'y' differs from that of float32 by at most \\S+ \\(relative \\S+\\) on 64 random rows$`,
        ),
      ),
    ]);
    // It answers with the stored weights.
    const { y } = await model.run({ ids: { dims: [1], data: BigInt64Array.of(7n) } });
    const expected = Array.from(stored.slice(7 * WIDTH, 8 * WIDTH), Number);
    expected.forEach((v, i) => expect(Number(y!.data[i])).toBeCloseTo(v, 5));
    await model.dispose();
  });

  it('is measured on fewer ids where the model reckons with them before it looks them up', async () => {
    const model = await engine.load(lookup(30).graph, { precision: { tables: 'int8' } });
    const { accuracy } = (await model.summary()).precision;
    expect(accuracy).toMatchObject({ rows: 64, outputs: [{ name: 'y' }] });
    await model.dispose();
  });

  it('is not known where no random ids are good', async () => {
    const model = await engine.load(lookup(ROWS).graph, { precision: { tables: 'int8' } });
    const { accuracy } = (await model.summary()).precision;
    expect(accuracy).toEqual({ notMeasured: expect.stringMatching(/found id 40, expected -40 to 39/) });
    expect(model.notices[0]).toMatch(/1 as int8; what it costs in accuracy is not known: input 'ids'/);
    await model.dispose();
  });

  it('is nothing where nothing was lost', async () => {
    const { graph } = lookup();
    for (const precision of [{}, { tables: 'float32' as const }]) {
      const model = await engine.load(graph, { precision });
      expect(await model.summary()).toMatchObject({ precision: { float16: 0, int8: 0, savedBytes: 0 } });
      expect((await model.summary()).precision).not.toHaveProperty('accuracy');
      expect(model.notices).toEqual([]);
      await model.dispose();
    }
  });

  it('of a model with sizes besides the rows is measured at some', async () => {
    const b = new GraphBuilder('bags');
    const inputs = [
      b.constant('table', new Random().floats([9, 16])),
      b.input('ids', 'int64', ['total']),
      b.input('offsets', 'int64', ['bags']),
    ];
    b.output(b.op('EmbeddingBag', inputs, {}, { outputs: ['y'], domain: 'braid' }), 'float32');
    const model = await engine.load(b.build(), { precision: { tables: 'int8' } });
    expect((await model.summary()).precision.accuracy).toMatchObject({ outputs: [{ name: 'y' }] });
    await model.dispose();
  });
});

it('compares outputs by their largest differences, not a number with not a number', () => {
  const b = new GraphBuilder('two');
  for (const name of ['a', 'b'])
    b.output(b.op('Neg', [b.input(name, 'float32', ['n'])], {}, { outputs: [`-${name}`] }), 'float32');
  const plan = compile(b.build(), { maxBindingBytes: 2 ** 20 });
  const list = (...values: number[]) => floats([values.length], values).data;
  const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
  expect(compareOutputs(plan, [list(0, 4, nan, infinity), list(1)], [list(0.5, 5, nan, infinity), list(1)])).toEqual([
    { name: '-a', maxAbsolute: 1, maxRelative: 0.25 },
    { name: '-b', maxAbsolute: 0, maxRelative: 0 },
  ]);
  expect(compareOutputs(plan, [list(1), list(infinity)], [list(nan), list(1)])).toEqual([
    { name: '-a', maxAbsolute: infinity, maxRelative: infinity },
    { name: '-b', maxAbsolute: infinity, maxRelative: infinity },
  ]);
});
