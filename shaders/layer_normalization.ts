import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { each, exchange, walkLines, type LineCut } from './line_groups.js';
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
  /** Lanes that share a line, or the size of a workgroup whose invocations have a line each. */
  readonly cut: LineCut | { readonly workgroupSize: number };
}

function fieldsOf(rank: number): ParameterField[] {
  const list = Math.max(rank, 2);
  return [
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
}

/** LayerNormalization over trailing axes. Mean first, then the variance about it. */
export function layerNormalization({ hasBias, rank, cut }: LayerNormalizationOptions): WebGpuProgram {
  const fields = fieldsOf(rank);
  const shared = 'lanes' in cut;
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'data', 'f32', 'read')}
${declareStorage(2, 'scale', 'f32', 'read')}
#if ${hasBias}
${declareStorage(3, 'bias', 'f32', 'read')}
#endif
${declareStorage(hasBias ? 4 : 3, 'out', 'f32', 'read_write')}
${shared ? lineGroups(cut, rank, hasBias) : lineEach(cut.workgroupSize, rank, hasBias)}`;
  return {
    key: `LayerNormalization_f32_r${rank}${hasBias ? '_bias' : ''}_${shared ? `l${cut.lanes}x${cut.perLane}` : `w${cut.workgroupSize}`}`,
    source,
    fields,
    reportsErrors: false,
  };
}

/** Several lanes a line, which they read once and keep. */
function lineGroups(cut: LineCut, rank: number, hasBias: boolean): string {
  const sum = (x: string, y: string): string => `${x} + ${y}`;
  return walkLines({
    cut,
    rank,
    operands: ['in'],
    load: 'data[in_at + j]',
    neutral: '0.0',
    statements: `    var part = 0.0;
${each(cut, (v) => `part += ${v};`)}
${exchange(cut, { name: 'sum', memory: 'first', partial: 'part', combine: sum })}
    let mean = sum / f32(length);
    var part_squares = 0.0;
${each(cut, (v, inside) => `${v} = select(0.0, ${v} - mean, ${inside}); part_squares = fma(${v}, ${v}, part_squares);`)}
${exchange(cut, { name: 'squares', memory: 'second', partial: 'part_squares', combine: sum })}
    let inverse = 1.0 / sqrt(squares / f32(length) + blocks[z].epsilon);`,
    result: (v) =>
      `${v} * inverse * scale[blocks[z].scale_start + j]${hasBias ? ' + bias[blocks[z].bias_start + j]' : ''}`,
  });
}

/** One invocation a line. */
function lineEach(workgroupSize: number, rank: number, hasBias: boolean): string {
  return walkItems({
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
  });
}
