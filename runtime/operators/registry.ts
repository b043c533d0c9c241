import type { Node } from '../graph/graph.js';
import { ATTENTION_OPERATORS } from './attention/index.js';
import { BRAID_DOMAIN, type Composite } from './composite.js';
import { CONTROL_FLOW } from './control/index.js';
import { CONVOLUTIONS, WINDOW_OPERATORS } from './convolution/index.js';
import { EINSUM_OPERATORS } from './einsum/index.js';
import { ELEMENTWISE_OPERATORS } from './elementwise/index.js';
import { EMBEDDING_BAG_OPERATORS } from './embedding-bag/index.js';
import { GATHER_OPERATORS } from './gather/index.js';
import { SPREAD } from './gather/spread.js';
import { INDEXED_GATHER_OPERATORS } from './indexing/gather.js';
import { ONE_HOT } from './indexing/one-hot.js';
import { SCATTER_OPERATORS } from './indexing/scatter.js';
import { CONCAT } from './layout/concat.js';
import { EXPAND } from './layout/expand.js';
import { DIAGONAL } from './layout/diagonal.js';
import { PAD } from './layout/pad.js';
import { REARRANGING_COMPOSITES } from './layout/rearrange.js';
import { RESHAPE_OPERATORS } from './layout/reshape.js';
import { REVERSE_SEQUENCE } from './layout/reverse-sequence.js';
import { SLICE, SPLIT } from './layout/slice.js';
import { TILE } from './layout/tile.js';
import { TRANSPOSE } from './layout/transpose.js';
import { EYE_LIKE, TRILU } from './layout/triangle.js';
import { MATMUL_OPERATORS } from './matmul/index.js';
import { NORMALIZATION_OPERATORS } from './normalization/index.js';
import type { Operator } from './operator.js';
import { QUANTIZE_OPERATORS } from './quantize/index.js';
import { RECURRENT_OPERATORS } from './recurrent/index.js';
import { REDUCE_OPERATORS } from './reduce/index.js';
import { SCAN_OPERATORS } from './scan/index.js';
import { SEQUENCE_OPERATORS } from './sequence/index.js';
import { SHAPE_OPERATORS } from './shape/index.js';
import { SOFTMAX_OPERATORS } from './softmax/index.js';
import { TOP_K } from './sort/top-k.js';

/**
 * Every operator Braid has, by families: adding one is a line here and its folder. test/runtime/operators/FAMILY.test.ts
 * runs every operator of its family.
 */
export const FAMILIES = {
  elementwise: ELEMENTWISE_OPERATORS,
  layout: [...RESHAPE_OPERATORS, TRANSPOSE, EXPAND, SLICE, SPLIT, CONCAT],
  shape: SHAPE_OPERATORS,
  gather: [...GATHER_OPERATORS, SPREAD],
  indexing: [...INDEXED_GATHER_OPERATORS, ...SCATTER_OPERATORS, ONE_HOT, REVERSE_SEQUENCE, TOP_K],
  arrangement: [PAD, TILE, TRILU, EYE_LIKE, DIAGONAL, ...REARRANGING_COMPOSITES],
  'embedding-bag': EMBEDDING_BAG_OPERATORS,
  convolution: [...WINDOW_OPERATORS, ...CONVOLUTIONS],
  einsum: EINSUM_OPERATORS,
  control: CONTROL_FLOW,
  attention: ATTENTION_OPERATORS,
  matmul: MATMUL_OPERATORS,
  quantize: QUANTIZE_OPERATORS,
  recurrent: RECURRENT_OPERATORS,
  reduce: REDUCE_OPERATORS,
  scan: SCAN_OPERATORS,
  sequence: SEQUENCE_OPERATORS,
  softmax: SOFTMAX_OPERATORS,
  normalization: NORMALIZATION_OPERATORS,
} satisfies Record<string, readonly (Operator | Composite)[]>;

type Registered = Operator | Composite;

const ALL: readonly Registered[] = Object.values(FAMILIES).flat();

export const OPERATORS: readonly Operator[] = ALL.filter((o) => 'reference' in o);

/** Every operator that becomes others before it is compiled. */
export const COMPOSITES: readonly Composite[] = ALL.filter((o) => 'expand' in o);

const DOMAINS = new Set(['', BRAID_DOMAIN]);

const keyOf = (domain: string, type: string): string => `${domain}:${type}`;

function byKey<T extends Registered>(list: readonly T[]): ReadonlyMap<string, T> {
  return new Map(list.map((o) => [keyOf(o.domain ?? '', o.type), o]));
}

const BY_KEY = byKey(OPERATORS);
const COMPOSITES_BY_KEY = byKey(COMPOSITES);

function inVersion<T extends Registered>(registered: T | undefined, node: Node): T | undefined {
  if (!registered) return undefined;
  const [first, last] = registered.opsets;
  return node.opset >= first && node.opset <= last ? registered : undefined;
}

/** The operator that `node` calls, where Braid has it in the node's domain and version. */
export function findOperator(node: Node): Operator | undefined {
  return inVersion(BY_KEY.get(keyOf(node.domain, node.op)), node);
}

/** As findOperator, for operators that are defined by others. */
export function findComposite(node: Node): Composite | undefined {
  return inVersion(COMPOSITES_BY_KEY.get(keyOf(node.domain, node.op)), node);
}

/** Why `node` has no operator, for the list of what is missing. */
export function missingReason(node: Node): string {
  const key = keyOf(node.domain, node.op);
  const operator = BY_KEY.get(key) ?? COMPOSITES_BY_KEY.get(key);
  if (!operator) return DOMAINS.has(node.domain) ? 'no such operator in Braid' : `domain '${node.domain}' is unknown`;
  return `opset ${node.opset} is outside ${operator.opsets[0]} to ${operator.opsets[1]}`;
}
