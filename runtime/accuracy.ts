import type { PrecisionSummary } from './api.js';
import type { Executable, QueryResult } from './backends/backend.js';
import { concreteShape, type Plan } from './compile/plan.js';
import type { BraidError } from './errors.js';
import { evaluate, type Bindings } from './graph/dim.js';
import { allocate, isFloat, readNumber, writeNumber, type TensorData } from './graph/dtype.js';
import { sizeOf } from './graph/tensor.js';

/** How far an output is from what it should be. */
export interface OutputDifference {
  readonly name: string;
  readonly maxAbsolute: number;
  /** Over elements that should not be 0. */
  readonly maxRelative: number;
}

/** What weights and products in fewer bits cost: outputs beside those of float32, for random inputs. */
export interface Accuracy {
  readonly rows: number;
  readonly outputs: readonly OutputDifference[];
}

/** A query, and what a plan answers. */
export interface Sample {
  readonly rows: number;
  readonly bindings: Bindings;
  readonly inputs: readonly TensorData[];
  readonly outputs: readonly TensorData[];
}

/** Sizes of dimensions other than the rows, where a model leaves them open. */
const OPEN_SIZE = 16;
/** Where ids cannot go up to the size of the table: this many, then one. */
const FEW_IDS = 64;
const SEED = 1;

/** Numbers in [0, 1), the same every time (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a query of `rows` rows binds the plan's symbols to. */
function sampleBindings(plan: Plan, rows: number): Map<string, number> {
  const bindings = new Map(plan.otherSymbols.map((s) => [s, OPEN_SIZE]));
  if (plan.rows !== undefined) bindings.set(plan.rows, rows);
  if (plan.queries !== undefined) bindings.set(plan.queries, 1);
  return bindings;
}

/**
 * Inputs of a query: ids spread evenly over the smallest table that they are looked up in, but below `mostIds`; other
 * integers 0 or 1; floats even over [0, 1).
 */
function sampleInputs(plan: Plan, bindings: Bindings, mostIds: number): TensorData[] {
  const next = randomNumbers(SEED);
  return plan.inputs.map(({ name, dtype, shape }) => {
    const sizes = plan.program.lookups.filter((l) => l.inputs.includes(name)).map((l) => evaluate(l.size, bindings));
    const isId = sizes.length > 0;
    const most = isId ? Math.min(mostIds, ...sizes) : 2;
    const data = allocate(dtype, sizeOf(concreteShape(shape, bindings)));
    for (let i = 0; i < data.length; i++)
      writeNumber(dtype, data, i, isFloat(dtype) && !isId ? next() : Math.floor(next() * most));
    return data;
  });
}

async function answer(
  executable: Executable,
  { rows, bindings, inputs }: Omit<Sample, 'outputs'>,
): Promise<QueryResult> {
  const { results } = await executable.submit({ bindings, queries: [{ rows, firstRow: 0, inputs }] });
  return results[0]!;
}

/**
 * Runs a query of up to `most` random rows. Ids that reach past a table, because the model reckons with them before it looks
 * them up, are drawn again from fewer.
 * @throws BraidError INDEX_OUT_OF_RANGE where the model takes none of them; OVERLOADED, DEVICE_LOST.
 */
export async function takeSample(plan: Plan, executable: Executable, most: number): Promise<Sample> {
  const open = sampleBindings(plan, 1);
  const rows = Math.min(most, executable.rowsPerWave(open));
  const bindings = sampleBindings(plan, rows);
  let failure: BraidError | undefined;
  for (const mostIds of [Number.POSITIVE_INFINITY, FEW_IDS, 1]) {
    const inputs = sampleInputs(plan, bindings, mostIds);
    const query = { rows: plan.rows === undefined ? 0 : rows, bindings, inputs };
    const result = await answer(executable, query);
    if (!('error' in result)) return { ...query, outputs: result.outputs };
    failure = result.error;
    if (failure.code !== 'INDEX_OUT_OF_RANGE') break;
  }
  throw failure!;
}

/** How far the answers of `plan` are from those of `sample`. */
export async function measureAccuracy(sample: Sample, plan: Plan, executable: Executable): Promise<Accuracy> {
  const result = await answer(executable, sample);
  if ('error' in result) throw result.error;
  return { rows: sample.rows, outputs: compareOutputs(plan, sample.outputs, result.outputs) };
}

/** The largest differences of each output of `plan`. NaN differs from nothing but numbers, an infinity from all but itself. */
export function compareOutputs(
  plan: Plan,
  expected: readonly TensorData[],
  found: readonly TensorData[],
): OutputDifference[] {
  return plan.outputs.map(({ name, dtype }, o) => {
    let maxAbsolute = 0;
    let maxRelative = 0;
    for (let i = 0; i < expected[o]!.length; i++) {
      const [e, f] = [readNumber(dtype, expected[o]!, i), readNumber(dtype, found[o]!, i)];
      if (Object.is(e, f) || e === f) continue;
      const difference = Number.isFinite(e - f) ? Math.abs(e - f) : Number.POSITIVE_INFINITY;
      maxAbsolute = Math.max(maxAbsolute, difference);
      if (e !== 0) maxRelative = Math.max(maxRelative, difference / Math.abs(e) || Number.POSITIVE_INFINITY);
    }
    return { name, maxAbsolute, maxRelative };
  });
}

/** What a model says of its precision. `unknown`: why its accuracy was not measured. */
export function precisionSummary(
  { precision, products }: Plan,
  accuracy: Accuracy | undefined,
  unknown: string | undefined,
): PrecisionSummary {
  const { float16, int8, storedBytes, savedBytes } = precision;
  const measured = accuracy ?? (unknown === undefined ? undefined : { notMeasured: unknown });
  return { float16, int8, storedBytes, savedBytes, products, ...(measured ? { accuracy: measured } : {}) };
}

function figure(value: number): string {
  return Number.isFinite(value) ? value.toExponential(1) : 'infinity';
}

/** What the reduced precision costs, as lines for people; none where it costs nothing. */
export function precisionNotices({ accuracy, float16, int8, products }: PrecisionSummary): string[] {
  if (!accuracy) return [];
  const stored = [...(float16 > 0 ? [`${float16} as float16`] : []), ...(int8 > 0 ? [`${int8} as int8`] : [])];
  const intro = [
    ...(stored.length > 0 ? [`weights stored in fewer bits: ${stored.join(', ')}`] : []),
    ...(products === 'float32' ? [] : [`products of ${products}`]),
  ].join('; ');
  if ('notMeasured' in accuracy) return [`${intro}; what it costs in accuracy is not known: ${accuracy.notMeasured}`];
  const { rows, outputs } = accuracy;
  return outputs.map(
    ({ name, maxAbsolute, maxRelative }) =>
      `${intro}; '${name}' differs from that of float32 by at most ${figure(maxAbsolute)} (relative ${figure(maxRelative)}) on ${rows} random rows`,
  );
}
