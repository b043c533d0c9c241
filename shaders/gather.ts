import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { ERROR_BUFFER } from './errors.js';
import {
  declareMade,
  declareRead,
  declareReadFours,
  enableMade,
  enterRow,
  madeOf,
  readElement,
  readFour,
  readType,
  type FourType,
  type StoredType,
} from './packed.js';
import {
  declareParameters,
  declareStorage,
  stridedOffsets,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';

export interface GatherOptions {
  /** Of `i8`, whole rows are copied: runs behind one index. */
  readonly data: StoredType;
  /** Runs of whole multiples of 4 that begin on one, in both memories, are copied in vectors. */
  readonly vectors: boolean;
  readonly indices: 'i32' | 'i64';
  /** Dimensions of the output in front of the runs that are copied whole, after merging. */
  readonly rank: number;
  readonly workgroupSize: number;
  /** Something is added to what is copied. */
  readonly adds?: boolean;
  /** What is made of f32 is stored as halves. */
  readonly halves?: boolean;
}

/**
 * Gather and embedding lookup: out[..., i.., ...] = data[..., indices[i..], ...].
 *
 * Indices are checked here, where they are read: a negative one counts from the end as ONNX has it; one outside the
 * axis (or with a high word that is not its sign) writes an error record and zeros. `lanes` invocations share an index and
 * copy its run of `run` elements, neighbours neighbouring elements. A table may be spread over several
 * buffers: each dispatch then owns rows [first, first + held) and leaves the others alone; the part with first = 0
 * reports the errors.
 */
export function gather(options: GatherOptions): WebGpuProgram {
  const { data, vectors, indices, rank, workgroupSize, adds = false, halves = false } = options;
  const list = Math.max(rank, 2);
  const fields: ParameterField[] = [
    { name: 'count', type: 'u32', length: 1 },
    { name: 'axis_size', type: 'u32', length: 1 },
    { name: 'axis_stride', type: 'u32', length: 1 },
    { name: 'first', type: 'u32', length: 1 },
    { name: 'held', type: 'u32', length: 1 },
    { name: 'run', type: 'u32', length: 1 },
    { name: 'lanes', type: 'u32', length: 1 },
    { name: 'run_data_stride', type: 'u32', length: 1 },
    { name: 'run_out_stride', type: 'u32', length: 1 },
    // Runs that a row of the batch has: tells the error's row.
    { name: 'row_runs', type: 'u32', length: 1 },
    { name: 'code', type: 'u32', length: 1 },
    { name: 'data_start', type: 'u32', length: 1 },
    { name: 'ids_start', type: 'u32', length: 1 },
    { name: 'out_start', type: 'u32', length: 1 },
    { name: 'shape', type: 'u32', length: list },
    { name: 'data_strides', type: 'u32', length: list },
    { name: 'ids_strides', type: 'u32', length: list },
    { name: 'out_strides', type: 'u32', length: list },
    ...(adds ? addendFields(list) : []),
  ];
  const offsets = stridedOffsets('i', rank, 'shape', [
    { variable: 'data_at', strides: 'data_strides', start: 'data_start' },
    { variable: 'ids_at', strides: 'ids_strides', start: 'ids_start' },
    { variable: 'out_at', strides: 'out_strides', start: 'out_start' },
    ...(adds ? [{ variable: 'addend_at', strides: 'addend_strides', start: 'addend_start' }] : []),
  ]);
  const element = readType(data);
  const zero = vectors ? 'vec4<f32>()' : element === 'i64' ? 'vec2<u32>()' : `${element}()`;
  const step = vectors ? 4 : 1;
  const place = vectors ? '(out_at + e) / 4u' : 'out_at + e * out_stride';
  const read = vectors
    ? readFour('data', data as FourType, 'from_at', 'e')
    : readElement('data', data, 'from_at', 'e * data_stride');
  const added = vectors ? 'addend[(addend_at + e) / 4u]' : 'addend[addend_at + e * blocks[z].run_addend_stride]';
  const made = halves ? 'f16' : element;
  const value = madeOf(adds ? `${read} + ${added}` : read, made, vectors);
  const run = `for (var e = lane * ${step}u; e < run; e += lanes * ${step}u)`;
  const source = wgsl`
${enableMade(made, vectors)}
${declareParameters(fields)}
${vectors ? declareReadFours(1, 'data', data as FourType) : declareRead(1, 'data', data)}
${declareStorage(2, 'ids', indices, 'read')}
#if ${adds}
${declareStorage(3, 'addend', element, 'read', vectors)}
#endif
${declareMade(adds ? 4 : 3, 'out', made, vectors)}
${ERROR_BUFFER(adds ? 5 : 4)}
@compute @workgroup_size(${workgroupSize})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = id.z;
  let lanes = blocks[z].lanes;
  let work = blocks[z].count * lanes;
  let axis_size = blocks[z].axis_size;
  let first = blocks[z].first;
  let run = blocks[z].run;
  let data_stride = blocks[z].run_data_stride;
  let out_stride = blocks[z].run_out_stride;
  for (var w = id.x; w < work; w += groups.x * ${workgroupSize}u) {
    let i = w / lanes;
    let lane = w % lanes;
${offsets}
#if ${indices === 'i64'}
    let raw = ids[ids_at];
    let low = bitcast<i32>(raw.x);
    let in_range = raw.y == select(0u, 0xffffffffu, low < 0);
#else
    let low = ids[ids_at];
    let raw = vec2<u32>(bitcast<u32>(low), select(0u, 0xffffffffu, low < 0));
    let in_range = true;
#endif
    let index = select(u32(low), axis_size - u32(-low), low < 0);
    if (!in_range || index >= axis_size) {
      if (first == 0u) {
        if (lane == 0u) { report(i / blocks[z].row_runs, blocks[z].code, i % blocks[z].row_runs, raw); }
        ${run} { out[${place}] = ${madeOf(zero, made, vectors)}; }
      }
    } else if (index - first < blocks[z].held) {
      let from_at = data_at + (index - first) * blocks[z].axis_stride;
      ${enterRow('data', data, 'from_at')}
      ${run} { out[${place}] = ${value}; }
    }
  }
}`;
  return {
    key: `Gather_${data}${vectors ? '_vectors' : ''}_${indices}${adds ? '_add' : ''}${halves ? '_to_f16' : ''}_r${rank}_w${workgroupSize}`,
    source,
    fields,
    reportsErrors: true,
  };
}

function addendFields(list: number): ParameterField[] {
  return [
    { name: 'run_addend_stride', type: 'u32', length: 1 },
    { name: 'addend_start', type: 'u32', length: 1 },
    { name: 'addend_strides', type: 'u32', length: list },
  ];
}
