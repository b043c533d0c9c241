import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import {
  declareParameters,
  declareStorage,
  stridedOffsets,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';

/**
 * What a group of elements is divided by: the root of its variance or of its mean square, each plus epsilon; its standard
 * deviation plus epsilon; the sum of its magnitudes; its length as a vector. The first and third subtract the mean before.
 */
export type Statistic = 'variance' | 'square' | 'deviation' | 'l1' | 'l2';

export type NormalizationOperand = 'scale' | 'bias';

/** What is written: the normalized elements, or of each group its mean or the factor that normalizes it. */
export type NormalizationResult = 'values' | 'mean' | 'inverse';

export interface NormalizationOptions {
  readonly statistic: Statistic;
  readonly operands: readonly NormalizationOperand[];
  readonly result: NormalizationResult;
  /** Dimensions of the groups, and those within a group, after merging. */
  readonly outerRank: number;
  readonly innerRank: number;
  readonly workgroupSize: number;
}

const INVERSE: Record<Statistic, string> = {
  variance: '1.0 / sqrt(sum / f32(length) + blocks[z].epsilon)',
  square: '1.0 / sqrt(sum / f32(length) + blocks[z].epsilon)',
  deviation: '1.0 / (sqrt(sum / f32(length)) + blocks[z].epsilon)',
  // A group of zeros stays one.
  l1: 'select(1.0 / sum, 0.0, sum == 0.0)',
  l2: 'select(1.0 / sqrt(sum), 0.0, sum == 0.0)',
};

/** Normalization of groups of elements over any axes, every operand strided; one invocation a group. */
export function normalization(options: NormalizationOptions): WebGpuProgram {
  const { statistic, operands, result, outerRank, innerRank, workgroupSize } = options;
  const has = (operand: NormalizationOperand): boolean => operands.includes(operand);
  const inputs = ['data', ...operands];
  const placed = [...inputs, 'out'];
  const outer = Math.max(outerRank, 2);
  const inner = Math.max(innerRank, 2);
  const fields: ParameterField[] = [
    { name: 'groups', type: 'u32', length: 1 },
    { name: 'length', type: 'u32', length: 1 },
    { name: 'zero', type: 'u32', length: 1 },
    { name: 'epsilon', type: 'f32', length: 1 },
    ...placed.map((o): ParameterField => ({ name: `${o}_start`, type: 'u32', length: 1 })),
    { name: 'shape', type: 'u32', length: outer },
    ...placed.map((o): ParameterField => ({ name: `${o}_strides`, type: 'u32', length: outer })),
    { name: 'inner_shape', type: 'u32', length: inner },
    ...placed.map((o): ParameterField => ({ name: `${o}_inner`, type: 'u32', length: inner })),
  ];
  const step = (names: readonly string[]): string =>
    stridedOffsets(
      'j',
      innerRank,
      'inner_shape',
      names.map((o) => ({ variable: `${o}_j`, strides: `${o}_inner`, start: 'zero' })),
    );
  const centred = statistic === 'variance' || statistic === 'deviation';
  const term = statistic === 'l1' ? 'sum += abs(d);' : 'sum = fma(d, d, sum);';
  const source = wgsl`
${declareParameters(fields)}
${inputs.map((o, i) => declareStorage(i + 1, o, 'f32', 'read')).join('\n')}
${declareStorage(inputs.length + 1, 'out', 'f32', 'read_write')}
@compute @workgroup_size(${workgroupSize})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = id.z;
  let count = blocks[z].groups;
  let length = blocks[z].length;
  for (var i = id.x; i < count; i += groups.x * ${workgroupSize}u) {
${stridedOffsets(
  'i',
  outerRank,
  'shape',
  placed.map((o) => ({ variable: `${o}_at`, strides: `${o}_strides`, start: `${o}_start` })),
)}
    var average = 0.0;
#if ${centred}
    for (var j = 0u; j < length; j++) {
${step(['data'])}
      average += data[data_at + data_j];
    }
    average = average / f32(length);
#endif
    var sum = 0.0;
    for (var j = 0u; j < length; j++) {
${step(['data'])}
      let d = data[data_at + data_j] - average;
      ${term}
    }
    let factor = ${INVERSE[statistic]};
#if ${result === 'mean'}
    out[out_at] = average;
#elif ${result === 'inverse'}
    out[out_at] = factor;
#else
    for (var j = 0u; j < length; j++) {
${step(placed)}
      var y = (data[data_at + data_j] - average) * factor;
#if ${has('scale')}
      y *= scale[scale_at + scale_j];
#endif
#if ${has('bias')}
      y += bias[bias_at + bias_j];
#endif
      out[out_at + out_j] = y;
    }
#endif
  }
}`;
  const written = result === 'values' ? [] : [result];
  const key = [
    'Normalization',
    statistic,
    ...operands,
    ...written,
    `o${outerRank}`,
    `i${innerRank}`,
    `w${workgroupSize}`,
  ].join('_');
  return { key, source, fields, reportsErrors: false };
}
