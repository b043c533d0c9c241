import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { placeThread, range } from './matmul_parts.js';
import { declareParameters, declareStorage, type ParameterField, type WebGpuProgram } from './program.js';
import {
  accumulate,
  blockDown,
  blockThreads,
  declareSums,
  FOUR,
  PAIR,
  placePitch,
  placesType,
  stageRows,
  stageWeights,
  sumOf,
  weightsType,
  type RegisterBlock,
} from './register_sums.js';

/** Sizes of an attention of a short sequence to itself. */
export interface SelfAttentionForm {
  /** Places of a sequence, and their features. */
  readonly length: number;
  readonly features: number;
  readonly heads: number;
  /** Features of a query and of a key of one head, and of a value. */
  readonly width: number;
  readonly valueWidth: number;
}

export interface SelfAttentionOptions extends SelfAttentionForm {
  /** Features of a place lie in fours, and so do results of a head. */
  readonly inFours: boolean;
  readonly outFours: boolean;
  readonly cut: SelfAttentionCut;
}

export interface SelfAttentionCut {
  readonly block: RegisterBlock;
  /** Heads whose queries, keys and values are in workgroup memory at once. */
  readonly headsAtOnce: number;
}

/** Steps of the sums. */
const STEPS = 8;
/** Most fours of columns of an invocation. */
const MOST_FOURS = 3;
/** Rows of a workgroup: whole sequences. */
const ROWS = 64;
/** Workgroup memory that leaves room for a second workgroup where Vulkan has 48 KiB for all of a multiprocessor's; more where one head needs it. */
const ENOUGH_BYTES = 24_576;

/** Vectors of 4 of a head's query, key and value of a place. */
function headFours({ width, valueWidth }: SelfAttentionForm): number {
  return (2 * width + valueWidth) / 4;
}

/** Columns of all queries, keys and values: those of a head lie together, queries first. */
export function attentionColumns(form: SelfAttentionForm): number {
  return 4 * headFours(form) * form.heads;
}

function bytesOf(form: SelfAttentionForm, { block, headsAtOnce }: SelfAttentionCut): number {
  const fours = Math.ceil(attentionColumns(form) / 4 / block.across);
  const held = headsAtOnce * headFours(form) * (ROWS + 1);
  return 16 * (STEPS * (placePitch(block) + fours * block.across) + held);
}

/** How a workgroup takes sequences; undefined where it cannot. */
export function selfAttentionCut(
  form: SelfAttentionForm,
  limits: { readonly maxWorkgroupInvocations: number; readonly maxWorkgroupBytes: number },
): SelfAttentionCut | undefined {
  const fours = attentionColumns(form) / 4;
  const across = [8, 16, 32].find((a) => Math.ceil(fours / a) <= MOST_FOURS);
  if (across === undefined || form.length > ROWS) return undefined;
  const block = { rows: ROWS, across };
  if (blockThreads(block) > limits.maxWorkgroupInvocations) return undefined;
  const cuts = range(form.heads).map((i): SelfAttentionCut => ({ block, headsAtOnce: form.heads - i }));
  const most = Math.min(ENOUGH_BYTES, limits.maxWorkgroupBytes);
  const least = cuts.at(-1)!;
  return (
    cuts.find((cut) => bytesOf(form, cut) <= most) ??
    (bytesOf(form, least) <= limits.maxWorkgroupBytes ? least : undefined)
  );
}

/**
 * softmax(Q K) V of sequences, with Q, K and V = x W + b: a workgroup makes those of whole sequences in registers, a few
 * heads at once go to its memory, and a query is one invocation's.
 *
 * Operations a place: 2 features columns, 2 (width + valueWidth) length a head, and the exponentials. Memory: places in
 * and out once, and all weights once a workgroup.
 */
export function selfAttention(options: SelfAttentionOptions): WebGpuProgram {
  const { length, features, heads, inFours, outFours, cut } = options;
  const { block, headsAtOnce } = cut;
  const scalar = (name: string): ParameterField => ({ name, type: 'u32', length: 1 });
  const input = ['x_start', 'x_sequence', 'x_place', 'x_feature'];
  const output = ['out_start', 'out_sequence', 'out_place', 'out_head', 'out_feature'];
  const fields = ['sequences', 'weights_start', ...input, ...output].map(scalar);
  const threads = blockThreads(block);
  const groups = attentionColumns(options) / 4;
  const fours = Math.ceil(groups / block.across);
  const held = Math.floor(block.rows / length);
  const weights = stageWeights(block, STEPS, {
    before: 'w_start',
    groups,
    column: '0u',
    fours,
    depth: features,
    rowOf: (place) => place,
  });
  const rows = stageRows(block, STEPS, { features, inFours, startOf: (line) => `at_x(z, first, ${line})` }, 'input');
  const parts = range(Math.ceil(heads / headsAtOnce)).map((p) => p * headsAtOnce);
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'x', 'f32', 'read', inFours)}
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
${declareStorage(3, 'out', 'f32', 'read_write', outFours)}
var<workgroup> input: ${placesType(block, STEPS, STEPS)};
var<workgroup> w_tile: ${weightsType(block, STEPS, fours)};
// Neighbouring places lie together: queries are neighbouring invocations'.
var<workgroup> held: array<array<vec4<f32>, ${block.rows + 1}>, ${headsAtOnce * headFours(options)}>;
// Lines past those of the last sequence repeat it.
fn at_x(z: u32, first: u32, line: u32) -> u32 {
  let sequence = min(first + line / ${length}u, blocks[z].sequences - 1u);
  return blocks[z].x_start + sequence * blocks[z].x_sequence + (line % ${length}u) * blocks[z].x_place;
}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let z = group.z;
  let w_start = blocks[z].weights_start / 4u;
  let x_column = blocks[z].x_feature;
  let sequences = blocks[z].sequences;
