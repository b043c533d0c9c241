import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import {
  declareParameters,
  declareStorage,
  stridedOffsets,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';

/** The exponentials over their sum, their logarithms, or 1 at the first largest element and 0 elsewhere. */
export type SoftmaxKind = 'Softmax' | 'LogSoftmax' | 'Hardmax';

export interface SoftmaxOptions {
  readonly kind: SoftmaxKind;
  readonly rank: number;
  readonly workgroupSize: number;
}

/** Softmax and its kin along one axis; one invocation a line, three passes: maximum, sum of exponentials, result. */
export function softmax(options: SoftmaxOptions): WebGpuProgram {
  const { kind, rank, workgroupSize } = options;
  const list = Math.max(rank, 2);
  const fields: ParameterField[] = [
    { name: 'lines', type: 'u32', length: 1 },
    { name: 'length', type: 'u32', length: 1 },
    { name: 'in_start', type: 'u32', length: 1 },
    { name: 'in_step', type: 'u32', length: 1 },
    { name: 'out_start', type: 'u32', length: 1 },
    { name: 'out_step', type: 'u32', length: 1 },
    { name: 'shape', type: 'u32', length: list },
    { name: 'in_strides', type: 'u32', length: list },
    { name: 'out_strides', type: 'u32', length: list },
  ];
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'data', 'f32', 'read')}
${declareStorage(2, 'out', 'f32', 'read_write')}
@compute @workgroup_size(${workgroupSize})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = id.z;
  let lines = blocks[z].lines;
  let length = blocks[z].length;
  let in_step = blocks[z].in_step;
  let out_step = blocks[z].out_step;
  for (var i = id.x; i < lines; i += groups.x * ${workgroupSize}u) {
${stridedOffsets('i', rank, 'shape', [
  { variable: 'in_at', strides: 'in_strides', start: 'in_start' },
  { variable: 'out_at', strides: 'out_strides', start: 'out_start' },
])}
#if ${kind === 'Hardmax'}
    var best = 0u;
    for (var j = 1u; j < length; j++) {
      if (data[in_at + j * in_step] > data[in_at + best * in_step]) { best = j; }
    }
    for (var j = 0u; j < length; j++) { out[out_at + j * out_step] = select(0.0, 1.0, j == best); }
#else
    var largest = data[in_at];
    for (var j = 1u; j < length; j++) { largest = max(largest, data[in_at + j * in_step]); }
    var sum = 0.0;
    for (var j = 0u; j < length; j++) { sum += exp(data[in_at + j * in_step] - largest); }
#if ${kind === 'LogSoftmax'}
    // The largest is taken off first: beside large inputs the logarithm would be rounded away.
    let shift = log(sum);
    for (var j = 0u; j < length; j++) { out[out_at + j * out_step] = data[in_at + j * in_step] - largest - shift; }
#else
    let scale = 1.0 / sum;
    for (var j = 0u; j < length; j++) { out[out_at + j * out_step] = exp(data[in_at + j * in_step] - largest) * scale; }
#endif
#endif
  }
}`;
  return {
    key: `${kind}_f32_r${rank}_w${workgroupSize}`,
    source,
    fields,
    reportsErrors: false,
  };
}
