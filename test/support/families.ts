import { ELEMENTWISE_OPERATORS } from '../../runtime/operators/elementwise/index.js';
import { GATHER_OPERATORS } from '../../runtime/operators/gather/index.js';
import { CONCAT } from '../../runtime/operators/layout/concat.js';
import { EXPAND } from '../../runtime/operators/layout/expand.js';
import { RESHAPE_OPERATORS } from '../../runtime/operators/layout/reshape.js';
import { SLICE, SPLIT } from '../../runtime/operators/layout/slice.js';
import { TRANSPOSE } from '../../runtime/operators/layout/transpose.js';
import { MATMUL_OPERATORS } from '../../runtime/operators/matmul/index.js';
import { NORMALIZATION_OPERATORS } from '../../runtime/operators/normalization/index.js';
import type { Operator } from '../../runtime/operators/operator.js';
import { QUANTIZE_OPERATORS } from '../../runtime/operators/quantize/index.js';
import { REDUCE_OPERATORS } from '../../runtime/operators/reduce/index.js';
import { SCAN_OPERATORS } from '../../runtime/operators/scan/index.js';
import { SHAPE_OPERATORS } from '../../runtime/operators/shape/index.js';
import { SOFTMAX_OPERATORS } from '../../runtime/operators/softmax/index.js';

/** The operators that test/runtime/operators/FAMILY.test.ts has to run, every one. */
export const FAMILIES = {
  elementwise: ELEMENTWISE_OPERATORS,
  layout: [...RESHAPE_OPERATORS, TRANSPOSE, EXPAND, SLICE, SPLIT, CONCAT],
  shape: SHAPE_OPERATORS,
  gather: GATHER_OPERATORS,
  matmul: MATMUL_OPERATORS,
  quantize: QUANTIZE_OPERATORS,
  reduce: REDUCE_OPERATORS,
  scan: SCAN_OPERATORS,
  softmax: SOFTMAX_OPERATORS,
  normalization: NORMALIZATION_OPERATORS,
} satisfies Record<string, readonly Operator[]>;
