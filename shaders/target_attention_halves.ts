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

const SIDE = 16;
const SUBGROUP = 32;
const MOST_SUBGROUPS = 8;
/** Features of a step, and vectors of 8 halves from a line of them to the next. */
const PANEL = 64;
const PITCH = PANEL / 8 + 1;
/** Vectors of 4 from a row of a tile of results to the next. */
const STRIP = SIDE / 4 + 1;
/** Vectors of 4 words in a tile of weights. */
const TILE = (SIDE * SIDE) / 8;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const tilesOf = (n: number): number => Math.ceil(n / SIDE);
const odd = (n: number): number => (n % 2 === 0 ? n + 1 : n);

type Sizes = Pick<TargetAttentionForm, 'width' | 'first' | 'second'>;

/**
 * Everything is filled up with zeros. Key and pair weights: halves of [columns, features], whole tiles of columns and steps of
 * features. First lines: float32, whole tiles of columns, as are the bias and the weights of the score. Second weights:
 * tiles of halves, as halfAt() of perceptron_halves.ts says.
 */
export function attentionHalvesLayout({ width, first, second }: Sizes, lines: number): AttentionLayout {
  const [a, b] = [tilesOf(first), tilesOf(second)];
  const features = attentionFeatures({ width });
  let at = 0;
  const take = (vectors: number): number => (at += vectors) - vectors;
  return {
    keyWeights: take(features * 2 * a),
    pairWeights: take(features * 2 * a),
    firstLines: take(lines * 4 * a),
    secondWeights: take(a * b * TILE),
    secondBias: take(4 * b),
    scoreWeights: take(4 * b),
    scoreBias: take(1),
    total: at,
  };
}

/** Features of a column of the first layer's weights among the parameters, filled up to whole steps. */
export function attentionFeatures({ width }: Pick<Sizes, 'width'>): number {
  return Math.ceil(width / PANEL) * PANEL;
}

/** Elements of a line of the first layer among the parameters. */
export function attentionColumns({ first }: Pick<Sizes, 'first'>): number {
  return tilesOf(first) * SIDE;
}

function cutOf({ width, first, length }: Sizes & { readonly length: number }): {
  subgroups: number;
  /** Vectors of a subgroup's keys, then of their hidden layer, and between lines of that. */
  own: number;
  hiddenPitch: number;
  results: number;
} {
  const hiddenPitch = odd(2 * tilesOf(first));
  return {
    subgroups: Math.min(MOST_SUBGROUPS, tilesOf(length)),
    own: SIDE * Math.max(PITCH, hiddenPitch),
    hiddenPitch,
    results: Math.max(SIDE * STRIP, width / 4),
  };
}

/** What a workgroup needs. */
export function attentionHalvesNeeds(sizes: Sizes & { readonly length: number }): {
  readonly threads: number;
  readonly bytes: number;
} {
  const { subgroups, own, results } = cutOf(sizes);
  return {
    threads: subgroups * SUBGROUP,
    bytes:
      16 * (subgroups * (own + results) + attentionColumns(sizes) * PITCH) +
      4 * (sizes.length + attentionColumns(sizes)) +
      2 * attentionFeatures(sizes),
  };
}

/**
 * As targetAttention(), with the layers multiplied in float16 on the device's matrix units and summed in float32. A subgroup
 * has 16 keys. The row's weight W0 + diag(q) W1 is made step by step, in float16.
 */
