import { bytesOf } from '../../runtime/graph/dtype.js';
import { zooInputs, zooNames, type Engine, type Tensor } from '../../src/index.js';
import { alignTensor } from '../../src/lending.js';
import { zooSharedInputs } from '../../src/zoo/index.js';
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

const SHARED = '+shared';

/** Models whose user-side inputs can be given once a query, by the name they have then. */
export const sharedNames: readonly string[] = zooNames
  .filter((model) => zooSharedInputs(model, 'tiny').length > 0)
  .map((model) => `${model}${SHARED}`);

/** The zoo's model behind a name, and whether its user-side inputs are given once a query. */
export function zooSource(name: string): { readonly model: string; readonly shared: boolean } {
  const shared = name.endsWith(SHARED);
  return { model: shared ? name.slice(0, -SHARED.length) : name, shared };
}

/** Distinct queries of one size: enough that 30 clients do not all read the same rows of a table. */
const POOL_QUERIES = 32;

/** Seeded queries of a model. One drawn evenly has the distribution of `sizes`. */
export function queryPool(name: string, scale: string, sizes: QuerySizes): readonly Query[] {
  const { model, shared } = zooSource(name);
  return poolSizes(sizes, POOL_QUERIES).map((rows, i) => ({
    model: name,
    rows,
    inputs: zooInputs(model, scale, rows, i + 1, { shared }),
  }));
}

/** A query's inputs, written into memory that an engine lends. */
export function lentInputs({ inputs }: Query, lend: Engine['lend']): Query['inputs'] {
  const tensors = Object.entries(inputs);
  const memory = lend(tensors.reduce((n, [, { data }]) => n + alignTensor(data.byteLength), 0)).bytes;
  let at = memory.byteOffset;
  return Object.fromEntries(
    tensors.map(([name, tensor]) => {
      const { data } = tensor;
      const Elements = data.constructor as new (buffer: ArrayBufferLike, at: number, length: number) => typeof data;
      const lent = new Elements(memory.buffer, at, data.length);
      bytesOf(lent).set(bytesOf(data));
      at += alignTensor(data.byteLength);
      return [name, { ...tensor, data: lent }];
    }),
  );
}

/** Draws from a pool, the same sequence for a stream's name every time. */
export function drawer<T>(pool: readonly T[], stream: string): () => T {
  const random = new Random(1, stream);
  return () => pool[random.below(pool.length)]!;
}
