import { toBraidError } from '../runtime/errors.js';
import { allocate } from '../runtime/graph/dtype.js';
import { sizeOf } from '../runtime/graph/tensor.js';
import type { Model, TensorInput } from './api.js';

/** Rows of the queries that placements are compared by: one query, and what many make together. */
const ROWS = [256, 4096];
/** A GPU that was idle runs slowly at first. */
const WARM_UP_MS = 100;
const REPEATS = 9;

/** A place where a model may run. */
export interface Place {
  /** Of the backend. */
  readonly name: string;
  /** @throws BraidError as Engine.load. */
  load(): Promise<Model>;
}

/** Inputs of zeros, which every table has a row for: all sizes that are free are `rows`. */
function zeros({ inputs }: Model, rows: number): Record<string, TensorInput> {
  return Object.fromEntries(
    inputs.map(({ name, dtype, shape }) => {
      const dims = shape.map((dim) => (typeof dim === 'number' ? dim : rows));
      return [name, { dims, data: allocate(dtype, sizeOf(dims)) }];
    }),
  );
}

/**
 * Milliseconds from host to host of a query of each of these sizes, medians; of one query where no size is free.
 * @throws BraidError what the model says of rows of zeros.
 */
export async function timeModel(model: Model, sizes: readonly number[] = ROWS): Promise<number[]> {
  const isFree = model.inputs.some(({ shape }) => shape.some((dim) => typeof dim === 'string'));
  const times: number[] = [];
  for (const rows of isFree ? sizes : [1]) {
    const inputs = zeros(model, rows);
    const run = async (): Promise<number> => {
      const begun = performance.now();
      await model.run(inputs);
      return performance.now() - begun;
    };
    const until = performance.now() + WARM_UP_MS;
    do await run();
    while (performance.now() < until);
    const taken: number[] = [];
    for (let i = 0; i < REPEATS; i++) taken.push(await run());
    times.push(taken.sort((a, b) => a - b)[Math.floor(REPEATS / 2)]!);
  }
  return times;
}

/** The model, with the reason of its place in its summary. */
function placed(model: Model, reason: string): Model {
  const { name, inputs, outputs, notices } = model;
  return {
    name,
    inputs,
    outputs,
    notices,
    run: (given, options) => model.run(given, options),
    summary: async () => {
      const summary = await model.summary();
      return { ...summary, placement: `${summary.placement}; ${reason}` };
    },
    dispose: () => model.dispose(),
  };
}

/**
 * Loads a model at each place in turn, times it there and keeps the fastest; its summary's placement says why. Where it cannot
 * be timed, such as with sizes that have to agree, it stays at the first place that takes it.
 * @throws BraidError of the first place, where none takes it.
 */
export async function loadFastest(
  places: readonly Place[],
  time: (model: Model) => Promise<number[]> = (model) => timeModel(model),
): Promise<Model> {
  const said: string[] = [];
  const failures: unknown[] = [];
  let best: { readonly model: Model; readonly name: string; readonly score: number } | undefined;
  for (const { name, load } of places) {
    let model: Model;
    try {
      model = await load();
    } catch (error) {
      failures.push(error);
      said.push(`${name} does not take it: ${toBraidError(error).message}`);
      continue;
    }
    let score = Number.POSITIVE_INFINITY;
    try {
      const times = await time(model);
      // Equal weight to all sizes, whatever they take.
      score = times.reduce((product, ms) => product * ms, 1);
      const rows = times.length > 1 ? ` for ${ROWS.join(' and ')} rows` : '';
      said.push(`${name} takes ${times.map((ms) => ms.toFixed(2)).join(' and ')} ms${rows}`);
    } catch (error) {
      said.push(`${name} cannot be timed: ${toBraidError(error).message}`);
    }
    if (best && best.score <= score) await model.dispose();
    else {
      await best?.model.dispose();
      best = { model, name, score };
    }
  }
  if (!best) throw failures[0];
  return placed(best.model, `${best.name} chosen: ${said.join(', ')}`);
}