${placeThread(blockDown(block), block.across)}
  let tiles = (sequences + ${held - 1}u) / ${held}u;
  for (var tile = group.x; tile < tiles; tile += groups.x) {
    let first = tile * ${held}u;
${declareSums('s', fours)}
    {
${accumulate(block, STEPS, { name: 's', fours }, features, [rows, weights], 'input[0]')}
    }
${parts.map((head) => part(options, head, Math.min(headsAtOnce, heads - head))).join('\n')}
  }
}`;
  const { width, valueWidth } = options;
  const marks = `${inFours ? '_in4' : ''}${outFours ? '_out4' : ''}`;
  const key = `SelfAttention_${length}x${features}_${heads}x${width}_${valueWidth}${marks}_${headsAtOnce}x${threads}`;
  return { key, source, fields, reportsErrors: false };
}

/** Attention of `count` heads from head `head` on. */
function part(options: SelfAttentionOptions, head: number, count: number): string {
  const { length, width, valueWidth, heads, features, outFours, cut } = options;
  const { block } = cut;
  const each = headFours(options);
  const groups = each * heads;
  const [before, behind] = [head * each, (head + count) * each];
  const fours = Math.ceil(groups / block.across);
  const lines = Math.floor(block.rows / length) * length;
  const items = lines * count;
  const [queries, values] = [range(width / 4), range(valueWidth / 4)];
  const keys = range(length);
  const hand = range(fours)
    .filter((c) => c * block.across < behind && (c + 1) * block.across > before)
    .map((c) => {
      const stores = PAIR.flatMap((g) =>
        FOUR.map((r) => {
          const line = `my_row * 4u + ${(g * block.rows) / 2 + r}u`;
          return `        held[four - ${before}u][${line}] = ${sumOf('s', g, r, c)} + bias;`;
        }),
      );
      return `    {
      let four = my_column + ${c * block.across}u;
      if (four >= ${before}u && four < ${behind}u) {
        let bias = weights[w_start + ${features * groups}u + four];
${stores.join('\n')}
      }
    }`;
    });
  const dots = (j: number): string =>
    queries.map((i) => `dot(q${i}, held[at + ${width / 4 + i}u][key + ${j}u])`).join(' + ');
  const store = values.map((i) =>
    outFours
      ? `out[out_at / 4u + ${i}u] = r${i} * share;`
      : FOUR.map((e) => `out[out_at + ${4 * i + e}u * blocks[z].out_feature] = r${i}.${'xyzw'[e]} * share;`).join(' '),
  );
  return `${hand.join('\n')}
    workgroupBarrier();
    for (var item = thread; item < ${items}u; item += ${blockThreads(block)}u) {
      let line = item % ${lines}u;
      let at = item / ${lines}u * ${each}u;
      let sequence = first + line / ${length}u;
      let place = line % ${length}u;
      let key = line - place;
${queries.map((i) => `      let q${i} = held[at + ${i}u][line];`).join('\n')}
${keys.map((j) => `      let e${j} = ${dots(j)};`).join('\n')}
      var largest = e0;
${keys
  .slice(1)
  .map((j) => `      largest = max(largest, e${j});`)
  .join('\n')}
      var sum = 0.0;
${values.map((i) => `      var r${i} = vec4<f32>();`).join('\n')}
${keys
  .map((j) => {
    const added = values.map((i) => `r${i} += w * held[at + ${width / 2 + i}u][key + ${j}u];`).join(' ');
    return `      { let w = exp(e${j} - largest); sum += w; ${added} }`;
  })
  .join('\n')}
      let share = 1.0 / sum;
      if (sequence < sequences) {
        let head = ${head}u + item / ${lines}u;
        let out_at = blocks[z].out_start + sequence * blocks[z].out_sequence + place * blocks[z].out_place + head * blocks[z].out_head;
        ${store.join('\n        ')}
      }
    }
    workgroupBarrier();`;
}
