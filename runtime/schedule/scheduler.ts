import type { Backend, PartOutcome, QueryResult, Timing, WaveOutcome, WaveQuery } from '../backends/backend.js';
import { knownData, waveBindings, type Plan } from '../compile/plan.js';
import { rowFactor } from '../compile/rows.js';
import { BraidError, toBraidError } from '../errors.js';
import type { Bindings } from '../graph/dim.js';
import type { TensorData } from '../graph/dtype.js';
import { TensorManager, type Lease } from '../memory/tensors.js';
import type { LoadReport, ModelCost } from './report.js';
import { chooseLane } from './lanes.js';
import { LoadMonitor } from './monitor.js';
import { makePolicy } from './policies.js';
import type { Policy, ScheduleOptions } from './policy.js';
import { Pool } from './pool.js';
import type { CostModel } from './cost.js';
import type { Pending, Target } from './query.js';
import type { TraceSink } from './trace.js';

/** Waves of a model that carry timestamps for the cost model: the first, and then one in so many. */
const TIMED_FIRST = 64;
const TIMED_EVERY = 8;
const MOST_WAITING = 16_384;

export interface QueryOptions {
  /** How long the answer is of use, in milliseconds from now. */
  readonly deadlineMs?: number;
}

/**
 * Takes queries from any number of models into one pool and runs them in waves; a policy decides what the next wave is.
 * Each query is answered exactly once.
 */
export class Scheduler {
  readonly #backend: Backend;
  readonly #policy: Policy;
  readonly #maxQueue: number;
  readonly #trace: TraceSink | undefined;
  /** Models that are loaded. */
  readonly targets = new Set<Target>();
  readonly #staging: TensorManager;
  readonly #pool = new Pool();
  readonly #load: LoadMonitor;
  readonly #idle = new Set<() => void>();
  /** When the first event came that the next round of waves answers to; undefined where none is due. */
  #armedAt: number | undefined;
  #timer: { readonly at: number; readonly handle: ReturnType<typeof setTimeout> } | undefined;
  #lastDoneAt = 0;
  /** Waves of calibrate() that hold staging memory. */
  #calibrating = 0;
  #scheduleUs = 0;

  constructor(backend: Backend, options: ScheduleOptions = {}, trace?: TraceSink) {
    this.#backend = backend;
    this.#policy = makePolicy(options);
    this.#maxQueue = options.maxQueue ?? MOST_WAITING;
    this.#trace = trace;
    this.#staging = new TensorManager(backend.memory.stagingBudgetBytes);
    this.#load = new LoadMonitor(backend.wavesInFlight, backend.concurrentWaves, performance.now());
  }

  /** Queries, or chunks of them, that wait for a wave. */
  get waiting(): number {
    return this.#pool.queries;
  }

  report(): LoadReport {
    const now = performance.now();
    const { waves, queries, rows, dispatches, hostUs } = this.#load;
    const { busyMs, elapsedMs } = this.#load.totals(now);
    const each = (us: number): number => (queries === 0 ? 0 : us / queries);
    return {
      policy: this.#policy.name,
      waiting: { queries: this.#pool.queries, rows: this.#pool.rows },
      lanes: this.#load.lanes(now),
      busyShare: this.#load.busyShare(now),
      busyMs,
      elapsedMs,
      waves,
      queries,
      rows,
      dispatches,
      scheduleUsPerQuery: each(this.#scheduleUs),
      hostUsPerQuery: each(this.#scheduleUs + hostUs),
      memory: this.#backend.memory,
      staging: this.#staging.memory,
      models: [...this.targets].map(costOf),
    };
  }

  /**
   * Answers a query of `rows` rows, in chunks where it is larger than a wave.
   * @throws BraidError what the device or the query's data did wrong; OVERLOADED, DEADLINE_EXCEEDED.
   */
  run(
    target: Target,
    bindings: Bindings,
    inputs: readonly TensorData[],
    options: QueryOptions = {},
  ): Promise<readonly TensorData[]> {
    return new Promise((resolve, reject) => {
      this.begin(target, bindings, inputs, options, (result) => {
        if ('error' in result) reject(result.error);
        else resolve(result.outputs);
      });
    });
  }

  /** As run(), answering by a call of `settle`: promises are a good part of what a query costs the host. @throws BraidError OVERLOADED. */
  begin(
    target: Target,
    bindings: Bindings,
    inputs: readonly TensorData[],
    { deadlineMs = Number.POSITIVE_INFINITY }: QueryOptions,
    settle: (result: QueryResult) => void,
  ): void {
    const arrivedAt = performance.now();
    const { plan, executable } = target;
    const rows = plan.rows === undefined ? 0 : (bindings.get(plan.rows) ?? 0);
    const rowsPerWave = executable.rowsPerWave(bindings);
    const deadlineAt = arrivedAt + deadlineMs;
    const whole = { target, bindings, rows, firstRow: 0, inputs, rowsPerWave, arrivedAt, deadlineAt, settle };
    if (rows <= rowsPerWave) {
      this.#admit(1);
      this.#enqueue(whole);
      return;
    }
    if (!plan.concatenable) {
      throw new BraidError(
        'OVERLOADED',
        `${rows} rows pass the ${rowsPerWave} that a wave of model '${plan.name}' carries, and its inputs cannot be cut`,
      );
    }
    this.#admit(Math.ceil(rows / rowsPerWave));
    void this.#inChunks(whole).then(settle, (error: unknown) => settle({ error: toBraidError(error) }));
  }

  async #inChunks(whole: Pending): Promise<QueryResult> {
    const { target, bindings, rows, inputs, rowsPerWave: most } = whole;
    const { plan } = target;
    const chunks = Array.from({ length: Math.ceil(rows / most) }, (_, i) => {
      const first = i * most;
      const last = Math.min(rows, first + most);
      const part = inputs.map((data, input) => {
        if (plan.inputs[input]!.shared) return data;
        const width = data.length / rows;
        return data.subarray(first * width, last * width);
      });
      return new Promise<QueryResult>((settle) =>
        this.#enqueue({
          ...whole,
          bindings: new Map([...bindings, [plan.rows!, last - first]]),
          rows: last - first,
          firstRow: first,
          inputs: part,
          settle,
        }),
      );
    });
    return { outputs: joinChunks(plan, bindings, (await Promise.all(chunks)).map(answer)) };
  }

