import type { Node } from '../graph/graph.js';
import { ATTENTION_OPERATORS } from './attention/index.js';
import { BRAID_DOMAIN, type Composite } from './composite.js';
import { CONTROL_FLOW } from './control/index.js';
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
import { REDUCE_OPERATORS } from './reduce/index.js';
import { SCAN_OPERATORS } from './scan/index.js';
import { SHAPE_OPERATORS } from './shape/index.js';
import { SOFTMAX_OPERATORS } from './softmax/index.js';
import { TOP_K } from './sort/top-k.js';

/** Every operator Braid has. Adding one is a line here and its folder. */
export const OPERATORS: readonly Operator[] = [
  ...ELEMENTWISE_OPERATORS,
  ...RESHAPE_OPERATORS,
  TRANSPOSE,
  EXPAND,
  SLICE,
  SPLIT,
  CONCAT,
  ...SHAPE_OPERATORS,
  ...GATHER_OPERATORS,
  SPREAD,
  ...EMBEDDING_BAG_OPERATORS,
  ...INDEXED_GATHER_OPERATORS,
  ...SCATTER_OPERATORS,
  ONE_HOT,
  PAD,
  TILE,
  TRILU,
  DIAGONAL,
  EYE_LIKE,
  REVERSE_SEQUENCE,
  TOP_K,
  ...MATMUL_OPERATORS,
  ...REDUCE_OPERATORS,
  ...SCAN_OPERATORS,
  ...QUANTIZE_OPERATORS,
  ...SOFTMAX_OPERATORS,
  ...NORMALIZATION_OPERATORS,
];

/** Every operator that becomes others before it is compiled. */
export const COMPOSITES: readonly Composite[] = [
  ...EINSUM_OPERATORS,
  ...REARRANGING_COMPOSITES,
  ...CONTROL_FLOW,
  ...ATTENTION_OPERATORS,
];

const DOMAINS = new Set(['', BRAID_DOMAIN]);

type Registered = Pick<Operator, 'type' | 'domain' | 'opsets'>;

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
