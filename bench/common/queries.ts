import { zooInputs, zooNames, type Tensor } from '../../src/index.js';
import { Random } from '../../src/zoo/random.js';
import { poolSizes, type QuerySizes } from './sizes.js';

/** One query's inputs, in arrays of the caller. */
export interface Query {
  readonly model: string;
  readonly rows: number;
  readonly inputs: Readonly<Record<string, Tensor>>;
}

/** What clients ask for: one model of the zoo, or a mix of several that are loaded at once. */
export interface Workload {
  readonly name: string;
  readonly models: readonly string[];
}

export const MIX = 'mix';

export function workload(name: string): Workload {
  return { name, models: name === MIX ? zooNames : [name] };
}

/** Distinct queries of one size: enough that 30 clients do not all read the same rows of a table. */
const POOL_QUERIES = 32;

/** Seeded queries of a model. One drawn evenly has the distribution of `sizes`. */
export function queryPool(model: string, scale: string, sizes: QuerySizes): readonly Query[] {
  return poolSizes(sizes, POOL_QUERIES).map((rows, i) => ({
    model,
    rows,
    inputs: zooInputs(model, scale, rows, i + 1),
  }));
}

/** Draws from a pool, the same sequence for a stream's name every time. */
export function drawer<T>(pool: readonly T[], stream: string): () => T {
  const random = new Random(1, stream);
  return () => pool[random.below(pool.length)]!;
}
