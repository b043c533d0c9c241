import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Backend, Executable, Part, PartOutcome, Timing } from '../../../runtime/backends/backend.js';
import { bindSymbols, compile, type Plan } from '../../../runtime/compile/plan.js';
import { GraphBuilder } from '../../../runtime/index.js';
import { Random } from '../../../src/zoo/random.js';
import { openBackend, testsCuda } from '../../support/device.js';

const TABLE = [3, 1, 4, 1];

/** y = factor x + table[id], over rows. */
function planOf(backend: Backend, name: string, factor: number): Plan {
  const b = new GraphBuilder(name);
  const x = b.input('x', 'float32', ['n']);
  const id = b.input('id', 'int64', ['n']);
  const table = b.constant('t', { dtype: 'float32', dims: [TABLE.length], data: Float32Array.from(TABLE) });
  const found = b.op('Gather', [table, id]);
  const scaled = b.op('Mul', [x, b.constant('f', { dtype: 'float32', dims: [1], data: Float32Array.of(factor) })]);
  b.output(b.op('Add', [scaled, found], {}, { outputs: ['y'] }), 'float32');
  const { caps, maxBindingBytes } = backend;
  return compile(b.build(), { caps, maxBindingBytes });
}

describe('waves of several plans in one submission', () => {
  let backend: Backend;
  const loaded: { executable: Executable; plan: Plan; factor: number }[] = [];

  beforeAll(async () => {
    backend = await openBackend();
    for (const factor of [2, 10, 100]) {
      const plan = planOf(backend, `times ${factor}`, factor);
      loaded.push({ plan, factor, executable: await backend.prepare(plan) });
    }
  });
  afterAll(() => backend.close());

  function part(model: number, ids: readonly number[], timing: Timing = 'wave'): Part {
    const { plan, executable } = loaded[model]!;
    const bindings = bindSymbols(plan.inputs, [[ids.length], [ids.length]]);
    const inputs = [Float32Array.from({ length: ids.length }, (_, i) => i + model), BigInt64Array.from(ids, BigInt)];
    return { executable, timing, wave: { bindings, queries: [{ rows: ids.length, firstRow: 0, inputs }] } };
  }

  function expectAnswer(outcome: PartOutcome | undefined, model: number, ids: readonly number[]): void {
    const { factor } = loaded[model]!;
    const y = Float32Array.from(ids, (id, i) => factor * (i + model) + TABLE[id]!);
    expect(outcome).toMatchObject({ results: [{ outputs: [y] }] });
  }

  it('answers each from its own plan, parameters and inputs', async () => {
    const ids = [
      [0, 1, 2, 3, 0],
      [3, 3, 3, 2, 1],
      [2, 2, 0, 0, 0],
    ];
    const submitted = vi.fn();
    const outcomes = await backend.submit(
      ids.map((own, model) => part(model, own)),
      submitted,
    );
    ids.forEach((own, model) => expectAnswer(outcomes[model], model, own));
    expect(submitted).toHaveBeenCalled();
    if (testsCuda) return;
    const moments = outcomes.map((o) => 'results' in o && [o.begunAt, o.submittedAt, o.doneAt]);
    expect(moments).toEqual([moments[0], moments[0], moments[0]]);
    for (const o of outcomes) expect('results' in o && o.dispatchCount).toBeGreaterThan(0);
  });

  it('tells the bad ids of one from those of another', async () => {
    const good = [0, 0, 0, 0, 0];
    const outcomes = await backend.submit([part(0, [0, 0, 9, 0, 0]), part(1, good), part(2, [0, 0, 0, 0, -5])]);
    expectAnswer(outcomes[1], 1, good);
    expect(outcomes[0]).toMatchObject({ results: [{ error: { code: 'INDEX_OUT_OF_RANGE' } }] });
    expect(outcomes[0]).toMatchObject({
      results: [{ error: { message: expect.stringMatching(/row 2.* found id 9/) } }],
    });
    expect(outcomes[2]).toMatchObject({
      results: [{ error: { message: expect.stringMatching(/row 4.* found id -5/) } }],
    });
  });

  it('takes two waves of one plan, whose parameters a command buffer has once', async () => {
    const [first, second] = [
      [0, 1, 2, 3, 0],
      [1, 1, 1, 2, 2, 3, 0, 3, 1],
    ];
    const outcomes = await backend.submit([part(0, first), part(1, second), part(0, second)]);
    expectAnswer(outcomes[0], 0, first);
    expectAnswer(outcomes[1], 1, second);
    expectAnswer(outcomes[2], 0, second);
  });

  it('times each where asked', async () => {
    const ids = [0, 1, 2, 3, 0];
    const outcomes = await backend.submit([part(0, ids, 'dispatches'), part(1, ids, 'none'), part(2, ids, 'wave')]);
    for (const [model, outcome] of outcomes.entries()) expectAnswer(outcome, model, ids);
    if (!backend.caps.features.has('timestamp-query')) return;
    const [first, second, third] = outcomes.map((o) => ('results' in o ? o : undefined));
    expect(first!.dispatches!.length).toBe(first!.dispatchCount);
    expect(second).not.toHaveProperty('deviceUs');
    expect(third!.deviceUs).toBeGreaterThanOrEqual(0);
  });

  it('refuses one that has no room without harming the others', async () => {
    const ids = [0, 1, 2, 3, 0];
    const bad = part(1, ids);
    // A wave whose inputs are not what its rows say cannot be placed.
    const broken: Part = { ...bad, wave: { ...bad.wave, queries: [{ rows: ids.length, firstRow: 0, inputs: [] }] } };
    const outcomes = await backend.submit([part(0, ids), broken, part(2, ids)]);
    expectAnswer(outcomes[0], 0, ids);
    expect(outcomes[1]).toHaveProperty('error');
    expectAnswer(outcomes[2], 2, ids);
  });

  it('answers waves that repeat, change their sizes and meet memory that grew', async () => {
    const random = new Random(11, 'repeats');
    const draw = (rows: number): number[] => Array.from({ length: rows }, () => random.below(TABLE.length));
    let rows = 5;
    for (let round = 0; round < 40; round++) {
      // Runs of waves alike, long enough that commands are recorded ahead, broken in every way there is.
      if (round % 8 === 7) rows = 1 + random.below(9);
      const models = round % 11 === 10 ? [0, 2] : [0];
      const ids = models.map(() => draw(rows));
      const timing: Timing = round % 9 === 8 ? 'wave' : 'none';
      const outcomes = await backend.submit(models.map((model, i) => part(model, ids[i]!, timing)));
      models.forEach((model, i) => expectAnswer(outcomes[i], model, ids[i]!));
      if (round !== 20) continue;
      // A table of many rows a wave needs more of everything that is shared.
      const b = new GraphBuilder('wide');
      b.output(b.op('Add', [b.input('x', 'float32', ['n', 4096]), b.input('y', 'float32', ['n', 4096])]), 'float32');
      const plan = compile(b.build(), { caps: backend.caps, maxBindingBytes: backend.maxBindingBytes });
      const wide = await backend.prepare(plan);
      expect(
        wide.rowsPerWave(
          bindSymbols(plan.inputs, [
            [1, 4096],
            [1, 4096],
          ]),
        ),
      ).toBeGreaterThan(0);
      wide.release();
    }
  });
});
