import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { madeOf, readElement } from './packed.js';
import type { WebGpuProgram } from './program.js';
import {
  attentionFields,
  attentionName,
  declareAttention,
  type StoredHalves,
  type TargetAttentionForm,
  type TargetAttentionOptions,
  type AttentionLayout,
} from './target_attention_parts.js';

const SIDE = 16;
const SUBGROUP = 32;
const MOST_SUBGROUPS = 8;
/** Features of a step, and vectors of 8 halves from a line of them to the next. */
const PANEL = 32;
const PITCH = PANEL / 8 + 1;
/** Vectors of 4 from a row of a tile of results to the next; and of 8 halves from a row of a tile of the hidden layer. */
const STRIP = SIDE / 4 + 1;
const HIDDEN = SIDE / 8 + 1;
/** Loads of keys that an invocation has on their way when it weighs them. */
const MIXED = 8;
/** Vectors of 4 words in a tile of weights. */
const TILE = (SIDE * SIDE) / 8;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const tilesOf = (n: number): number => Math.ceil(n / SIDE);

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
  /** Arrays that hold 16 columns of weights, or what a subgroup makes, and vectors in one. */
  parts: number;
  part: number;
} {
  const subgroups = Math.min(MOST_SUBGROUPS, tilesOf(length));
  return {
    subgroups,
    parts: Math.max(subgroups, tilesOf(first)),
    part: Math.max(SIDE * PITCH, SIDE * (STRIP + HIDDEN), 2 * SUBGROUP, width / 4),
  };
}

/** What a workgroup needs. */
export function attentionHalvesNeeds(sizes: Sizes & { readonly length: number }): {
  readonly threads: number;
  readonly bytes: number;
} {
  const { subgroups, parts, part } = cutOf(sizes);
  return {
    threads: subgroups * SUBGROUP,
    bytes:
      16 * (subgroups * SIDE * PITCH + parts * part) +
      4 * (sizes.length + attentionColumns(sizes)) +
      2 * attentionFeatures(sizes),
  };
}

/** Most workgroups of a dispatch: each takes rows in turn, and loads keys of the next while it ends one. */
export const MOST_ATTENTION_WORKGROUPS = 1056;

/**
 * As targetAttention(), with the layers multiplied in float16 on the device's matrix units and summed in float32. A subgroup
 * has 16 keys. The row's weight W0 + diag(q) W1 is made step by step, in float16.
 */
