import { equal, mul, product, sub } from '../../graph/dim.js';
import { toFloat64 } from '../../graph/tensor.js';
import { BRAID_DOMAIN, type Scope } from '../composite.js';
import { equalLength } from './body.js';

/** What a loop over bags turned out to compute. */
export interface Bags {
  readonly mode: string;
  readonly table: string;
  /** Of any shape; taken in row-major order. */
  readonly indices: string;
  /** Where each bag starts, and where the last one ends. */
  readonly offsets: string;
  /** Of as many elements as there are indices. */
  readonly samples?: string | undefined;
  readonly padding?: number | undefined;
}

function isOnes(scope: Scope, name: string): boolean {
  const tensor = scope.tensor(name);
  if (tensor) return toFloat64(tensor).every((v) => v === 1);
  const node = scope.producer(name);
  const repeats =
    node !== undefined && ['Expand', 'Cast', 'CastLike', 'Identity', 'Reshape', 'Unsqueeze'].includes(node.op);
  return repeats && isOnes(scope, node.inputs[0]!);
}

/** The value that `name` is before it was cast. */
function uncast(scope: Scope, name: string): string {
  const node = scope.producer(name);
  return node && ['Cast', 'CastLike', 'Identity'].includes(node.op) ? uncast(scope, node.inputs[0]!) : name;
}

/** The lookup that made the rows that bags are taken from: of a table, each row weighed perhaps. */
export function lookupOf(scope: Scope, rows: string): Pick<Bags, 'table' | 'indices' | 'samples'> | undefined {
  const node = scope.producer(uncast(scope, rows));
  if (node?.op === 'Gather') {
    const [table, indices] = node.inputs as [string, string];
    const plain = (node.attributes['axis'] ?? 0) === 0 && scope.shape(table).length === 2;
    return plain && scope.shape(indices).length === 1 ? { table, indices } : undefined;
  }
  if (node?.op !== 'Mul') return undefined;
  for (const [looked, scale] of [node.inputs, node.inputs.toReversed()] as [string, string][]) {
    const lookup = lookupOf(scope, looked);
    if (!lookup || lookup.samples !== undefined) continue;
    if (isOnes(scope, scale)) return lookup;
    const { shape } = scope.type(scale);
    const column = shape.length === 2 && shape[1] === 1 && equal(shape[0]!, scope.shape(lookup.indices)[0]!);
    return column ? { ...lookup, samples: scale } : undefined;
  }
  return undefined;
}

/** Adds what computes the bags to `scope`; returns the value, [bags, features]. */
export function addBags(scope: Scope, bags: Bags): string {
  const { mode, table, indices, offsets, samples, padding } = bags;
  const total = product(scope.shape(indices));
  const count = sub(scope.shape(offsets)[0]!, 1);
  const length = equalLength(scope, offsets);
  const attributes = { mode, ...(padding === undefined ? {} : { padding_idx: padding }) };
  const bag = (inputs: string[], more = {}): string =>
    scope.add('EmbeddingBag', inputs, { ...attributes, ...more }, { domain: BRAID_DOMAIN });
  const even = length !== undefined && equal(total, mul(count, length));
  // A bag of one is its row; queries of equal bags share waves, which those of offsets cannot.
  if (even && length === 1 && !samples && padding === undefined)
    return scope.add('Gather', [table, scope.reshape(indices, [total])], { axis: 0 });
  if (!even) {
    // Weights of one dimension go as they are: EmbeddingBag says what is wrong with their number.
    const column = samples !== undefined && scope.shape(samples).length > 1;
    const weights = column ? scope.reshape(samples, [total]) : (samples ?? '');
    return bag([table, scope.reshape(indices, [total]), offsets, weights], { include_last_offset: 1 });
  }
  const shape = [count, length];
  return bag([table, scope.reshape(indices, shape), '', samples === undefined ? '' : scope.reshape(samples, shape)]);
}
