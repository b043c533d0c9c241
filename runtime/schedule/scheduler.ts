import type { Backend, Executable, QueryResult, WaveQuery } from '../backends/backend.js';
import { knownData, type Plan } from '../compile/plan.js';
import { rowFactor } from '../compile/rows.js';
import { BraidError, toBraidError } from '../errors.js';
import type { Bindings } from '../graph/dim.js';
import type { TensorData } from '../graph/dtype.js';

/** A plan on a device, as the scheduler sees it. */
export interface Target {
  readonly plan: Plan;
  readonly executable: Executable;
}

/** A query, or a chunk of one, that waits for a wave. */
interface Pending extends WaveQuery {
  readonly target: Target;
  readonly bindings: Bindings;
  /** Most rows of a wave of these sizes. Asked for when the query came, so that a refusal reaches its caller. */
  readonly rowsPerWave: number;
  /** Queries share a wave where this agrees. */
  readonly group: string;
  settle(result: QueryResult): void;
}

/**
 * Takes queries from any number of models and runs them in waves. There is no batch window: whenever the device has
 * room for a wave, everything that waits for the same model joins it, up to the rows it carries; what arrives meanwhile
 * makes the next one. Queries are served in order of arrival; each is answered exactly once.
 */
export class Scheduler {
  readonly #backend: Backend;
  readonly #queue: Pending[] = [];
  readonly #idle = new Set<() => void>();
  #inFlight = 0;
  #armed = false;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Queries, or chunks of them, that wait for a wave. */
  get waiting(): number {
    return this.#queue.length;
  }

  /**
   * Answers a query of `rows` rows, in chunks where it is larger than a wave.
   * @throws BraidError what the device or the query's data did wrong.
   */
  async run(target: Target, bindings: Bindings, inputs: readonly TensorData[]): Promise<readonly TensorData[]> {
    const { plan, executable } = target;
    const rows = plan.rows === undefined ? 0 : (bindings.get(plan.rows) ?? 0);
    const most = executable.rowsPerWave(bindings);
    const whole = { target, bindings, rows, firstRow: 0, inputs, rowsPerWave: most };
    if (rows <= most) return answer(await this.#enqueue(whole));
    if (!plan.concatenable) {
      throw new BraidError(
        'OVERLOADED',
        `${rows} rows pass the ${most} that a wave of model '${plan.name}' carries, and its inputs cannot be cut`,
      );
    }
    const chunks = Array.from({ length: Math.ceil(rows / most) }, (_, i) => {
      const first = i * most;
      const last = Math.min(rows, first + most);
      const part = inputs.map((data) => {
        const width = data.length / rows;
        return data.subarray(first * width, last * width);
      });
      return this.#enqueue({
        ...whole,
        bindings: new Map([...bindings, [plan.rows!, last - first]]),
        rows: last - first,
        firstRow: first,
        inputs: part,
      });
    });
    return joinChunks(plan, bindings, (await Promise.all(chunks)).map(answer));
  }

  /** Resolves when nothing waits and nothing runs. */
  async drain(): Promise<void> {
    if (this.#queue.length === 0 && this.#inFlight === 0) return;
    await new Promise<void>((resolve) => this.#idle.add(resolve));
  }

  #enqueue(query: Omit<Pending, 'group' | 'settle'>): Promise<QueryResult> {
    const group = query.target.plan.otherSymbols.map((s) => query.bindings.get(s)).join(' ');
    return new Promise((settle) => {
      this.#queue.push({ ...query, group, settle });
      this.#arm();
    });
  }

  /** Waves are made at the end of the current turn, so that queries started together share one. */
  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    queueMicrotask(() => {
      this.#armed = false;
      while (this.#inFlight < this.#backend.wavesInFlight && this.#queue.length > 0)
        void this.#launch(this.#takeWave());
    });
  }

  /** The first query that waits and those behind it that fit its wave. */
  #takeWave(): Pending[] {
    const first = this.#queue.shift()!;
    if (!first.target.plan.concatenable) return [first];
    const wave = [first];
    let { rows } = first;
    for (let i = 0; i < this.#queue.length;) {
      const next = this.#queue[i]!;
      if (next.target === first.target && next.group === first.group && rows + next.rows <= first.rowsPerWave) {
        rows += next.rows;
        wave.push(next);
        this.#queue.splice(i, 1);
      } else {
        i++;
      }
    }
    return wave;
  }

  async #launch(wave: readonly Pending[]): Promise<void> {
    this.#inFlight++;
    const { plan, executable } = wave[0]!.target;
    try {
      const bindings = new Map(wave[0]!.bindings);
      if (plan.rows !== undefined)
        bindings.set(
          plan.rows,
          wave.reduce((n, q) => n + q.rows, 0),
        );
      const results = await executable.submit({ bindings, queries: wave });
      wave.forEach((query, i) => query.settle(results[i]!));
    } catch (cause) {
      const error = toBraidError(cause);
      for (const query of wave) query.settle({ error });
    } finally {
      this.#inFlight--;
      if (this.#queue.length > 0) this.#arm();
      else if (this.#inFlight === 0) {
        for (const resolve of this.#idle) resolve();
        this.#idle.clear();
      }
    }
  }
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
