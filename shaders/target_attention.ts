import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import type { WebGpuProgram } from './program.js';
import {
  attentionFields,
  attentionName,
  declareAttention,
  type TargetAttentionForm,
  type TargetAttentionOptions,
  type AttentionLayout,
} from './target_attention_parts.js';

const THREADS = 256;
/** Features of a step. */
const STEP = 16;
/** Parts that the lines of scores are reduced in. */
const PARTS = 16;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const fours = (n: number): number => Math.ceil(n / 4);

/** Columns of the first layer in the kernel: an invocation has 8. */
export function firstColumns({ first }: Pick<TargetAttentionForm, 'first'>): number {
  return 8 * Math.ceil(first / 8);
}

/** How the parameters lie: matrices row by row, rows and lines filled up to whole vectors with zeros. */
export function targetAttentionLayout(
  form: Pick<TargetAttentionForm, 'width' | 'first' | 'second'>,
  lines: number,
): AttentionLayout {
  const { width, second } = form;
  const [a, b] = [firstColumns(form) / 4, fours(second)];
  let at = 0;
  const take = (vectors: number): number => {
    const start = at;
    at += vectors;
    return start;
  };
  return {
    keyWeights: take(width * a),
    pairWeights: take(width * a),
    firstLines: take(lines * a),
    secondWeights: take(4 * a * b),
    secondBias: take(b),
    scoreWeights: take(b),
    scoreBias: take(1),
    total: at,
  };
}

/** Groups of 4 keys of a pass, and the memory it takes in vectors of 4. */
function cutOf(options: Pick<TargetAttentionOptions, 'width' | 'first' | 'second' | 'length'>): {
  keys4: number;
  stage: number;
  hidden: number;
} {
  const { width, second, length } = options;
  const columns = firstColumns(options);
  const keys4 = Math.min(fours(length), Math.floor(THREADS / Math.max(columns / 8, fours(second))));
  // A step of both operands, partial scores, or partial sums of the values.
  const parts = Math.max(1, Math.floor(THREADS / fours(width)));
  const stage = Math.max(STEP * (keys4 + columns / 4), fours(second) * keys4, parts * fours(width));
  return { keys4, stage, hidden: columns * keys4 };
}

/** What a workgroup needs. */
export function targetAttentionNeeds(options: Pick<TargetAttentionOptions, 'width' | 'first' | 'second' | 'length'>): {
  readonly threads: number;
  readonly bytes: number;
  readonly keys: number;
} {
  const { keys4, stage, hidden } = cutOf(options);
  return { threads: THREADS, bytes: 16 * (stage + hidden) + 4 * (options.length + 2 * PARTS), keys: 4 * keys4 };
}

/**
 * Attention to a target, a row a workgroup. Every key k is scored against the row's target q by a perceptron whose first
 * layer is k (W0 + diag(q) W1) + c; of the scores' softmax and the keys comes the weighted sum. Hidden layers stay in
 * workgroup memory and registers; keys are read twice, the second time from the cache.
 *
 * Operations a key: 2 (width first + first second + second + width). Memory: keys once, and a line a row in and out.
 */
