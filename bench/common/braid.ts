import {
  BraidError,
  openEngine,
  type Engine,
  type LoadOptions,
  type Model,
  type PolicyName,
  type RunOptions,
} from '../../src/index.js';
import type { BraidChoices } from './options.js';
import { lentInputs, zooSource, type Query } from './queries.js';
import type { DeviceRecord } from './records.js';
import type { Counters, LoadedModels, Outcome, PreparedQuery, System } from './systems.js';

interface BraidOptions extends Omit<BraidChoices, 'policies'> {
  readonly policy: PolicyName;
  readonly deadlineMs?: number;
}

/** Braid under one policy, on an engine of its own. */
export class BraidSystem implements System {
  readonly name = 'braid';
  readonly variant: PolicyName;
  readonly device: DeviceRecord;
  readonly #engine: Engine;
  readonly #runOptions: RunOptions;
  readonly #inputs: BraidChoices['inputs'];
  readonly #settings: Pick<LoadOptions, 'precision' | 'products'>;

  private constructor(engine: Engine, options: BraidOptions) {
    const { policy, deadlineMs, tables, weights, products, inputs } = options;
    const { adapter, driver, origin } = engine.device;
    this.#engine = engine;
    this.#inputs = inputs;
    this.#runOptions = deadlineMs === undefined ? {} : { deadlineMs };
    const precision = { ...(tables ? { tables } : {}), ...(weights ? { weights } : {}) };
    this.#settings = { precision, ...(products ? { products } : {}) };
    this.variant = policy;
    this.device = { adapter, driver, origin };
  }

  static async open(options: BraidOptions): Promise<BraidSystem> {
    const { thread, adapter, backend, lanes, policy, maxBatchRows, queueDelayMs } = options;
    const schedule = {
      policy,
      ...(maxBatchRows === undefined ? {} : { maxBatchRows }),
      ...(queueDelayMs === undefined || policy !== 'batch' ? {} : { queueDelayMs }),
    };
    return new BraidSystem(
      await openEngine({ thread, adapter, backend, schedule, ...(lanes === undefined ? {} : { lanes }) }),
      options,
    );
  }

  async load(names: readonly string[], scale: string): Promise<LoadedModels> {
    const models = new Map<string, Model>();
    for (const name of names)
      models.set(
        name,
        await this.#engine.load({ kind: 'zoo', ...zooSource(name), scale }, { name, ...this.#settings }),
      );
    return {
      prepare: (query) => this.#prepare(models.get(query.model)!, query),
      release: async () => {
        for (const model of models.values()) await model.dispose();
      },
    };
  }

  #prepare(model: Model, query: Query): PreparedQuery {
    const { rows } = query;
    const inputs = this.#inputs === 'lent' ? lentInputs(query, (bytes) => this.#engine.lend(bytes)) : query.inputs;
    const answered = (): Outcome => 'answered';
    return { rows, run: () => model.run(inputs, this.#runOptions).then(answered, rejectedOrThrow) };
  }

  async counters(): Promise<Counters> {
    const report = await this.#engine.loadReport();
    const { elapsedMs, busyMs, queries, dispatches, hostUsPerQuery, scheduleUsPerQuery } = report;
    const [hostUs, scheduleUs] = [hostUsPerQuery * queries, scheduleUsPerQuery * queries];
    return { elapsedMs, busyMs, queries, dispatches, hostUs, scheduleUs };
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

/** Opens an engine a policy, one after another: a first engine that fails says why before others add to it. */
export async function openPolicies(
  choices: BraidChoices & { readonly deadlineMs?: number },
): Promise<readonly BraidSystem[]> {
  const systems: BraidSystem[] = [];
  for (const policy of choices.policies) systems.push(await BraidSystem.open({ ...choices, policy }));
  return systems;
}

function rejectedOrThrow(error: unknown): Outcome {
  if (error instanceof BraidError && (error.code === 'OVERLOADED' || error.code === 'DEADLINE_EXCEEDED')) {
    return 'rejected';
  }
  throw error;
}