  #admit(queries: number): void {
    if (this.#pool.queries + queries <= this.#maxQueue) return;
    throw new BraidError(
      'OVERLOADED',
      `${this.#pool.queries} queries wait for the device already; at most ${this.#maxQueue} may`,
    );
  }

  /** Resolves when nothing waits and nothing runs. */
  async drain(): Promise<void> {
    if (this.#pool.queries === 0 && this.#load.inFlight === 0) return;
    await new Promise<void>((resolve) => this.#idle.add(resolve));
  }

  #enqueue(query: Pending): void {
    this.#pool.add(query);
    this.#arm();
  }

  /** Waves are made at the end of the current turn, so that queries started together share one. */
  #arm(): void {
    if (this.#armedAt !== undefined) return;
    const armedAt = performance.now();
    this.#armedAt = armedAt;
    queueMicrotask(() => {
      this.#armedAt = undefined;
      this.#makeWaves(armedAt);
    });
  }

  #makeWaves(armedAt: number): void {
    const began = performance.now();
    let since: number | undefined = armedAt;
    this.#expire(began);
    const { joinsPlans } = this.#backend;
    const { software } = this.#backend.caps;
    while (this.#pool.queries > 0 && this.#load.inFlight < this.#backend.wavesInFlight && this.#roomForWave()) {
      const situation = { now: performance.now(), pool: this.#pool, load: this.#load, software, joinsPlans };
      const decision = this.#policy.next(situation);
      if (!decision) break;
      if ('waitUntil' in decision) {
        this.#wakeAt(decision.waitUntil);
        break;
      }
      const waves = decision.map(({ group, maxRows, maxQueries }) => this.#pool.take(group, maxRows, maxQueries));
      void this.#launch(waves.map(launchOf), since);
      since = undefined;
    }
    this.#scheduleUs += 1000 * (performance.now() - began);
    this.#rest();
  }

  /** Whether the staging budget carries one more wave; where nothing runs whose end would help, a wave is made to be refused. */
  #roomForWave(): boolean {
    const alone = this.#load.inFlight === 0 && this.#calibrating === 0;
    return alone || this.#staging.hasRoom(this.#backend.waveBytes);
  }

  #expire(now: number): void {
    for (const query of this.#pool.takeExpired(now)) {
      const waited = (now - query.arrivedAt).toFixed(1);
      const allowed = (query.deadlineAt - query.arrivedAt).toFixed(1);
      query.settle({
        error: new BraidError(
          'DEADLINE_EXCEEDED',
          `model '${query.target.plan.name}': the query waited ${waited} ms for the device; its deadline was ${allowed} ms`,
        ),
      });
    }
  }