export function targetAttentionHalves(options: TargetAttentionOptions): WebGpuProgram {
  const { width, first, second, length, firstActivation, secondActivation, finish } = options;
  const { subgroups, own, hiddenPitch, results } = cutOf(options);
  const threads = subgroups * SUBGROUP;
  const layout = attentionHalvesLayout(options, firstActivation?.lines ?? 0);
  const fields = attentionFields(options);
  const [a, b] = [range(tilesOf(first)), range(tilesOf(second))];
  const features = attentionFeatures(options);
  const columns = attentionColumns(options);
  const keyUnits = subgroups * SIDE * (PANEL / 8);
  const weightUnits = columns * (PANEL / 8);
  const rounds = (units: number): number[] => range(Math.ceil(units / threads));
  const guard = (u: number, units: number): string =>
    (u + 1) * threads > units ? `if (thread + ${u * threads}u < ${units}u) ` : '';
  const load = (side: string, order: string, from: string, offset: string, stride: number): string =>
    `subgroupMatrixLoad<subgroup_matrix_${side}<f16, ${SIDE}, ${SIDE}>, ${order}>(&${from}, ${offset}, ${stride}u)`;
  const keyPlace = (u: number): string =>
    `let i = thread + ${u * threads}u; let line = i / ${PANEL / 8}u; let run = i % ${PANEL / 8}u;`;
  const key = (f: number): string => {
    const at = `f0 + run * 8u + ${4 * f}u`;
    const four = `keys[(k_at + min(key0 + line, ${length - 1}u) * k_step + min(${at}, ${width - 4}u)) / 4u]`;
    return width % PANEL === 0 ? four : `select(vec4<f32>(), ${four}, ${at} < ${width}u)`;
  };
  const stage = [
    ...rounds(keyUnits).map(
      (u) =>
        `${guard(u, keyUnits)}{ ${keyPlace(u)} own[line / ${SIDE}u][line % ${SIDE}u * ${PITCH}u + run] = halves(${key(0)}, ${key(1)}); }`,
    ),
    ...rounds(weightUnits).map(
      (u) => `${guard(u, weightUnits)}{
            let i = thread + ${u * threads}u;
            let run = i % ${PANEL / 8}u;
            let column = i / ${PANEL / 8}u;
            let w = w_start + column * ${features / 8}u + f0 / 8u + run;
            let factors = target_halves[f0 / 8u + run];
            let of_key = weights[w + ${layout.keyWeights}u];
            let of_pair = weights[w + ${layout.pairWeights}u];
            weight[column / ${SIDE}u][column % ${SIDE}u * ${PITCH}u + run] = vec4<u32>(${[...'xyzw']
              .map(
                (x) =>
                  `bitcast<u32>(fma(bitcast<vec2<f16>>(factors.${x}), bitcast<vec2<f16>>(of_pair.${x}), bitcast<vec2<f16>>(of_key.${x})))`,
              )
              .join(', ')});
          }`,
    ),
  ];
  const mine = (part: string): string => `results[my_subgroup][my_row * ${STRIP}u + my_half * 2u + ${part}]`;
  const line = (start: number, at: string): string => `bitcast<vec4<f32>>(weights[w_start + ${start}u + ${at} / 4u])`;
  const firstLines = range(firstActivation?.lines ?? 0);
  /** Elements of `v` as a layer's function makes them; past the last of `n` columns they count as 0. */
  const activated = (layer: string | undefined, v: string, lines: readonly string[], n: number): string => {
    const elements = [...'xyzw'].map(
      (x) => `${layer}(${['z', `${v}.${x}`, ...lines.map((l) => `${l}.${x}`)].join(', ')})`,
    );
    const made = layer === undefined ? v : `vec4<f32>(${elements.join(', ')})`;
    return n % SIDE === 0
      ? made
      : `select(vec4<f32>(), ${made}, vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(${n}u))`;
  };
  const halfOfFirst = (c: number, part: number): string => `{
          let at = ${c * SIDE + 4 * part}u + my_half * 8u;
          let value = ${mine(`${part}u`)} + line_of[at / 4u];
${firstLines.map((i) => `          let line${i} = ${line(layout.firstLines + i * 4 * a.length, 'at')};`).join('\n')}
          v${part} = ${activated(
            firstActivation && 'chain_first',
            'value',
            firstLines.map((i) => `line${i}`),
            first,
          )};
        }`;
  const others = finish?.others ?? [];
  const readers = others.map((_, i) => `other${i}[other${i}_at + key * blocks[z].other${i}_step]`);
  const w4 = width / 4;
  const outParts = Math.max(1, Math.min(subgroups, Math.floor(threads / w4)));
  const source = wgsl`
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
${declareAttention(options, 'u32')}
// An array a subgroup: offsets into its own are known when the shader is compiled, and need no check.
var<workgroup> own: array<array<vec4<u32>, ${own}>, ${subgroups}>;
var<workgroup> weight: array<array<vec4<u32>, ${SIDE * PITCH}>, ${a.length}>;
var<workgroup> results: array<array<vec4<f32>, ${results}>, ${subgroups}>;
var<workgroup> scores: array<f32, ${length}>;
var<workgroup> target_halves: array<vec4<u32>, ${features / 8}>;
var<workgroup> line_of: array<vec4<f32>, ${columns / 4}>;

fn halves(x: vec4<f32>, y: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(pack2x16float(x.xy), pack2x16float(x.zw), pack2x16float(y.xy), pack2x16float(y.zw));
}

@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32, @builtin(subgroup_id) my_subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let z = group.z;
  let w_start = blocks[z].weights_start / 4u;
  let k_step = blocks[z].k_step;
  let q_column = blocks[z].q_column;
  let c_column = blocks[z].c_column;
  // In its subgroup's tile of results an invocation has half a row.
  let my_row = lane / 2u;
  let my_half = lane % 2u;
  for (var row = group.x; row < blocks[z].m; row += groups.x) {
    let k_at = blocks[z].k_start + row * blocks[z].k_row;
    let q_at = blocks[z].q_start + row * blocks[z].q_row;
    let c_at = blocks[z].c_start + row * blocks[z].c_row;
${others.map((_, i) => `    let other${i}_at = blocks[z].other${i}_start + row * blocks[z].other${i}_row;`).join('\n')}
    for (var i = thread; i < ${features / 2}u; i += ${threads}u) {
      let pair = vec2<f32>(q[q_at + min(2u * i, ${width - 1}u) * q_column], q[q_at + min(2u * i + 1u, ${width - 1}u) * q_column]);
      target_halves[i / 4u][i % 4u] = pack2x16float(pair);
    }
    for (var i = thread; i < ${columns}u; i += ${threads}u) {
      line_of[i / 4u][i % 4u] = c[c_at + min(i, ${first - 1}u) * c_column];
    }
    for (var key0 = 0u; key0 < ${length}u; key0 += ${subgroups * SIDE}u) {
${a.map((c) => `      var s${c} = subgroup_matrix_result<f32, ${SIDE}, ${SIDE}>();`).join('\n')}
      for (var f0 = 0u; f0 < ${width}u; f0 += ${PANEL}u) {
        workgroupBarrier();
        ${stage.join('\n        ')}
        workgroupBarrier();
${range(PANEL / SIDE)
  .map(
    (f) => `        {
          let x = ${load('left', 'row_major', 'own[my_subgroup]', `${2 * f}u`, PITCH)};
${a.map((c) => `          let y${c} = ${load('right', 'col_major', `weight[${c}]`, `${2 * f}u`, PITCH)};`).join('\n')}
${a.map((c) => `          s${c} = subgroupMatrixMultiplyAccumulate(x, y${c}, s${c});`).join('\n')}
        }`,
  )
  .join('\n')}
      }
      workgroupBarrier();
${a
  .map(
    (c) => `      subgroupMatrixStore<row_major>(&results[my_subgroup], 0u, s${c}, ${STRIP}u);
      workgroupBarrier();
      {
        var v0: vec4<f32>;
        var v1: vec4<f32>;
        ${halfOfFirst(c, 0)}
        ${halfOfFirst(c, 1)}
        own[my_subgroup][my_row * ${hiddenPitch}u + ${2 * c}u + my_half] = halves(v0, v1);
      }
      workgroupBarrier();`,
  )
  .join('\n')}
${b.map((c) => `      var t${c} = subgroup_matrix_result<f32, ${SIDE}, ${SIDE}>();`).join('\n')}
${a
  .map(
    (f) => `      {
        let x = ${load('left', 'row_major', 'own[my_subgroup]', `${2 * f}u`, hiddenPitch)};
${b.map((c) => `        let y${c} = ${load('right', 'col_major', 'weights', `w_start + ${layout.secondWeights + (f * b.length + c) * TILE}u`, 2)};`).join('\n')}
${b.map((c) => `        t${c} = subgroupMatrixMultiplyAccumulate(x, y${c}, t${c});`).join('\n')}
      }`,
  )
  .join('\n')}
      var partial = 0.0;
${b
  .map(
    (c) => `      subgroupMatrixStore<row_major>(&results[my_subgroup], 0u, t${c}, ${STRIP}u);
      workgroupBarrier();
${[0, 1]
  .map(
    (part) => `      {
        let at = ${c * SIDE + 4 * part}u + my_half * 8u;
        let sums = ${mine(`${part}u`)} + ${line(layout.secondBias, 'at')};
        partial += dot(${activated(secondActivation && 'chain_second', 'sums', [], second)}, ${line(layout.scoreWeights, 'at')});
      }`,
  )
  .join('\n')}
      workgroupBarrier();`,
  )
  .join('\n')}
      partial += subgroupShuffleXor(partial, 1u);
      {
        let key = key0 + my_subgroup * ${SIDE}u + my_row;
        if (my_half == 0u && key < ${length}u) {
          let score = partial + bitcast<vec4<f32>>(weights[w_start + ${layout.scoreBias}u]).x;
          scores[key] = ${finish ? `chain(${['z', 'score', ...readers].join(', ')})` : 'score'};
        }
      }
    }
    workgroupBarrier();
    // Every subgroup reduces all scores.
    var largest = -3.4028234e38;
    for (var key = lane; key < ${length}u; key += ${SUBGROUP}u) { largest = max(largest, scores[key]); }
    largest = subgroupMax(largest);
    workgroupBarrier();
    for (var key = thread; key < ${length}u; key += ${threads}u) { scores[key] = exp(scores[key] - largest); }
    workgroupBarrier();
    var sum = 0.0;
    for (var key = lane; key < ${length}u; key += ${SUBGROUP}u) { sum += scores[key]; }
    sum = subgroupAdd(sum);
    for (var of_features = thread % ${Math.min(w4, threads)}u; of_features < ${w4}u; of_features += ${threads}u) {
      let part_of = thread / ${Math.min(w4, threads)}u;
      if (part_of < ${outParts}u) {
        var mixed = vec4<f32>();
        for (var key = part_of; key < ${length}u; key += ${outParts}u) {
          mixed += scores[key] * keys[(k_at + key * k_step) / 4u + of_features];
        }
        results[part_of][of_features] = mixed;
      }
    }
    workgroupBarrier();
    for (var f = thread; f < ${width}u; f += ${threads}u) {
      var mixed = 0.0;
      for (var p = 0u; p < ${outParts}u; p++) { mixed += results[p][f / 4u][f % 4u]; }
      out[blocks[z].out_start + row * blocks[z].out_row + f * blocks[z].out_column] = mixed / sum;
    }
    workgroupBarrier();
  }
}`;
  return { key: `TargetAttentionHalves_${attentionName(options)}`, source, fields, reportsErrors: false };
}