export function targetAttention(options: TargetAttentionOptions): WebGpuProgram {
  const { width, first, second, length, firstActivation, secondActivation, finish } = options;
  const { keys4, stage, hidden } = cutOf(options);
  const columns = firstColumns(options);
  const [a4, b4, w4] = [columns / 4, fours(second), width / 4];
  const half = a4 / 2;
  const layout = targetAttentionLayout(options, firstActivation?.lines ?? 0);
  const others = finish?.others ?? [];
  const fields = attentionFields(options);
  const registers = range(8).map((c) => `s${c}`);
  const units = { a: keys4 * 4 * (STEP / 4), b: STEP * a4 };
  const rounds = (n: number): number[] => range(Math.ceil(n / THREADS));
  const guarded = (r: number, n: number, code: string): string =>
    (r + 1) * THREADS <= n ? `{ ${code} }` : `if (thread + ${r * THREADS}u < ${n}u) { ${code} }`;
  // Neighbours read 64 bytes of a key.
  const aPlace = (r: number): string =>
    `let i = thread + ${r * THREADS}u; let feature = (i % ${STEP / 4}u) * 4u; let key = i / ${STEP / 4}u;`;
  const bPlace = (r: number): string =>
    `let i = thread + ${r * THREADS}u; let feature = i / ${a4}u; let g = i % ${a4}u;`;
  const fetch = [
    ...rounds(units.a).map((r) =>
      guarded(
        r,
        units.a,
        `${aPlace(r)} let at = min(f0 + feature, ${width - 4}u); a${r} = select(vec4<f32>(), keys[(k_at + min(key0 + key, ${length - 1}u) * k_step + at) / 4u], f0 + feature < ${width}u);`,
      ),
    ),
    ...rounds(units.b).map((r) =>
      guarded(
        r,
        units.b,
        `${bPlace(r)} let at = min(f0 + feature, ${width - 1}u); let w = w_start + at * ${a4}u + g; b${r} = select(vec4<f32>(), weights[w + ${layout.keyWeights}u] + q[q_at + at * q_column] * weights[w + ${layout.pairWeights}u], f0 + feature < ${width}u);`,
      ),
    ),
  ];
  const put = [
    ...rounds(units.a).map((r) =>
      guarded(
        r,
        units.a,
        `${aPlace(r)} for (var j = 0u; j < 4u; j++) { stage[(feature + j) * ${keys4}u + key / 4u][key % 4u] = a${r}[j]; }`,
      ),
    ),
    ...rounds(units.b).map((r) =>
      guarded(r, units.b, `${bPlace(r)} stage[${STEP * keys4}u + feature * ${a4}u + g] = b${r};`),
    ),
  ];
  const line = (start: number, i: number, size: number): string =>
    `weights[w_start + ${start + i * size}u + column / 4u][column % 4u]`;
  const firstArguments = range(firstActivation?.lines ?? 0).map((i) => line(layout.firstLines, i, a4));
  const activatedFirst = firstActivation
    ? `chain_first(${['z', 'value[e]', ...firstArguments].join(', ')})`
    : 'value[e]';
  const activatedSecond = secondActivation ? 'chain_second(z, value[e])' : 'value[e]';
  const readers = others.map((_, i) => `other${i}[other${i}_at + key * blocks[z].other${i}_step]`);
  const secondSums = range(4).map((c) => `t${c}`);
  const outParts = Math.max(1, Math.floor(THREADS / w4));
  const source = wgsl`
${declareAttention(options, 'f32')}
var<workgroup> stage: array<vec4<f32>, ${stage}>;
var<workgroup> hidden: array<vec4<f32>, ${hidden}>;
var<workgroup> scores: array<f32, ${length}>;
var<workgroup> largest_of: array<f32, ${PARTS}>;
var<workgroup> sum_of: array<f32, ${PARTS}>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let z = group.z;
  let w_start = blocks[z].weights_start / 4u;
  let k_step = blocks[z].k_step;
  let q_column = blocks[z].q_column;
  let my_keys = thread / ${half}u;
  let my_columns = thread % ${half}u;
  for (var row = group.x; row < blocks[z].m; row += groups.x) {
    let k_at = blocks[z].k_start + row * blocks[z].k_row;
    let q_at = blocks[z].q_start + row * blocks[z].q_row;
    let c_at = blocks[z].c_start + row * blocks[z].c_row;
${others.map((_, i) => `    let other${i}_at = blocks[z].other${i}_start + row * blocks[z].other${i}_row;`).join('\n')}
    for (var key0 = 0u; key0 < ${length}u; key0 += ${4 * keys4}u) {
${registers.map((s) => `      var ${s} = vec4<f32>();`).join('\n')}
${rounds(units.a)
  .map((r) => `      var a${r} = vec4<f32>();`)
  .join('\n')}
${rounds(units.b)
  .map((r) => `      var b${r} = vec4<f32>();`)
  .join('\n')}
      // One round more than steps: a round fetches its step into registers, and computes the one before.
      for (var f0 = 0u; f0 < ${STEP * Math.ceil(width / STEP) + STEP}u; f0 += ${STEP}u) {
        if (f0 < ${width}u) {
          ${fetch.join('\n          ')}
        }
        if (f0 > 0u && my_keys < ${keys4}u) {
          for (var f = 0u; f < ${STEP}u; f++) {
            let x = stage[f * ${keys4}u + my_keys];
            let y0 = stage[${STEP * keys4}u + f * ${a4}u + my_columns];
            let y1 = stage[${STEP * keys4 + half}u + f * ${a4}u + my_columns];
            ${range(4)
              .map((i) => `s${i} += x * y0.${'xyzw'[i]}; s${i + 4} += x * y1.${'xyzw'[i]};`)
              .join('\n            ')}
          }
        }
        workgroupBarrier();
        ${put.join('\n        ')}
        workgroupBarrier();
      }
      if (my_keys < ${keys4}u) {
${registers
  .map(
    (s, i) =>
      `        hidden[(${i < 4 ? '' : `${half}u * 4u + `}my_columns * 4u + ${i % 4}u) * ${keys4}u + my_keys] = ${s};`,
  )
  .join('\n')}
        for (var i = 0u; i < 8u; i++) {
          let column = (i / 4u) * ${4 * half}u + my_columns * 4u + i % 4u;
          let at = column * ${keys4}u + my_keys;
          var value = hidden[at];
          if (column < ${first}u) {
            value += c[c_at + column * blocks[z].c_column];
            for (var e = 0u; e < 4u; e++) { value[e] = ${activatedFirst}; }
          } else {
            value = vec4<f32>();
          }
          hidden[at] = value;
        }
      }
      workgroupBarrier();
      let g = thread % ${b4}u;
      let keys_of = thread / ${b4}u;
      if (keys_of < ${keys4}u) {
        let bias = weights[w_start + ${layout.secondBias}u + g];
${secondSums.map((t, i) => `        var ${t} = vec4<f32>(bias.${'xyzw'[i]});`).join('\n')}
        for (var f = 0u; f < ${columns}u; f++) {
          let x = hidden[f * ${keys4}u + keys_of];
          let y = weights[w_start + ${layout.secondWeights}u + f * ${b4}u + g];
          ${secondSums.map((t, i) => `${t} += x * y.${'xyzw'[i]};`).join(' ')}
        }
        var partial = vec4<f32>();
        var sums = array<vec4<f32>, 4>(${secondSums.join(', ')});
        for (var i = 0u; i < 4u; i++) {
          let column = g * 4u + i;
          if (column < ${second}u) {
            var value = sums[i];
            for (var e = 0u; e < 4u; e++) { value[e] = ${activatedSecond}; }
            partial += value * weights[w_start + ${layout.scoreWeights}u + g][i];
          }
        }
        stage[g * ${keys4}u + keys_of] = partial;
      }
      workgroupBarrier();
      for (var i = thread; i < min(${4 * keys4}u, ${length}u - key0); i += ${THREADS}u) {
        let key = key0 + i;
        var score = weights[w_start + ${layout.scoreBias}u].x;
        for (var p = 0u; p < ${b4}u; p++) { score += stage[p * ${keys4}u + i / 4u][i % 4u]; }
        scores[key] = ${finish ? `chain(${['z', 'score', ...readers].join(', ')})` : 'score'};
      }
      workgroupBarrier();
    }
    if (thread < ${PARTS}u) {
      var part = -3.4028234e38;
      for (var key = thread; key < ${length}u; key += ${PARTS}u) { part = max(part, scores[key]); }
      largest_of[thread] = part;
    }
    workgroupBarrier();
    var largest = largest_of[0];
    for (var p = 1u; p < ${PARTS}u; p++) { largest = max(largest, largest_of[p]); }
    for (var key = thread; key < ${length}u; key += ${THREADS}u) { scores[key] = exp(scores[key] - largest); }
    workgroupBarrier();
    if (thread < ${PARTS}u) {
      var part = 0.0;
      for (var key = thread; key < ${length}u; key += ${PARTS}u) { part += scores[key]; }
      sum_of[thread] = part;
    }
    let of_features = thread % ${w4}u;
    let part_of = thread / ${w4}u;
    if (part_of < ${outParts}u) {
      var mixed = vec4<f32>();
      for (var key = part_of; key < ${length}u; key += ${outParts}u) {
        mixed += scores[key] * keys[(k_at + key * k_step) / 4u + of_features];
      }
      stage[part_of * ${w4}u + of_features] = mixed;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var p = 0u; p < ${PARTS}u; p++) { sum += sum_of[p]; }
    for (var f = thread; f < ${width}u; f += ${THREADS}u) {
      var mixed = 0.0;
      for (var p = 0u; p < ${outParts}u; p++) { mixed += stage[p * ${w4}u + f / 4u][f % 4u]; }
      out[blocks[z].out_start + row * blocks[z].out_row + f * blocks[z].out_column] = mixed / sum;
    }
    workgroupBarrier();
  }
}`;
  const key = `TargetAttention_${attentionName(options)}`;
  return { key, source, fields, reportsErrors: false };
}
