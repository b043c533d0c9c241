import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { INT64 } from './int64.js';
import {
  declareParameters,
  declareStorage,
  stridedOffsets,
  walkItems,
  type ElementType,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';

export interface LinesOptions {
  readonly key: string;
  readonly element: ElementType;
  /** Statements over a line: element j is data[in_at + j * in_step], result j goes to out[out_at + j * out_step]. */
  readonly body: string;
  /** Dimensions that count the lines, after merging. */
  readonly rank: number;
  readonly workgroupSize: number;
}

/** Parameters of kernels along one axis. */
export function lineFields(rank: number): ParameterField[] {
  const list = Math.max(rank, 2);
  const scalar = (name: string): ParameterField => ({ name, type: 'u32', length: 1 });
  return [
    ...['lines', 'length', 'in_start', 'in_step', 'out_start', 'out_step'].map(scalar),
    { name: 'shape', type: 'u32', length: list },
    { name: 'in_strides', type: 'u32', length: list },
    { name: 'out_strides', type: 'u32', length: list },
  ];
}

/** A kernel that makes a line of results of a line of elements along one axis; one invocation a line. */
export function linesProgram({ key, element, body, rank, workgroupSize }: LinesOptions): WebGpuProgram {
  const fields = lineFields(rank);
  const offsets = stridedOffsets('i', rank, 'shape', [
    { variable: 'in_at', strides: 'in_strides', start: 'in_start' },
    { variable: 'out_at', strides: 'out_strides', start: 'out_start' },
  ]);
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'data', element, 'read')}
${declareStorage(2, 'out', element, 'read_write')}
#if ${element === 'i64'}
${INT64}
#endif
${walkItems({
  count: 'lines',
  workgroupSize,
  before: `  let length = blocks[z].length;
  let in_step = blocks[z].in_step;
  let out_step = blocks[z].out_step;`,
  body: `${offsets}\n${body}`,
})}`;
  return { key: `${key}_r${rank}_w${workgroupSize}`, source, fields, reportsErrors: false };
}
