import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { INT64 } from './int64.js';
import { declareMade, enableMade, madeOf, type MadeType } from './packed.js';
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

export interface ElementwiseOptions {
  /** Names the variant, with the types it works on. */
  readonly name: string;
  readonly inputs: readonly ElementType[];
  readonly output: MadeType;
  /** An expression over the inputs `a`, `b`, `c`, .. and the scalars `p.NAME`. */
  readonly expression: string;
  /** Helper functions the expression calls. */
  readonly helpers: string;
  /** Scalar parameters of the expression. */
  readonly scalars: readonly string[];
  /** Dimensions left after merging those that all operands walk contiguously. */
  readonly rank: number;
  readonly workgroupSize: number;
}

const LETTERS = 'abcdefgh';

/** Any function of corresponding elements, inputs broadcast by strides of 0, the output strided too. */
export function elementwise(options: ElementwiseOptions): WebGpuProgram {
  const { name, inputs, output, expression, helpers, scalars, rank, workgroupSize } = options;
  const operands = [...inputs.map((_, i) => LETTERS[i]!), 'out'];
  const list = Math.max(rank, 2);
  const fields: ParameterField[] = [
    { name: 'count', type: 'u32', length: 1 },
    ...operands.map((o): ParameterField => ({ name: `${o}_start`, type: 'u32', length: 1 })),
    ...scalars.map((s): ParameterField => ({ name: s, type: 'f32', length: 1 })),
    { name: 'shape', type: 'u32', length: list },
    ...operands.map((o): ParameterField => ({ name: `${o}_strides`, type: 'u32', length: list })),
  ];
  const offsets = stridedOffsets(
    'i',
    rank,
    'shape',
    operands.map((o) => ({ variable: `${o}_at`, strides: `${o}_strides`, start: `${o}_start` })),
  );
  const declared = inputs.map((type, i) => declareStorage(i + 1, `${LETTERS[i]}_data`, type, 'read'));
  const loads = inputs.map((_, i) => `    let ${LETTERS[i]} = ${LETTERS[i]}_data[${LETTERS[i]}_at];`);
  const usesInt64 = output === 'i64' || inputs.includes('i64');
  const value = output === 'f16' ? 'f32' : output;
  const source = wgsl`
${enableMade(output, false)}
${declareParameters(fields)}
${declared.join('\n')}
${declareMade(inputs.length + 1, 'out_data', output, false)}
#if ${usesInt64}
${INT64}
#endif
${helpers}
${walkItems({
  count: 'count',
  workgroupSize,
  body: `${offsets}
${loads.join('\n')}
    let value: ${elementWgsl(value)} = ${expression.replaceAll(/\bp\./g, 'blocks[z].')};
    out_data[out_at] = ${madeOf('value', output, false)};`,
})}`;
  const types = [...inputs, output].join('_');
  return { key: `${name}_${types}_r${rank}_w${workgroupSize}`, source, fields, reportsErrors: false };
}