  #wakeAt(at: number): void {
    if (this.#timer && this.#timer.at <= at) return;
    clearTimeout(this.#timer?.handle);
    const handle = setTimeout(
      () => {
        this.#timer = undefined;
        this.#arm();
      },
      Math.max(0, at - performance.now()),
    );
    this.#timer = { at, handle };
  }

  #rest(): void {
    if (this.#pool.queries > 0 || this.#load.inFlight > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle.clear();
  }

  #timing(cost: CostModel): Timing {
    if (this.#trace) return 'dispatches';
    return cost.waves < TIMED_FIRST || cost.waves % TIMED_EVERY === 0 ? 'wave' : 'none';
  }

  /** @param since when the host began to work for these waves, where it worked for no others in between. */
  async #launch(launches: readonly Launch[], since: number | undefined): Promise<void> {
    const now = performance.now();
    const { bound } = launches[0]!.target.cost;
    const expected = launches.map((l) => l.target.cost.deviceUs(l.bindings, l.rows));
    const expectedUs = expected.reduce((sum, us) => sum + us, 0);
    const rows = new Map(launches.map((l) => [l.target, l.rows]));
    const lane = chooseLane(this.#load.lanes(now), bound, expectedUs);
    const flight = this.#load.begin({ lane, bound, expectedUs, rows }, now);
    let outcomes: readonly PartOutcome[];
    let lease: Lease | undefined;
    try {
      lease = this.#leaseStaging(lane);
      const parts = launches.map(({ target: { executable, cost }, bindings, queries }, l) => {
        return { executable, wave: { bindings, queries }, timing: this.#timing(cost), expectedUs: expected[l]! };
      });
      outcomes = await this.#backend.submit(parts, (at) => this.#load.submitted(flight, at));
    } catch (cause) {
      const error = toBraidError(cause);
      outcomes = launches.map(() => ({ error }));
    }
    // The host has seen the waves end: nothing is pending.
    if (lease) this.#staging.release(lease, []);
    const done = outcomes.find((o) => 'results' in o);
    this.#load.end(flight, done?.doneAt ?? performance.now());
    this.#learn(launches, lane, outcomes, since);
    launches.forEach(({ queries }, l) => {
      const outcome = outcomes[l]!;
      queries.forEach((query, i) => query.settle('error' in outcome ? outcome : outcome.results[i]!));
    });
    // Answers are delivered before the next wave is made, so that callers who ask again at once are in it.
    this.#arm();
  }

  /**
   * Runs a wave of one query beside those of the pool, and shows it to the cost model where `observed`. Does nothing where waves
   * in flight leave no room for it.
   * @throws BraidError what the device did wrong.
   */
  async calibrate(
    { executable, cost }: Target,
    bindings: Bindings,
    query: WaveQuery,
    observed: boolean,
  ): Promise<void> {
    const lease = this.#staging.lease(this.#backend.waveBytes, 0);
    if (!lease) return;
    this.#calibrating++;
    try {
      const outcome = await executable.submit({ bindings, queries: [query] }, 'wave');
      const [result] = outcome.results;
      // What is made up may be bad data to a model; that is for its queries to find out.
      if (result && 'error' in result && result.error.code !== 'INDEX_OUT_OF_RANGE') throw result.error;
      // What the host took says little: its code is not warm yet, and no query came.
      if (observed) cost.observe(bindings, query.rows, { deviceUs: outcome.deviceUs ?? 0, hostUs: 0 });
    } finally {
      this.#calibrating--;
      this.#staging.release(lease, []);
      this.#arm();
    }
  }

  #leaseStaging(lane: number): Lease {
    const bytes = this.#backend.waveBytes;
    const lease = this.#staging.lease(bytes, lane);
    if (lease) return lease;
    throw new BraidError(
      'OVERLOADED',
      `a wave takes ${bytes} bytes of staging memory; the budget is ${this.#staging.memory.budgetBytes} bytes`,
    );
  }

  /** Corrects the cost model and the totals by what a submission took. */
  #learn(launches: readonly Launch[], lane: number, outcomes: readonly PartOutcome[], since: number | undefined): void {
    const done = launches.flatMap((launch, i) => {
      const outcome = outcomes[i]!;
      return 'error' in outcome ? [] : [{ launch, outcome }];
    });
    if (done.length === 0) return;
    const { begunAt, submittedAt, doneAt } = done[0]!.outcome;
    const startedAt = Math.max(submittedAt, this.#lastDoneAt);
    this.#lastDoneAt = doneAt;
    const readbackUs = done.reduce((sum, { outcome }) => sum + outcome.readbackUs, 0);
    this.#load.hostUs += 1000 * (submittedAt - begunAt) + readbackUs;
    // What the host and a clock of the host say is about all waves of the submission: of one alone it tells the cost.
    const single = launches.length === 1;
    // All that the host does for a wave, from its queries' arrival to their answers, and not only staging.
    const turnUs = since === undefined || !single ? 0 : 1000 * (submittedAt - since) + readbackUs;
    const hasClock = this.#backend.caps.features.has('timestamp-query');
    // Without the device's own clock, the time since it could have begun; a busy host may see the end late.
    const guessUs = hasClock || !single ? 0 : 1000 * (doneAt - startedAt);
    for (const { launch, outcome } of done) {
      const { target, bindings, rows, queries } = launch;
      target.cost.observe(bindings, rows, { deviceUs: outcome.deviceUs ?? guessUs, hostUs: turnUs });
      this.#load.waves++;
      this.#load.queries += queries.length;
      this.#load.rows += rows;
      this.#load.dispatches += outcome.dispatchCount;
      if (this.#trace) this.#record(this.#trace, queries, rows, lane, startedAt, outcome);
    }
  }

  #record(
    trace: TraceSink,
    wave: readonly Pending[],
    rows: number,
    lane: number,
    startedAt: number,
    outcome: WaveOutcome,
  ): void {
    const { plan } = wave[0]!.target;
    const { begunAt, submittedAt, doneAt, dispatches = [] } = outcome;
    const args = { model: plan.name, queries: wave.length, rows };
    const name = `${plan.name} x${wave.length}`;
    trace.span({
      track: 'upload',
      name,
      start: begunAt,
      end: submittedAt,
      args: { ...args, bytes: outcome.uploadBytes },
    });
    trace.span({ track: `lane ${lane}`, name, start: startedAt, end: doneAt, args });
    const readEnd = doneAt + outcome.readbackUs / 1000;
    trace.span({
      track: 'read-back',
      name,
      start: doneAt,
      end: readEnd,
      args: { ...args, bytes: outcome.readbackBytes },
    });
    // The device's clock has no common zero with the host's: dispatches are laid end to end up to the wave's end.
    const total = dispatches.reduce((sum, d) => sum + d.durationUs, 0) / 1000;
    let at = Math.max(startedAt, doneAt - total);
    for (const { program, durationUs, steps, detail, bound, bytes, operations } of dispatches) {
      const end = at + durationUs / 1000;
      trace.span({
        track: `lane ${lane} operators`,
        name: program,
        start: at,
        end,
        args: { steps, detail, bound, bytes, operations },
      });
      at = end;
    }
    for (const query of wave)
      trace.span({
        track: 'queries',
        name: plan.name,
        start: query.arrivedAt,
        end: readEnd,
        args: { rows: query.rows },
      });
  }
}

/** Numbers of rows that costs are reported at. */
const REPORTED_ROWS = [1, 256, 4096];

function costOf({ plan, cost }: Target): ModelCost {
  const bindings = new Map(plan.otherSymbols.map((s) => [s, 1]));
  const waves = REPORTED_ROWS.map((rows) => ({
    rows,
    deviceUs: cost.deviceUs(bindings, rows),
    hostUs: cost.hostUs(rows),
  }));
  return { model: plan.name, bound: cost.bound, waves };
}

/** A wave that the scheduler has decided on. */
interface Launch {
  readonly target: Target;
  readonly bindings: Bindings;
  readonly rows: number;
  readonly queries: readonly Pending[];
}

function launchOf(queries: readonly Pending[]): Launch {
  const { target, bindings } = queries[0]!;
  const rows = queries.reduce((n, q) => n + q.rows, 0);
  return { target, bindings: waveBindings(target.plan, bindings, rows, queries.length), rows, queries };
}

function answer(result: QueryResult): readonly TensorData[] {
  if ('error' in result) throw result.error;
  return result.outputs;
}

/** Concatenates the chunks of each output that carries rows; the others are those of the whole query. */
function joinChunks(plan: Plan, bindings: Bindings, chunks: readonly (readonly TensorData[])[]): TensorData[] {
  return chunks[0]!.map((first, i) => {
    const source = plan.program.outputs[i]!;
    if (source.kind === 'known') return knownData(source, bindings);
    if (rowFactor(plan.outputs[i]!.shape, plan.rows!) === 0) return first;
    const parts = chunks.map((c) => c[i]!);
    const make = first.constructor as new (length: number) => TensorData;
    const whole = new make(parts.reduce((n, p) => n + p.length, 0));
    let at = 0;
    for (const part of parts) {
      (whole as Float32Array).set(part as Float32Array, at);
      at += part.length;
    }
    return whole;
  });
}
