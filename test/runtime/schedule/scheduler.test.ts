import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Backend, Executable, QueryResult, Wave } from '../../../runtime/backends/backend.js';
import { bindSymbols, compile, type Plan } from '../../../runtime/compile/plan.js';
import { BraidError } from '../../../runtime/errors.js';
import type { Bindings } from '../../../runtime/graph/dim.js';
import type { TensorData } from '../../../runtime/graph/dtype.js';
import { GraphBuilder } from '../../../runtime/index.js';
import { Scheduler, type Target } from '../../../runtime/schedule/scheduler.js';
import { expectRejection } from '../../support/errors.js';

const WIDTH = 2;
/** A value that a query must not hold. */
const BAD = -1;

/** y = 2 x over rows; with `mixing`, a plan whose rows depend on each other; with `length`, one of another symbol. */
function planOf(name: string, kind: 'parallel' | 'mixing' | 'lengths'): Plan {
  const b = new GraphBuilder(name);
  const x = b.input('x', 'float32', ['n', kind === 'lengths' ? 'length' : WIDTH]);
  const doubled = b.op('Add', [x, x], {}, { outputs: ['y'] });
  b.output(kind === 'mixing' ? b.op('Softmax', [doubled], { axis: 0 }) : doubled, 'float32');
  return compile(b.build(), { maxBindingBytes: 2 ** 20 });
}

/** A promise and what resolves it. */
class DeferredVoid {
  resolve!: () => void;
  readonly promise = new Promise<void>((resolve) => (this.resolve = resolve));
}

/** A device that runs nothing, but keeps the contract of Backend: waves end in the order they were submitted. */
class FakeDevice {
  readonly wavesInFlight: number;
  readonly #ticks: () => number;
  inFlight = 0;
  mostInFlight = 0;
  #last: Promise<unknown> = Promise.resolve();
  readonly waves: { target: string; wave: Wave; error: Error | undefined }[] = [];

  constructor(wavesInFlight: number, ticks: () => number) {
    this.wavesInFlight = wavesInFlight;
    this.#ticks = ticks;
  }

  get backend(): Backend {
    return { wavesInFlight: this.wavesInFlight } as Backend;
  }

  target(plan: Plan, rowsPerWave: number, failure: () => Error | undefined = () => undefined): Target {
    const executable: Executable = {
      memory: { weightBytes: 0, arenaBytes: 0, stagingBytes: 0 },
      dispatches: 1,
      rowsPerWave: () => (plan.rowAnalysis.parallel ? rowsPerWave : Number.POSITIVE_INFINITY),
      release: () => {},
      profile: () => Promise.reject(new Error('the scheduler does not profile')),
      submit: (wave) => this.#submit(plan.name, wave, failure()),
    };
    return { plan, executable };
  }

  async #submit(target: string, wave: Wave, error: Error | undefined): Promise<readonly QueryResult[]> {
    this.waves.push({ target, wave, error });
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    const before = this.#last;
    const done = new DeferredVoid();
    this.#last = done.promise;
    try {
      for (let tick = this.#ticks(); tick > 0; tick--) await new Promise((resolve) => setImmediate(resolve));
      await before;
      if (error) throw error;
      return wave.queries.map(({ inputs }): QueryResult => {
        const x = inputs[0] as Float32Array;
        if (x.includes(BAD)) return { error: new BraidError('INDEX_OUT_OF_RANGE', 'a bad value') };
        return { outputs: [x.map((v) => 2 * v)] };
      });
    } finally {
      this.inFlight--;
      done.resolve();
    }
  }
}

/** Every query has a buffer of its own, which tells it even where it comes in chunks. */
function queryOf(plan: Plan, rows: number, width = WIDTH, bad = false): { bindings: Bindings; inputs: TensorData[] } {
  const x = Float32Array.from({ length: rows * width }, (_, i) => i + 1);
  if (bad && x.length > 0) x[x.length - 1] = BAD;
  return { bindings: bindSymbols(plan.inputs, [[rows, width]]), inputs: [x] };
}

const PLANS = [planOf('a', 'parallel'), planOf('b', 'parallel'), planOf('m', 'mixing'), planOf('l', 'lengths')];

const arrival = fc.record({
  model: fc.nat(PLANS.length - 1),
  rows: fc.oneof(fc.nat(3), fc.nat(40)),
  width: fc.integer({ min: 1, max: 2 }),
  bad: fc.boolean(),
  pause: fc.nat(3),
});

