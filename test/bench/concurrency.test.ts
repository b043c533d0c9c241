import { setTimeout } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { MIX, workload, type Query } from '../../bench/common/queries.js';
import type { ConcurrencyFigures } from '../../bench/common/records.js';
import type { Outcome, System } from '../../bench/common/systems.js';
import { measureWorkload, type ConcurrencySettings } from '../../bench/concurrency/measure.js';
import { zooNames } from '../../src/index.js';

/** A system without a device, which writes down what it is asked. */
class FakeSystem implements System {
  readonly name = 'fake';
  readonly device = { adapter: 'none', driver: '', origin: '' };
  readonly asked: Query[] = [];
  released = false;

  constructor(
    readonly variant: string,
    private readonly turns: string[],
    private readonly outcome: Outcome = 'answered',
  ) {}

  async load() {
    return {
      prepare: (query: Query) => ({ rows: query.rows, run: () => this.#run(query) }),
      release: async () => {
        this.released = true;
      },
    };
  }

  async #run(query: Query): Promise<Outcome> {
    if (this.turns.at(-1) !== this.variant) this.turns.push(this.variant);
    this.asked.push(query);
    await setTimeout(1);
    return this.outcome;
  }

  async counters() {
    const queries = this.asked.length;
    return { elapsedMs: 10, busyMs: 5, queries, dispatches: 3 * queries, hostUs: 7 * queries, scheduleUs: queries };
  }

  async close() {}
}

const settings: ConcurrencySettings = {
  clients: [2],
  rows: 1,
  scale: 'tiny',
  seconds: 0.02,
  warmup: 0.002,
  rounds: 2,
  baselines: ['a'],
};

it('lets systems take turns with the same queries, and compares them', async () => {
  const turns: string[] = [];
  const systems = [new FakeSystem('a', turns), new FakeSystem('b', turns)] as const;
  const seen: ConcurrencyFigures[] = [];
  const figures = await measureWorkload(systems, workload('wnd'), settings, (level) => seen.push(...level));
  expect(turns).toEqual(['a', 'b', 'a']);
  expect(seen).toEqual(figures);
  expect(figures.map(({ variant }) => variant)).toEqual(['a', 'b']);
  expect(figures[0]!.meanRatios).toEqual({ a: 1 });
  expect(figures[1]!.meanRatios['a']).toBeGreaterThan(0);
  expect(figures[0]!.rowsPerSecond).toBe(figures[0]!.queriesPerSecond);
  // The first draw of each client; how many follow is up to the clock.
  const [first, second] = systems.map(({ asked }) => asked.slice(0, 2).map(({ inputs }) => inputs));
  expect(first).toEqual(second);
  expect(systems.every(({ released }) => released)).toBe(true);
});

it('spreads the clients of a mix over the models in turn', async () => {
  const system = new FakeSystem('a', []);
  const [figures] = await measureWorkload([system], workload(MIX), { ...settings, clients: [4] }, () => {});
  expect(new Set(system.asked.map(({ model }) => model))).toEqual(new Set(zooNames));
  expect(Object.keys(figures!.meanMsByModel)).toEqual(zooNames);
  expect(Object.values(figures!.meanMsByModel).every((meanMs) => meanMs !== null)).toBe(true);
});

it('counts rejected queries apart', async () => {
  const system = new FakeSystem('a', [], 'rejected');
  const [figures] = await measureWorkload([system], workload('wnd'), settings, () => {});
  expect(figures!.rejected).toBeGreaterThan(0);
  expect(figures).toMatchObject({
    queries: 0,
    queriesPerSecond: 0,
    meanMs: null,
    p99Ms: null,
    meanRatios: { a: null },
  });
});
