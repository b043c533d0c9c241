import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { ERROR_BUFFER } from './errors.js';
import { INDEX_HELPERS } from './indexed.js';
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
  /** The lanes of a run are 2^lane_shift: neighbours are told apart without dividing. */
  readonly shifts: boolean;
  /** Pieces of runs that an invocation has on their way at once. */
  readonly unroll: number;
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
 * copy its run of `run` elements, neighbours neighbouring elements. All indices of an invocation are read before the first
 * is waited for, and then all elements: where they lie is not known before, and memory takes its time. A table may be spread over several
 * buffers: each dispatch then owns rows [first, first + held) and leaves the others alone; the part with first = 0
 * reports the errors.
 */
export function gather(options: GatherOptions): WebGpuProgram {
  const { data, vectors, indices, rank, workgroupSize, shifts, unroll, adds = false, halves = false } = options;
  const list = Math.max(rank, 2);
  const fields: ParameterField[] = [
    { name: 'count', type: 'u32', length: 1 },
    { name: 'axis_size', type: 'u32', length: 1 },
    { name: 'axis_stride', type: 'u32', length: 1 },
    { name: 'first', type: 'u32', length: 1 },
    { name: 'held', type: 'u32', length: 1 },
    { name: 'run', type: 'u32', length: 1 },
    { name: 'lanes', type: 'u32', length: 1 },
    ...(shifts ? [{ name: 'lane_shift', type: 'u32', length: 1 } as const] : []),
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
  const value = vectors ? 'vec4<f32>' : element === 'i64' ? 'vec2<u32>' : element;
  const step = vectors ? 4 : 1;
  const read = vectors
    ? readFour('data', data as FourType, 'from_at', 'e')
    : readElement('data', data, 'from_at', 'e * blocks[z].run_data_stride');
  const addend = vectors ? 'addend[(addend_at + e) / 4u]' : 'addend[addend_at + e * blocks[z].run_addend_stride]';
  const place = (u: number): string =>
    vectors ? `(at${u}.z + e${u}) / 4u` : `at${u}.z + e${u} * blocks[z].run_out_stride`;
  const made = halves ? 'f16' : element;
  const items = Array.from({ length: unroll }, (_, u) => u);
  const each = (code: (u: number) => string): string => items.map((u) => `    ${code(u)}`).join('\n');
  const runOf = (w: string): string => (shifts ? `(${w} >> blocks[z].lane_shift)` : `(${w} / lanes)`);
  const lanesOf = (i: string): string => (shifts ? `(${i} << blocks[z].lane_shift)` : `(${i} * lanes)`);
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
// Where the run of index i begins: in the data, the indices, the output and the addend.
fn starts(z: u32, i: u32) -> vec4<u32> {
${offsets}
  return vec4<u32>(data_at, ids_at, out_at, ${adds ? 'addend_at' : '0u'});
}
${INDEX_HELPERS}
fn load(z: u32, from_at: u32, addend_at: u32, e: u32) -> ${value} {
  ${enterRow('data', data, 'from_at')}
  return ${adds ? `${read} + ${addend}` : read};
}
@compute @workgroup_size(${workgroupSize})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = group.z;
  let lanes = blocks[z].lanes;
  let work = blocks[z].count * lanes;
  let axis_size = blocks[z].axis_size;
  let first = blocks[z].first;
  let held = blocks[z].held;
  let run = blocks[z].run;
  for (var begin = group.x * ${workgroupSize * unroll}u + thread; begin < work; begin += groups.x * ${workgroupSize * unroll}u) {
${each((u) => `let mine${u} = begin + ${u * workgroupSize}u < work; let w${u} = min(begin + ${u * workgroupSize}u, work - 1u);`)}
${each((u) => `let i${u} = ${runOf(`w${u}`)}; let lane${u} = w${u} - ${lanesOf(`i${u}`)};`)}
${each((u) => `let at${u} = starts(z, i${u});`)}
${each((u) => `let id${u} = ids[at${u}.y];`)}
${each((u) => `let index${u} = place(words_${indices}(id${u}), axis_size); let held${u} = index${u} - first < held && index${u} != OUTSIDE;`)}
    // What is not held is not read: the row at the beginning is read in its place, and then left.
${each((u) => `let from${u} = at${u}.x + select(0u, index${u} - first, held${u}) * blocks[z].axis_stride;`)}
${each((u) => `let stores${u} = mine${u} && (held${u} || (index${u} == OUTSIDE && first == 0u));`)}
    for (var step = 0u; step < run; step += lanes * ${step}u) {
${each((u) => `let e${u} = step + lane${u} * ${step}u;`)}
${each((u) => `let v${u} = load(z, from${u}, at${u}.w, min(e${u}, run - ${step}u));`)}
${each((u) => `if (stores${u} && e${u} < run) { out[${place(u)}] = ${madeOf(`select(${value}(), v${u}, held${u})`, made, vectors)}; }`)}
    }
    if (first == 0u && (${items.map((u) => `index${u} == OUTSIDE`).join(' || ')})) {
      for (var w = begin; w < min(work, begin + ${workgroupSize * unroll}u); w += ${workgroupSize}u) {
        let i = ${runOf('w')};
        let id = words_${indices}(ids[starts(z, i).y]);
        if (w == ${lanesOf('i')} && place(id, axis_size) == OUTSIDE) { report(i / blocks[z].row_runs, blocks[z].code, i % blocks[z].row_runs, id); }
      }
    }
  }
}`;
  return {
    key: `Gather_${data}${vectors ? '_vectors' : ''}_${indices}${adds ? '_add' : ''}${halves ? '_to_f16' : ''}_r${rank}_w${workgroupSize}${shifts ? '_shift' : ''}_u${unroll}`,
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