describe('the scheduler', () => {
  it('answers every query once with its own rows, within the limits of waves', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(arrival, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 16 }),
        fc.infiniteStream(fc.nat(4)),
        fc.infiniteStream(fc.nat(9)),
        async (arrivals, wavesInFlight, rowsPerWave, delays, failures) => {
          const device = new FakeDevice(wavesInFlight, () => delays.next().value!);
          const fail = (): Error | undefined =>
            failures.next().value === 0 ? new BraidError('DEVICE_LOST', 'this wave') : undefined;
          const targets = PLANS.map((plan) => device.target(plan, rowsPerWave, fail));
          const scheduler = new Scheduler(device.backend);
          const ids = new Map<ArrayBufferLike, number>();
          const outcomes: Promise<{
            settled: readonly TensorData[] | BraidError;
            input: Float32Array;
            times: number;
          }>[] = [];
          for (const [i, { model, rows, width, bad, pause }] of arrivals.entries()) {
            const plan = PLANS[model]!;
            const query = queryOf(plan, rows, plan.name === 'l' ? width : WIDTH, bad && i % 4 === 0);
            ids.set(query.inputs[0]!.buffer, i);
            let times = 0;
            outcomes.push(
              scheduler.run(targets[model]!, query.bindings, query.inputs).then(
                (settled) => ({ settled, input: query.inputs[0] as Float32Array, times: ++times }),
                (settled: BraidError) => ({ settled, input: query.inputs[0] as Float32Array, times: ++times }),
              ),
            );
            for (let p = 0; p < pause; p++) await new Promise((resolve) => setImmediate(resolve));
          }
          await scheduler.drain();
          expect([scheduler.waiting, device.inFlight]).toEqual([0, 0]);
          const results = await Promise.all(outcomes);

          expect(device.mostInFlight).toBeLessThanOrEqual(wavesInFlight);
          const failed = new Set<number>();
          const seen = new Map<number, number>();
          for (const { target, wave, error } of device.waves) {
            const plan = PLANS.find((p) => p.name === target)!;
            const rows = wave.queries.reduce((n, q) => n + q.rows, 0);
            expect(wave.bindings.get('n')).toBe(rows);
            if (plan.concatenable) expect(rows).toBeLessThanOrEqual(rowsPerWave);
            else expect(wave.queries.length).toBe(1);
            const width = plan.name === 'l' ? wave.bindings.get('length')! : WIDTH;
            for (const query of wave.queries) {
              // Queries of a wave agree on everything but rows.
              expect(query.inputs[0]!.length).toBe(query.rows * width);
              const id = ids.get(query.inputs[0]!.buffer)!;
              seen.set(id, (seen.get(id) ?? 0) + query.rows);
              if (error) failed.add(id);
            }
          }
          results.forEach(({ settled, input, times }, i) => {
            expect(times).toBe(1);
            // Every row ran in one wave, whatever became of it.
            expect([i, seen.get(i)]).toEqual([i, arrivals[i]!.rows]);
            if (failed.has(i) || input.includes(BAD)) {
              expect(settled).toBeInstanceOf(BraidError);
              const codes = [
                ...(failed.has(i) ? ['DEVICE_LOST'] : []),
                ...(input.includes(BAD) ? ['INDEX_OUT_OF_RANGE'] : []),
              ];
              expect(codes).toContain((settled as BraidError).code);
            } else {
              expect(settled).toEqual([input.map((v) => 2 * v)]);
            }
          });
        },
      ),
      { numRuns: 150 },
    );
  });

  it('always serves the query that has waited longest', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ model: fc.nat(1), rows: fc.integer({ min: 1, max: 8 }) }), {
          minLength: 2,
          maxLength: 30,
        }),
        fc.infiniteStream(fc.nat(3)),
        async (arrivals, delays) => {
          const device = new FakeDevice(2, () => delays.next().value!);
          const targets = PLANS.slice(0, 2).map((plan) => device.target(plan, 8));
          const scheduler = new Scheduler(device.backend);
          const queries = arrivals.map(({ model, rows }) => ({ model, ...queryOf(PLANS[model]!, rows) }));
          const answers = queries.map((q) => scheduler.run(targets[q.model]!, q.bindings, q.inputs));
          await Promise.all(answers);
          const order = new Map(queries.map((q, i) => [q.inputs[0]!.buffer, i]));
          const left = new Set(order.values());
          for (const { wave } of device.waves) {
            const served = wave.queries.map((q) => order.get(q.inputs[0]!.buffer)!);
            expect(served[0]).toBe(Math.min(...left));
            expect(served).toEqual(served.toSorted((a, b) => a - b));
            for (const id of served) left.delete(id);
          }
          expect(left.size).toBe(0);
        },
      ),
    );
  });

  it('puts queries that start together into one wave, and what comes meanwhile into the next', async () => {
    const device = new FakeDevice(1, () => 2);
    const target = device.target(PLANS[0]!, 100);
    const scheduler = new Scheduler(device.backend);
    const run = (rows: number): Promise<unknown> => {
      const { bindings, inputs } = queryOf(PLANS[0]!, rows);
      return scheduler.run(target, bindings, inputs);
    };
    const first = [1, 2, 3].map(run);
    await new Promise((resolve) => setImmediate(resolve));
    const second = [4, 5].map(run);
    expect(scheduler.waiting).toBe(2);
    await Promise.all([...first, ...second]);
    expect(device.waves.map((w) => w.wave.queries.map((q) => q.rows))).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
  });

  it('keeps several waves in flight where the backend takes them', async () => {
    const device = new FakeDevice(3, () => 3);
    const target = device.target(PLANS[0]!, 4);
    const scheduler = new Scheduler(device.backend);
    const { bindings, inputs } = queryOf(PLANS[0]!, 40);
    await scheduler.run(target, bindings, inputs);
    expect([device.mostInFlight, device.waves.length]).toEqual([3, 10]);
    expect(device.waves.map((w) => w.wave.queries[0]!.firstRow)).toEqual([0, 4, 8, 12, 16, 20, 24, 28, 32, 36]);
  });

  it('wraps what is no BraidError, and goes on', async () => {
    const failures = [new TypeError('a defect'), undefined];
    const device = new FakeDevice(1, () => 0);
    const target = device.target(PLANS[0]!, 4, () => failures.shift());
    const scheduler = new Scheduler(device.backend);
    const { bindings, inputs } = queryOf(PLANS[0]!, 2);
    await expectRejection('INTERNAL', /^a defect$/, scheduler.run(target, bindings, inputs));
    expect(await scheduler.run(target, bindings, inputs)).toEqual([Float32Array.of(2, 4, 6, 8)]);
    await scheduler.drain();
  });

  it('refuses a query that cannot be cut and passes what a wave carries', async () => {
    const b = new GraphBuilder('beside a shared input');
    const sum = b.op('Add', [b.input('x', 'float32', ['n', WIDTH]), b.input('shared', 'float32', [WIDTH])]);
    b.output(sum, 'float32');
    const plan = compile(b.build(), { maxBindingBytes: 2 ** 20 });
    expect([plan.rowAnalysis.parallel, plan.concatenable]).toEqual([true, false]);
    const device = new FakeDevice(1, () => 0);
    const run = new Scheduler(device.backend).run(device.target(plan, 4), new Map([['n', 5]]), [
      new Float32Array(10),
      new Float32Array(2),
    ]);
    await expectRejection('OVERLOADED', /5 rows pass the 4 .*'beside a shared input'/, run);
    expect(device.waves).toEqual([]);
  });

  it('tells the caller where the device refuses the sizes of its query, and goes on', async () => {
    const device = new FakeDevice(1, () => 0);
    const target = device.target(PLANS[0]!, 4);
    let calls = 0;
    target.executable.rowsPerWave = () => {
      if (++calls === 2) throw new BraidError('OVERLOADED', 'no memory any more');
      return 4;
    };
    const scheduler = new Scheduler(device.backend);
    const { bindings, inputs } = queryOf(PLANS[0]!, 2);
    // Limits are asked for where a refusal has somebody to go to; never while a wave is made.
    const runs = [1, 2, 3].map(() => scheduler.run(target, bindings, inputs));
    await expectRejection('OVERLOADED', /no memory any more/, runs[1]!);
    for (const run of [runs[0], runs[2]]) expect(await run).toEqual([Float32Array.of(2, 4, 6, 8)]);
    await scheduler.drain();
  });

  it('drains at once where nothing runs', async () => {
    await new Scheduler(new FakeDevice(1, () => 0).backend).drain();
  });
});
