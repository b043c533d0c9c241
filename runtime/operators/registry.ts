import type { Node } from '../graph/graph.js';
import { ELEMENTWISE_OPERATORS } from './elementwise/index.js';
import { GATHER_OPERATORS } from './gather/index.js';
import { INDEXED_GATHER_OPERATORS } from './indexing/gather.js';
import { ONE_HOT } from './indexing/one-hot.js';
import { SCATTER_OPERATORS } from './indexing/scatter.js';
import { CONCAT } from './layout/concat.js';
import { EXPAND } from './layout/expand.js';
import { PAD } from './layout/pad.js';
import { RESHAPE_OPERATORS } from './layout/reshape.js';
import { REVERSE_SEQUENCE } from './layout/reverse-sequence.js';
import { SLICE, SPLIT } from './layout/slice.js';
import { TILE } from './layout/tile.js';
import { TRANSPOSE } from './layout/transpose.js';
import { EYE_LIKE, TRILU } from './layout/triangle.js';
import { MATMUL_OPERATORS } from './matmul/index.js';
import { NORMALIZATION_OPERATORS } from './normalization/index.js';
import type { Operator } from './operator.js';
import { REDUCE_OPERATORS } from './reduce/index.js';
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
  ...INDEXED_GATHER_OPERATORS,
  ...SCATTER_OPERATORS,
  ONE_HOT,
  PAD,
  TILE,
  TRILU,
  EYE_LIKE,
  REVERSE_SEQUENCE,
  TOP_K,
  ...MATMUL_OPERATORS,
  ...REDUCE_OPERATORS,
  ...SOFTMAX_OPERATORS,
  ...NORMALIZATION_OPERATORS,
];

const BY_TYPE = new Map(OPERATORS.map((o) => [o.type, o]));

/** The operator that `node` calls, where Braid has it in the node's domain and version. */
export function findOperator(node: Node): Operator | undefined {
  const operator = node.domain === '' ? BY_TYPE.get(node.op) : undefined;
  if (!operator) return undefined;
  const [first, last] = operator.opsets;
  return node.opset >= first && node.opset <= last ? operator : undefined;
}

/** Why `node` has no operator, for the list of what is missing. */
export function missingReason(node: Node): string {
  if (node.domain !== '') return `domain '${node.domain}' is unknown`;
  const operator = BY_TYPE.get(node.op);
  if (!operator) return 'no such operator in Braid';
  return `opset ${node.opset} is outside ${operator.opsets[0]} to ${operator.opsets[1]}`;
}
