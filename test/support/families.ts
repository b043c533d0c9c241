import { ATTENTION_OPERATORS } from '../../runtime/operators/attention/index.js';
import type { Composite } from '../../runtime/operators/composite.js';
import { CONTROL_FLOW } from '../../runtime/operators/control/index.js';
import { EINSUM_OPERATORS } from '../../runtime/operators/einsum/index.js';
import { ELEMENTWISE_OPERATORS } from '../../runtime/operators/elementwise/index.js';
import { EMBEDDING_BAG_OPERATORS } from '../../runtime/operators/embedding-bag/index.js';
import { GATHER_OPERATORS } from '../../runtime/operators/gather/index.js';
import { SPREAD } from '../../runtime/operators/gather/spread.js';
import { INDEXED_GATHER_OPERATORS } from '../../runtime/operators/indexing/gather.js';
import { ONE_HOT } from '../../runtime/operators/indexing/one-hot.js';
import { SCATTER_OPERATORS } from '../../runtime/operators/indexing/scatter.js';
import { CONCAT } from '../../runtime/operators/layout/concat.js';
import { EXPAND } from '../../runtime/operators/layout/expand.js';
import { DIAGONAL } from '../../runtime/operators/layout/diagonal.js';
import { PAD } from '../../runtime/operators/layout/pad.js';
import { REARRANGING_COMPOSITES } from '../../runtime/operators/layout/rearrange.js';
import { RESHAPE_OPERATORS } from '../../runtime/operators/layout/reshape.js';
import { REVERSE_SEQUENCE } from '../../runtime/operators/layout/reverse-sequence.js';
import { SLICE, SPLIT } from '../../runtime/operators/layout/slice.js';
import { TILE } from '../../runtime/operators/layout/tile.js';
import { TRANSPOSE } from '../../runtime/operators/layout/transpose.js';
import { EYE_LIKE, TRILU } from '../../runtime/operators/layout/triangle.js';
import { MATMUL_OPERATORS } from '../../runtime/operators/matmul/index.js';
import { NORMALIZATION_OPERATORS } from '../../runtime/operators/normalization/index.js';
import type { Operator } from '../../runtime/operators/operator.js';
import { QUANTIZE_OPERATORS } from '../../runtime/operators/quantize/index.js';
import { REDUCE_OPERATORS } from '../../runtime/operators/reduce/index.js';
import { SCAN_OPERATORS } from '../../runtime/operators/scan/index.js';
import { SHAPE_OPERATORS } from '../../runtime/operators/shape/index.js';
import { SOFTMAX_OPERATORS } from '../../runtime/operators/softmax/index.js';
import { TOP_K } from '../../runtime/operators/sort/top-k.js';

/** The operators that test/runtime/operators/FAMILY.test.ts has to run, every one. */
export const FAMILIES = {
  elementwise: ELEMENTWISE_OPERATORS,
  layout: [...RESHAPE_OPERATORS, TRANSPOSE, EXPAND, SLICE, SPLIT, CONCAT],
  shape: SHAPE_OPERATORS,
  gather: [...GATHER_OPERATORS, SPREAD],
  indexing: [...INDEXED_GATHER_OPERATORS, ...SCATTER_OPERATORS, ONE_HOT, REVERSE_SEQUENCE, TOP_K],
  arrangement: [PAD, TILE, TRILU, EYE_LIKE, DIAGONAL, ...REARRANGING_COMPOSITES],
  'embedding-bag': EMBEDDING_BAG_OPERATORS,
  einsum: EINSUM_OPERATORS,
  control: CONTROL_FLOW,
  attention: ATTENTION_OPERATORS,
  matmul: MATMUL_OPERATORS,
  quantize: QUANTIZE_OPERATORS,
  reduce: REDUCE_OPERATORS,
  scan: SCAN_OPERATORS,
  softmax: SOFTMAX_OPERATORS,
  normalization: NORMALIZATION_OPERATORS,
} satisfies Record<string, readonly (Operator | Composite)[]>;
