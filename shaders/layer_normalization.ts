import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import {
  declareParameters,
  declareStorage,
  stridedOffsets,
  walkItems,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';

export interface LayerNormalizationOptions {
  readonly hasBias: boolean;
  readonly rank: number;
  readonly workgroupSize: number;
}

/** LayerNormalization over trailing axes; one invocation a line. Mean first, then the variance about it. */
export function layerNormalization(options: LayerNormalizationOptions): WebGpuProgram {
  const { hasBias, rank, workgroupSize } = options;
  const list = Math.max(rank, 2);
  const fields: ParameterField[] = [
    { name: 'lines', type: 'u32', length: 1 },
    { name: 'length', type: 'u32', length: 1 },
    { name: 'in_start', type: 'u32', length: 1 },
    { name: 'out_start', type: 'u32', length: 1 },
    { name: 'scale_start', type: 'u32', length: 1 },
    { name: 'bias_start', type: 'u32', length: 1 },
    { name: 'epsilon', type: 'f32', length: 1 },
    { name: 'shape', type: 'u32', length: list },
    { name: 'in_strides', type: 'u32', length: list },
    { name: 'out_strides', type: 'u32', length: list },
  ];
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'data', 'f32', 'read')}
${declareStorage(2, 'scale', 'f32', 'read')}
#if ${hasBias}
${declareStorage(3, 'bias', 'f32', 'read')}
#endif
${declareStorage(hasBias ? 4 : 3, 'out', 'f32', 'read_write')}
${walkItems({
  count: 'lines',
  workgroupSize,
  before: '  let length = blocks[z].length;',
  body: `${stridedOffsets('i', rank, 'shape', [
    { variable: 'in_at', strides: 'in_strides', start: 'in_start' },
    { variable: 'out_at', strides: 'out_strides', start: 'out_start' },
  ])}
    var sum = 0.0;
    for (var j = 0u; j < length; j++) { sum += data[in_at + j]; }
    let mean = sum / f32(length);
    var squares = 0.0;
    for (var j = 0u; j < length; j++) {
      let d = data[in_at + j] - mean;
      squares = fma(d, d, squares);
    }
    let inverse = 1.0 / sqrt(squares / f32(length) + blocks[z].epsilon);
    for (var j = 0u; j < length; j++) {
      let y = (data[in_at + j] - mean) * inverse * scale[blocks[z].scale_start + j];
      out[out_at + j] = y${hasBias ? ' + bias[blocks[z].bias_start + j]' : ''};
    }`,
})}`;
  return {
    key: `LayerNormalization_f32_r${rank}${hasBias ? '_bias' : ''}_w${workgroupSize}`,
    source,
    fields,
    reportsErrors: false,
  };
}
