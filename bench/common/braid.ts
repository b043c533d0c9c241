import { BraidError, ERROR_CATALOGUE, type Model } from '../../src/index.js';
import type { BraidChoices } from './options.js';
import type { Query } from './queries.js';
import type { DeviceRecord } from './records.js';
import { openScheduled, type PolicyName, type ScheduledEngine, type ScheduledRunOptions } from './scheduling.js';
import type { LoadedModels, Outcome, PreparedQuery, System, SystemReport } from './systems.js';

interface BraidOptions extends Omit<BraidChoices, 'policies'> {
  readonly policy: PolicyName;
  readonly deadlineMs?: number;
}

/** Braid under one policy, on an engine of its own. */
export class BraidSystem implements System {
  readonly name = 'braid';
  readonly variant: PolicyName;
  readonly device: DeviceRecord;
  readonly #engine: ScheduledEngine;
  readonly #runOptions: ScheduledRunOptions;

  private constructor(engine: ScheduledEngine, { policy, deadlineMs }: BraidOptions) {
    const { adapter, driver, origin } = engine.device;
    this.#engine = engine;
    this.#runOptions = deadlineMs === undefined ? {} : { deadlineMs };
    this.variant = policy;
    this.device = { adapter, driver, origin };
  }

  static async open(options: BraidOptions): Promise<BraidSystem> {
    const { thread, adapter, policy, maxBatchRows, queueDelayMs } = options;
    const schedule = {
      policy,
      ...(maxBatchRows === undefined ? {} : { maxBatchRows }),
      ...(queueDelayMs === undefined ? {} : { queueDelayMs }),
    };
    const engine = await openScheduled({ thread, adapter, schedule });
    const report = await engine.loadReport?.();
    if (report?.policy !== policy) {
      const found = report ? `'${report.policy}'` : 'no policy at all';
      console.warn(
        `warning: asked for policy '${policy}', the engine reports ${found}: its figures say nothing about it`,
      );
    }
    return new BraidSystem(engine, options);
  }

  async load(names: readonly string[], scale: string): Promise<LoadedModels> {
    const models = new Map<string, Model>();
    for (const model of names) models.set(model, await this.#engine.load({ kind: 'zoo', model, scale }));
    return {
      prepare: (query) => this.#prepare(models.get(query.model)!, query),
      release: async () => {
        for (const model of models.values()) await model.dispose();
      },
    };
  }

  #prepare(model: Model, { rows, inputs }: Query): PreparedQuery {
    const answered = (): Outcome => 'answered';
    return { rows, run: () => model.run(inputs, this.#runOptions).then(answered, rejectedOrThrow) };
  }

  async report(): Promise<SystemReport | undefined> {
    return this.#engine.loadReport?.();
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

/** What an overloaded server answers with: HTTP's too many requests, unavailable and timed out. */
const LOAD_STATUSES: ReadonlySet<number> = new Set([429, 503, 504]);

/** Errors with such a status that a wait would not cure. */
const LASTING: ReadonlySet<string> = new Set(['CLOSED', 'DEVICE_LOST', 'DEVICE_UNAVAILABLE']);

function rejectedOrThrow(error: unknown): Outcome {
  const load =
    error instanceof BraidError && LOAD_STATUSES.has(ERROR_CATALOGUE[error.code].status) && !LASTING.has(error.code);
  if (load) return 'rejected';
  throw error;
}
