import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Backend, Executable, Part, PartOutcome, QueryResult, Wave } from '../../../runtime/backends/backend.js';
import { bindSymbols, compile, type Plan } from '../../../runtime/compile/plan.js';
import { BraidError, toBraidError } from '../../../runtime/errors.js';
import type { Bindings } from '../../../runtime/graph/dim.js';
import type { TensorData } from '../../../runtime/graph/dtype.js';
import { GraphBuilder } from '../../../runtime/index.js';
import { CostModel, GPU_RATES } from '../../../runtime/schedule/cost.js';
import { POLICY_NAMES } from '../../../runtime/schedule/policy.js';
import type { Target } from '../../../runtime/schedule/query.js';
import { Scheduler } from '../../../runtime/schedule/scheduler.js';
import type { Span } from '../../../runtime/schedule/trace.js';
import { expectRejection } from '../../support/errors.js';

const WIDTH = 2;
/** Staging memory of a wave. */
const WAVE_BYTES = 1024;
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
  /** Whether it takes waves of several plans in one submission. */
  joinsPlans = false;
  readonly #ticks: () => number;
  stagingBudgetBytes = 100 * WAVE_BYTES;
  inFlight = 0;
  mostInFlight = 0;
  #last: Promise<unknown> = Promise.resolve();
  readonly waves: { target: string; wave: Wave; error: Error | undefined }[] = [];
  /** Names of the plans that each submission carried. */
  readonly submissions: string[][] = [];
  readonly #known = new Map<Executable, { readonly name: string; readonly failure: () => Error | undefined }>();

  constructor(wavesInFlight: number, ticks: () => number) {
    this.wavesInFlight = wavesInFlight;
    this.#ticks = ticks;
  }

  get backend(): Backend {
    return {
      wavesInFlight: this.wavesInFlight,
      concurrentWaves: false,
      joinsPlans: this.joinsPlans,
      submit: (parts: readonly Part[], onSubmitted?: (at: number) => void) => this.#submit(parts, onSubmitted),
      memory: {
        budgetBytes: 0,
        usedBytes: 0,
        weightBytes: 0,
        stagingBytes: 0,
        stagingBudgetBytes: this.stagingBudgetBytes,
      },
      waveBytes: WAVE_BYTES,
      caps: { features: new Set<string>() } as unknown as Backend['caps'],
    } as unknown as Backend;
  }

  target(plan: Plan, rowsPerWave: number, failure: () => Error | undefined = () => undefined): Target {
    const executable: Executable = {
      placement: 'simulated',
      memory: { weightBytes: 0, arenaBytes: 0, stagingBytes: 0 },
      dispatches: 1,
      rowsPerWave: () => (plan.rowAnalysis.parallel ? rowsPerWave : Number.POSITIVE_INFINITY),
      release: () => {},
      submit: async (wave, timing = 'none') => {
        const [outcome] = await this.#submit([{ executable, wave, timing }]);
        if ('error' in outcome!) throw outcome.error;
        return outcome!;
      },
    };
    this.#known.set(executable, { name: plan.name, failure });
    return { plan, executable, cost: new CostModel(plan, 1, GPU_RATES) };
  }

  async #submit(parts: readonly Part[], onSubmitted: (at: number) => void = () => {}): Promise<readonly PartOutcome[]> {
    const begunAt = performance.now();
    const waves = parts.map(({ executable, wave }) => {
      const { name, failure } = this.#known.get(executable)!;
      return { target: name, wave, error: failure() };
    });
    this.submissions.push(waves.map(({ target }) => target));
    this.waves.push(...waves);
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    const before = this.#last;
    const done = new DeferredVoid();
    this.#last = done.promise;
    onSubmitted(performance.now());
    try {
      for (let tick = this.#ticks(); tick > 0; tick--) await new Promise((resolve) => setImmediate(resolve));
      await before;
      const doneAt = performance.now();
      return waves.map(({ wave, error }): PartOutcome => {
        if (error) return { error: toBraidError(error) };
        const results = wave.queries.map(({ inputs }): QueryResult => {
          const x = inputs[0] as Float32Array;
          if (x.includes(BAD)) return { error: new BraidError('INDEX_OUT_OF_RANGE', 'a bad value') };
          return { outputs: [x.map((v) => 2 * v)] };
        });
        const moments = { begunAt, submittedAt: begunAt, doneAt, readbackUs: 1 };
        return { ...moments, results, uploadBytes: 0, readbackBytes: 0, dispatchCount: 1 };
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
  it.each(POLICY_NAMES)(
    'answers every query once with its own rows, within the limits of waves: %s',
    async (policy) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(arrival, { minLength: 1, maxLength: 40 }),
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 1, max: 16 }),
          fc.infiniteStream(fc.nat(4)),
          fc.infiniteStream(fc.nat(9)),
          fc.boolean(),
          async (arrivals, wavesInFlight, rowsPerWave, delays, failures, joinsPlans) => {
            const device = new FakeDevice(wavesInFlight, () => delays.next().value!);
            device.joinsPlans = joinsPlans;
            const fail = (): Error | undefined =>
              failures.next().value === 0 ? new BraidError('DEVICE_LOST', 'this wave') : undefined;
            const targets = PLANS.map((plan) => device.target(plan, rowsPerWave, fail));
            const scheduler = new Scheduler(device.backend, { policy, queueDelayMs: 0 });
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

            expect(device.mostInFlight).toBeLessThanOrEqual(policy === 'query' ? 1 : wavesInFlight);
            for (const plans of device.submissions) {
              expect(plans.length).toBeLessThanOrEqual(joinsPlans && policy === 'recos' ? PLANS.length : 1);
              // A command buffer has the parameters of a plan once.
              expect(new Set(plans).size).toBe(plans.length);
            }
            const failed = new Set<number>();
            const seen = new Map<number, number>();
            for (const { target, wave, error } of device.waves) {
              const plan = PLANS.find((p) => p.name === target)!;
              const rows = wave.queries.reduce((n, q) => n + q.rows, 0);
              expect(wave.bindings.get('n')).toBe(rows);
              if (plan.concatenable) expect(rows).toBeLessThanOrEqual(rowsPerWave);
              if (!plan.concatenable || policy === 'query' || policy === 'multistream')
                expect(wave.queries.length).toBe(1);
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
        { numRuns: 60 },
      );
    },
  );

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

  it('puts about half of what waits into a submission, whole waves of several models where they gain by it', async () => {
    const run = async (joinsPlans: boolean): Promise<string[][]> => {
      const device = new FakeDevice(8, () => 4);
      device.joinsPlans = joinsPlans;
      const targets = ['a', 'b', 'c', 'd'].map((name) => device.target(planOf(name, 'parallel'), 100));
      [1, 3, 2, 3].forEach((us, i) => (targets[i]!.cost.deviceUs = () => us));
      const scheduler = new Scheduler(device.backend);
      const client = async (target: Target): Promise<void> => {
        const { bindings, inputs } = queryOf(target.plan, 2);
        for (let i = 0; i < 3; i++) await scheduler.run(target, bindings, inputs);
      };
      await Promise.all([...targets, ...targets].map(client));
      expect(device.mostInFlight).toBe(2);
      for (const { wave } of device.waves) expect(wave.queries.length).toBe(2);
      return device.submissions;
    };
    const [ab, cd] = [
      ['a', 'b'],
      ['c', 'd'],
    ];
    expect(await run(true)).toEqual([ab, cd, ab, cd, ab, cd]);
    expect((await run(false)).flat()).toEqual(['a', 'b', 'c', 'd', 'a', 'b', 'c', 'd', 'a', 'b', 'c', 'd']);
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
    const scheduler = new Scheduler(device.backend, { policy: 'multistream' });
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

  it('holds back what the device has no use for yet, so that it may be joined', async () => {
    const device = new FakeDevice(8, () => 3);
    const target = device.target(PLANS[0]!, 4);
    const scheduler = new Scheduler(device.backend);
    const { bindings, inputs } = queryOf(PLANS[0]!, 40);
    await scheduler.run(target, bindings, inputs);
    expect([device.mostInFlight, device.waves.length]).toEqual([2, 10]);
  });

  it('lets a batch wait until it is full or its first query has waited long enough', async () => {
    const device = new FakeDevice(8, () => 0);
    const target = device.target(PLANS[0]!, 100);
    const scheduler = new Scheduler(device.backend, { policy: 'batch', maxBatchRows: 6, queueDelayMs: 30 });
    const run = (rows: number): Promise<unknown> => {
      const { bindings, inputs } = queryOf(PLANS[0]!, rows);
      return scheduler.run(target, bindings, inputs);
    };
    const full = [3, 3].map(run);
    await Promise.all(full);
    expect(device.waves.map((w) => w.wave.queries.length)).toEqual([2]);
    const began = performance.now();
    await run(2);
    expect(performance.now() - began).toBeGreaterThanOrEqual(29);
    expect(device.waves.map((w) => w.wave.queries.length)).toEqual([2, 1]);
  });

  it('refuses what waited past its deadline, and serves the rest', async () => {
    const device = new FakeDevice(1, () => 20);
    const target = device.target(PLANS[0]!, 4);
    const scheduler = new Scheduler(device.backend, { policy: 'query' });
    const run = (deadlineMs?: number): Promise<unknown> => {
      const { bindings, inputs } = queryOf(PLANS[0]!, 2);
      return scheduler.run(target, bindings, inputs, deadlineMs === undefined ? {} : { deadlineMs });
    };
    const first = run();
    await new Promise((resolve) => setImmediate(resolve));
    const [late, patient, none] = [run(0), run(60_000), run()];
    await expectRejection('DEADLINE_EXCEEDED', /model 'a': the query waited .* its deadline was 0.0 ms/, late);
    for (const answered of [first, patient, none]) expect(await answered).toEqual([Float32Array.of(2, 4, 6, 8)]);
    expect(device.waves.length).toBe(3);
  });

  it.each([false, true])('serves a deadline in danger before what came first, and alone: %s', async (joinsPlans) => {
    const device = new FakeDevice(1, () => 5);
    device.joinsPlans = joinsPlans;
    const targets = ['a', 'b', 'c'].map((name) => device.target(planOf(name, 'parallel'), 4));
    // By the cost model a wave takes a second.
    for (const { cost } of targets) cost.deviceUs = () => 1e6;
    const scheduler = new Scheduler(device.backend, { policy: 'recos' });
    const run = (model: number, deadlineMs = Number.POSITIVE_INFINITY): Promise<unknown> => {
      const { bindings, inputs } = queryOf(targets[model]!.plan, 4);
      return scheduler.run(targets[model]!, bindings, inputs, { deadlineMs });
    };
    const running = run(0);
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([running, run(0), run(2), run(1, 2000), run(0)]);
    expect(device.submissions.slice(0, 2)).toEqual([['a'], ['b']]);
    expect(device.submissions.slice(2).flat().toSorted()).toEqual(['a', 'a', 'c']);
  });

  it('refuses a query where too many wait already', async () => {
    const device = new FakeDevice(1, () => 3);
    const target = device.target(PLANS[0]!, 4);
    const scheduler = new Scheduler(device.backend, { maxQueue: 2, policy: 'query' });
    const run = (): Promise<unknown> => {
      const { bindings, inputs } = queryOf(PLANS[0]!, 1);
      return scheduler.run(target, bindings, inputs);
    };
    const runs = [run(), run()];
    await expectRejection('OVERLOADED', /2 queries wait for the device already; at most 2 may/, run());
    await Promise.all(runs);
    await run();
  });

  it('makes no more waves than the staging budget carries, and refuses where it carries none', async () => {
    const device = new FakeDevice(8, () => 2);
    device.stagingBudgetBytes = 3 * WAVE_BYTES + 100;
    const target = device.target(PLANS[0]!, 4);
    const scheduler = new Scheduler(device.backend, { policy: 'multistream' });
    const run = (on: Scheduler): Promise<unknown> => {
      const { bindings, inputs } = queryOf(PLANS[0]!, 4);
      return on.run(target, bindings, inputs);
    };
    await Promise.all(Array.from({ length: 20 }, () => run(scheduler)));
    expect([device.mostInFlight, device.waves.length]).toEqual([3, 20]);
    expect(scheduler.report().staging).toMatchObject({ leasedBytes: 0, peakBytes: 3 * WAVE_BYTES });
    device.stagingBudgetBytes = WAVE_BYTES - 1;
    const small = new Scheduler(device.backend);
    await expectRejection('OVERLOADED', /a wave takes 1024 bytes of staging memory; the budget is 768/, run(small));
    expect(small.report()).toMatchObject({ waiting: { queries: 0 } });
  });

  it('calibrates beside waves in flight, where there is room', async () => {
    const device = new FakeDevice(8, () => 2);
    device.stagingBudgetBytes = WAVE_BYTES + 100;
    const target = device.target(PLANS[0]!, 4);
    const scheduler = new Scheduler(device.backend);
    const { bindings, inputs } = queryOf(PLANS[0]!, 4);
    const calibrate = (): Promise<void> =>
      scheduler.calibrate(target, bindings, { rows: 4, firstRow: 0, inputs }, true);
    const running = scheduler.run(target, bindings, inputs);
    await Promise.resolve();
    await calibrate();
    await running;
    expect([device.mostInFlight, device.waves.length, target.cost.waves]).toEqual([1, 1, 1]);
    // The query comes while the calibration has all the room, and runs after it.
    await Promise.all([calibrate(), scheduler.run(target, bindings, inputs)]);
    expect([device.mostInFlight, device.waves.length, target.cost.waves]).toEqual([1, 3, 3]);
    expect(scheduler.report().staging.leasedBytes).toBe(0);
  });

  it('reports what it did', async () => {
    const device = new FakeDevice(1, () => 1);
    const target = device.target(PLANS[0]!, 4);
    const scheduler = new Scheduler(device.backend);
    const { bindings, inputs } = queryOf(PLANS[0]!, 10);
    await scheduler.run(target, bindings, inputs);
    await scheduler.drain();
    const report = scheduler.report();
    expect(report).toMatchObject({ policy: 'recos', waves: 3, queries: 3, rows: 10, dispatches: 3 });
    expect(report.waiting).toEqual({ queries: 0, rows: 0 });
    expect(report.lanes.every((l) => l.waves === 0 && l.outstandingUs === 0)).toBe(true);
    expect(report.busyMs).toBeLessThanOrEqual(report.elapsedMs);
    expect(report.busyMs).toBeGreaterThan(0);
  });

  it('traces waves, uploads, read-backs and queries', async () => {
    const spans: Span[] = [];
    const device = new FakeDevice(1, () => 1);
    const scheduler = new Scheduler(device.backend, {}, { span: (span) => spans.push(span) });
    const { bindings, inputs } = queryOf(PLANS[0]!, 3);
    await scheduler.run(device.target(PLANS[0]!, 4), bindings, inputs);
    expect(spans.map((s) => [s.track, s.name])).toEqual([
      ['upload', 'a x1'],
      ['lane 0', 'a x1'],
      ['read-back', 'a x1'],
      ['queries', 'a'],
    ]);
    for (const { start, end } of spans) expect(end).toBeGreaterThanOrEqual(start);
  });

  it('drains at once where nothing runs', async () => {
    await new Scheduler(new FakeDevice(1, () => 0).backend).drain();
  });
});
