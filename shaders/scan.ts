import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { INT64 } from './int64.js';
import {
  declareParameters,
  declareStorage,
  elementWgsl,
  stridedOffsets,
  type ElementType,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';

export interface ScanOptions {
  readonly name: string;
  readonly element: ElementType;
  /** Expression for the value before the first element. */
  readonly initial: string;
  /** Expression over the running value `acc` and the element `x`. */
  readonly step: string;
  /** Each result leaves its own element out. */
  readonly exclusive: boolean;
  readonly rank: number;
  readonly workgroupSize: number;
}

/** Running results along one axis; one invocation a line. A line walked from its end has a negative step. */
export function scan(options: ScanOptions): WebGpuProgram {
  const { name, element, initial, step, exclusive, rank, workgroupSize } = options;
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
${declareStorage(1, 'data', element, 'read')}
${declareStorage(2, 'out', element, 'read_write')}
#if ${element === 'i64'}
${INT64}
#endif
@compute @workgroup_size(${workgroupSize})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = id.z;
  let lines = blocks[z].lines;
  let length = blocks[z].length;
  for (var i = id.x; i < lines; i += groups.x * ${workgroupSize}u) {
${stridedOffsets('i', rank, 'shape', [
  { variable: 'in_at', strides: 'in_strides', start: 'in_start' },
  { variable: 'out_at', strides: 'out_strides', start: 'out_start' },
])}
    var acc: ${elementWgsl(element)} = ${initial};
    for (var j = 0u; j < length; j++) {
      let x = data[in_at + j * blocks[z].in_step];
      let next = ${step};
      out[out_at + j * blocks[z].out_step] = ${exclusive ? 'acc' : 'next'};
      acc = next;
    }
  }
}`;
  const key = `${name}_${element}_r${rank}${exclusive ? '_exclusive' : ''}_w${workgroupSize}`;
  return { key, source, fields, reportsErrors: false };
}
