import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { INT64 } from './int64.js';
import {
  declareParameters,
  declareStorage,
  elementWgsl,
  stridedOffsets,
  walkItems,
  type ElementType,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';

export interface ReduceOptions {
  readonly name: string;
  readonly input: ElementType;
  readonly output: ElementType;
  /** Statements that declare what is carried from element to element. `zero` is 0u, but not at compile time. */
  readonly state: string;
  /** Statements that take in the element `x`, the `j`th of those reduced over. */
  readonly update: string;
  /** Expression over the state and the number of elements `count`. */
  readonly finish: string;
  /** Functions that these call. */
  readonly helpers: string;
  /** Dimensions kept, and dimensions reduced over, after merging. */
  readonly outerRank: number;
  readonly innerRank: number;
  readonly workgroupSize: number;
}

/** A reduction over any axes; one invocation an output element. Reads each input element once, coalescing as strides allow. */
export function reduce(options: ReduceOptions): WebGpuProgram {
  const { name, input, output, state, update, finish, helpers, outerRank, innerRank, workgroupSize } = options;
  const outer = Math.max(outerRank, 2);
  const inner = Math.max(innerRank, 2);
  const fields: ParameterField[] = [
    { name: 'outer_count', type: 'u32', length: 1 },
    { name: 'inner_count', type: 'u32', length: 1 },
    { name: 'in_start', type: 'u32', length: 1 },
    { name: 'out_start', type: 'u32', length: 1 },
    { name: 'zero', type: 'u32', length: 1 },
    { name: 'shape', type: 'u32', length: outer },
    { name: 'in_strides', type: 'u32', length: outer },
    { name: 'out_strides', type: 'u32', length: outer },
    { name: 'inner_shape', type: 'u32', length: inner },
    { name: 'inner_strides', type: 'u32', length: inner },
  ];
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'data', input, 'read')}
${declareStorage(2, 'out', output, 'read_write')}
#if ${input === 'i64'}
${INT64}
#endif
${helpers}
${walkItems({
  count: 'outer_count',
  workgroupSize,
  before: `  let inner_count = blocks[z].inner_count;
  let zero = blocks[z].zero;`,
  body: `${stridedOffsets('i', outerRank, 'shape', [
    { variable: 'in_at', strides: 'in_strides', start: 'in_start' },
    { variable: 'out_at', strides: 'out_strides', start: 'out_start' },
  ])}
    ${state}
    for (var j = 0u; j < inner_count; j++) {
${stridedOffsets('j', innerRank, 'inner_shape', [{ variable: 'inner_at', strides: 'inner_strides', start: 'zero' }])}
      let x = data[in_at + inner_at];
      ${update}
    }
    let count = inner_count;
    let result: ${elementWgsl(output)} = ${finish};
    out[out_at] = result;`,
})}`;
  const types = input === output ? input : `${input}_${output}`;
  return {
    key: `${name}_${types}_o${outerRank}_i${innerRank}_w${workgroupSize}`,
    source,
    fields,
    reportsErrors: false,
  };
}