export function targetAttentionHalves(
  options: TargetAttentionOptions & { readonly stored: StoredHalves },
): WebGpuProgram {
  const { width, first, second, length, firstActivation, secondActivation, finish, stored } = options;
  const { subgroups, parts, part } = cutOf(options);
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
  // A unit of keys: 8 features of one of them.
  const keyPlaces = rounds(keyUnits).map(
    (u) =>
      `let line${u} = (thread + ${u * threads}u) / ${PANEL / 8}u; let run${u} = (thread + ${u * threads}u) % ${PANEL / 8}u;`,
  );
  const eighth = stored.keys ? 8 : 4;
  const loads = stored.keys ? [0] : [0, 1];
  const keyType = stored.keys ? 'vec4<u32>' : 'vec4<f32>';
  const keyRegisters = rounds(keyUnits).flatMap((u) => loads.map((p) => `var k${u}_${p} = ${keyType}();`));
  const fetch = rounds(keyUnits).flatMap((u) =>
    loads.map((p) => {
      const feature = `min(f_next + run${u} * 8u + ${4 * p}u, ${width - eighth}u)`;
      return `${guard(u, keyUnits)}{ k${u}_${p} = keys[(at_next + min(key_next + line${u}, ${length - 1}u) * k_step + ${feature}) / ${eighth}u]; }`;
    }),
  );
  const inside = (u: number, p: number): string =>
    width % PANEL === 0 ? `k${u}_${p}` : `select(${keyType}(), k${u}_${p}, f0 + run${u} * 8u + ${4 * p}u < ${width}u)`;
  const stage = [
    ...rounds(keyUnits).map((u) => {
      const eight = stored.keys ? inside(u, 0) : `halves(${inside(u, 0)}, ${inside(u, 1)})`;
      return `${guard(u, keyUnits)}{ own[line${u} / ${SIDE}u][line${u} % ${SIDE}u * ${PITCH}u + run${u}] = ${eight}; }`;
    }),
    ...rounds(weightUnits).map(
      (u) => `${guard(u, weightUnits)}{
            let i = thread + ${u * threads}u;
            let run = i % ${PANEL / 8}u;
            let column = i / ${PANEL / 8}u;
            let w = w_start + column * ${features / 8}u + f0 / 8u + run;
            let factors = target_halves[f0 / 8u + run];
            let of_key = weights[w + ${layout.keyWeights}u];
            let of_pair = weights[w + ${layout.pairWeights}u];
            shared_part[column / ${SIDE}u][column % ${SIDE}u * ${PITCH}u + run] = vec4<u32>(${[...'xyzw']
              .map(
                (x) =>
                  `bitcast<u32>(fma(bitcast<vec2<f16>>(factors.${x}), bitcast<vec2<f16>>(of_pair.${x}), bitcast<vec2<f16>>(of_key.${x})))`,
              )
              .join(', ')});
          }`,
    ),
  ];
  /** Vectors of 4 of a tile of results that an invocation finishes, and where the columns of one begin in the layer. */
  const mine = (v: number): string =>
    `bitcast<vec4<f32>>(shared_part[my_subgroup][my_row * ${STRIP}u + my_half * 2u + ${v}u])`;
  const columnOf = (c: number, v: number): string => `${c * SIDE + 4 * v}u + my_half * 8u`;
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
  const ofFirst = (c: number, v: number): string => `var v${v}: vec4<f32>;
        {
          let at = ${columnOf(c, v)};
          let value = ${mine(v)} + line_of[at / 4u];
${firstLines.map((i) => `          let line${i} = ${line(layout.firstLines + i * 4 * a.length, 'at')};`).join('\n')}
          v${v} = ${activated(
            firstActivation && 'chain_first',
            'value',
            firstLines.map((i) => `line${i}`),
            first,
          )};
        }`;
  const others = finish?.others ?? [];
  const readers = others.map((_, i) => `other${i}[other${i}_at + key * blocks[z].other${i}_step]`);
  // A subgroup weighs its own keys: runs of features side by side, and keys in turn where those leave lanes.
  const runs = width / eighth;
  // So many in turn divide the 16 keys.
  const inTurn = [4, 2].find((n) => n * runs <= SUBGROUP) ?? 1;
  const across = Math.min(runs, SUBGROUP);
  const eightOf = (name: string): string =>
    stored.keys
      ? `mixed0 += share * vec4<f32>(unpack2x16float(${name}.x), unpack2x16float(${name}.y)); mixed1 += share * vec4<f32>(unpack2x16float(${name}.z), unpack2x16float(${name}.w));`
      : `mixed0 += share * ${name};`;
  const mix = range(Math.min(MIXED, Math.ceil(SIDE / inTurn)));
  const keyOf = (i: number): string => `first_key + i + ${i * inTurn}u`;
  const mixed = `for (var of_run = lane % ${across}u; of_run < ${runs}u; of_run += ${across}u) {
      var mixed0 = vec4<f32>();
      var mixed1 = vec4<f32>();
      if (turn < ${inTurn}u) {
        for (var key0 = 0u; key0 < ${length}u; key0 += ${subgroups * SIDE}u) {
          let first_key = key0 + my_subgroup * ${SIDE}u + turn;
          for (var i = 0u; i < ${SIDE}u; i += ${mix.length * inTurn}u) {
${mix.map((i) => `            let m${i} = keys[(k_at + min(${keyOf(i)}, ${length - 1}u) * k_step) / ${eighth}u + of_run];`).join('\n')}
${mix
  .map(
    (i) =>
      `            { let key = ${keyOf(i)}; let share = select(0.0, exp(scores[min(key, ${length - 1}u)] - largest), key < ${length}u); ${eightOf(`m${i}`)} }`,
  )
  .join('\n')}
          }
        }
${stored.keys ? '        shared_part[my_subgroup][(turn * ' + runs + 'u + of_run) * 2u] = bitcast<vec4<u32>>(mixed0);\n        shared_part[my_subgroup][(turn * ' + runs + 'u + of_run) * 2u + 1u] = bitcast<vec4<u32>>(mixed1);' : '        shared_part[my_subgroup][turn * ' + runs + 'u + of_run] = bitcast<vec4<u32>>(mixed0);'}
      }
    }`;
  const made = madeOf('mixed / sum', stored.out ? 'f16' : 'f32', false);
  const target = (f: string): string => readElement('q', stored.target ? 'f16' : 'f32', 'q_at', `${f} * q_column`);
  const source = wgsl`
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
${declareAttention(options, 'u32', { stored })}
// An array a subgroup: offsets into its own are known when the shader is compiled, and need no check.
var<workgroup> own: array<array<vec4<u32>, ${SIDE * PITCH}>, ${subgroups}>;
// Weights of 16 columns each; then what a subgroup makes, as float32.
var<workgroup> shared_part: array<array<vec4<u32>, ${part}>, ${parts}>;
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
  let m = blocks[z].m;
  ${keyPlaces.join('\n  ')}
  ${keyRegisters.join(' ')}
  var at_next = blocks[z].k_start + min(group.x, m - 1u) * blocks[z].k_row;
  var key_next = 0u;
  var f_next = 0u;
  ${fetch.join('\n  ')}
  for (var row = group.x; row < m; row += groups.x) {
    let k_at = blocks[z].k_start + row * blocks[z].k_row;
    let q_at = blocks[z].q_start + row * blocks[z].q_row;
    let c_at = blocks[z].c_start + row * blocks[z].c_row;
${others.map((_, i) => `    let other${i}_at = blocks[z].other${i}_start + row * blocks[z].other${i}_row;`).join('\n')}
    for (var i = thread; i < ${features / 2}u; i += ${threads}u) {
      let pair = vec2<f32>(${target(`min(2u * i, ${width - 1}u)`)}, ${target(`min(2u * i + 1u, ${width - 1}u)`)});
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
        // The next panel, or the first of the next keys or row, is on its way meanwhile.
        let ends_keys = f0 + ${PANEL}u >= ${width}u;
        let ends_row = ends_keys && key0 + ${subgroups * SIDE}u >= ${length}u;
        f_next = select(f0 + ${PANEL}u, 0u, ends_keys);
        key_next = select(select(key0, key0 + ${subgroups * SIDE}u, ends_keys), 0u, ends_row);
        at_next = select(k_at, blocks[z].k_start + min(row + groups.x, m - 1u) * blocks[z].k_row, ends_row);
        ${fetch.join('\n        ')}
${range(PANEL / SIDE)
  .map(
    (f) => `        {
          let x = ${load('left', 'row_major', 'own[my_subgroup]', `${2 * f}u`, PITCH)};
${a.map((c) => `          let y${c} = ${load('right', 'col_major', `shared_part[${c}]`, `${2 * f}u`, PITCH)};`).join('\n')}
${a.map((c) => `          s${c} = subgroupMatrixMultiplyAccumulate(x, y${c}, s${c});`).join('\n')}
        }`,
  )
  .join('\n')}
      }
      workgroupBarrier();
${b.map((c) => `      var t${c} = subgroup_matrix_result<f32, ${SIDE}, ${SIDE}>();`).join('\n')}
${a
  .map(
    (c) => `      subgroupMatrixStore<row_major>(&shared_part[my_subgroup], 0u, s${c}, ${STRIP}u);
      workgroupBarrier();
      {
        ${ofFirst(c, 0)}
        ${ofFirst(c, 1)}
        shared_part[my_subgroup][my_row * ${HIDDEN}u + my_half + ${SIDE * STRIP}u] = halves(v0, v1);
      }
      workgroupBarrier();
      {
        let x = ${load('left', 'row_major', 'shared_part[my_subgroup]', `${SIDE * STRIP}u`, HIDDEN)};
${b.map((d) => `        let y${d} = ${load('right', 'col_major', 'weights', `w_start + ${layout.secondWeights + (c * b.length + d) * TILE}u`, 2)};`).join('\n')}
${b.map((d) => `        t${d} = subgroupMatrixMultiplyAccumulate(x, y${d}, t${d});`).join('\n')}
      }`,
  )
  .join('\n')}
      var partial = 0.0;
${b
  .map(
    (c) => `      subgroupMatrixStore<row_major>(&shared_part[my_subgroup], 0u, t${c}, ${STRIP}u);
      workgroupBarrier();
${[0, 1]
  .map(
    (v) => `      {
        let at = ${columnOf(c, v)};
        let sums = ${mine(v)} + ${line(layout.secondBias, 'at')};
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
    var sum = 0.0;
    for (var key = lane; key < ${length}u; key += ${SUBGROUP}u) { sum += exp(scores[key] - largest); }
    sum = subgroupAdd(sum);
    let turn = lane / ${across}u;
    ${mixed}
    workgroupBarrier();
    for (var f = thread; f < ${width}u; f += ${threads}u) {
      var mixed = 0.0;
      for (var s = 0u; s < ${subgroups}u; s++) {
        ${range(inTurn)
          .map((t) => `mixed += bitcast<vec4<f32>>(shared_part[s][f / 4u + ${(t * width) / 4}u])[f % 4u];`)
          .join(' ')}
      }
      out[blocks[z].out_start + row * blocks[z].out_row + f * blocks[z].out_column] = ${made};
    }
  }
}`;
  const marks = `${stored.keys ? '_keys_f16' : ''}${stored.target ? '_target_f16' : ''}${stored.out ? '_to_f16' : ''}`;
  return { key: `TargetAttentionHalves_${attentionName(options)}${marks}`, source, fields, reportsErrors: false };
}
