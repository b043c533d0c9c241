import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { NOWHERE } from './matmul_parts.js';
import { declareMade, declareReadFours, enableMade, madeOf, readFour } from './packed.js';
import { declareParameters, declareStorage, type ParameterField, type WebGpuProgram } from './program.js';

export interface InteractionOptions {
  /** Vectors of a row, and their features. */
  readonly vectors: number;
  readonly width: number;
  /** Vectors that are stored beside the products. */
  readonly copies: number;
  /** Results of a row: the products that have a place, and the copies. */
  readonly columns: number;
  /** Features lie together, and begin on multiples of 4. */
  readonly aligned: boolean;
  /** Vectors, then aligned, or results are stored as float16. */
  readonly inHalves: boolean;
  readonly outHalves: boolean;
}

/** Vectors of a row are dealt to this many groups in turn; a tile is the 4 x 4 products of two groups. */
export function interactionGroups(vectors: number): number {
  return Math.ceil(vectors / 4);
}

export function interactionTiles(vectors: number): number {
  const groups = interactionGroups(vectors);
  return (groups * (groups + 1)) / 2;
}

/**
 * The tile that has the product of vectors `a` and `b`, and its element there; tiles are numbered by the larger of their
 * groups, then by the smaller.
 */
export function interactionPlace(
  a: number,
  b: number,
  vectors: number,
): { readonly tile: number; readonly at: number } {
  const groups = interactionGroups(vectors);
  const [first, second] = a % groups >= b % groups ? [a, b] : [b, a];
  const [row, column] = [first % groups, second % groups];
  return { tile: (row * (row + 1)) / 2 + column, at: 4 * Math.floor(first / groups) + Math.floor(second / groups) };
}

/**
 * Invocations: parts of each tile's sums. Workgroup memory is what limits how many workgroups run at once: a row of float32 takes
 * so much that each has many invocations, a row of halves leaves room for more workgroups of fewer.
 */
function cutOf({ vectors, width, inHalves }: Pick<InteractionOptions, 'vectors' | 'width' | 'inHalves'>): {
  threads: number;
  slices: number;
} {
  const tiles = interactionTiles(vectors);
  const steps = Math.ceil(width / 4);
  let slices = 1;
  while (2 * slices * tiles <= (inHalves ? 128 : 256) && 2 * slices <= steps) slices *= 2;
  return { threads: Math.min(256, Math.ceil((tiles * slices) / 32) * 32), slices };
}

/** Vectors of 4 of a row between neighbouring ones: odd, so that neighbours lie in different banks. */
function strideOf(width: number): number {
  return Math.ceil(width / 4) | 1;
}

/**
 * Workgroup memory in vectors of 4: of a row, or of the partial sums. Where vectors are halves, in what holds 4 of them; a
 * vector of partial sums takes two.
 */
function sizeOf(options: Pick<InteractionOptions, 'vectors' | 'width' | 'inHalves'>): number {
  const { vectors, width, inHalves } = options;
  return Math.max(
    4 * interactionGroups(vectors) * strideOf(width),
    (inHalves ? 8 : 4) * interactionTiles(vectors) * cutOf(options).slices,
  );
}

/**
 * Most workgroups of a dispatch: from here on each takes rows in turn, and loads the next while it computes one. Enough to
 * fill an H100.
 */
export const MOST_INTERACTION_WORKGROUPS = 1056;

/** What a workgroup needs where vectors are float32, and at most where they are halves. */
export function interactionNeeds(options: Pick<InteractionOptions, 'vectors' | 'width' | 'columns'>): {
  readonly threads: number;
  readonly bytes: number;
} {
  const form = { ...options, inHalves: false };
  return { threads: cutOf(form).threads, bytes: 16 * sizeOf(form) + 4 * options.columns };
}

/**
 * Products of all pairs of a row's vectors, a row of a workgroup after another, each element stored at the place that `places` has for it,
 * or nowhere, beside copies of some of the vectors. Half of the products are the others turned; they are not made.
 *
 * Operations: vectors^2 width. Memory: vectors in and results out, once.
 */
export function interaction(options: InteractionOptions): WebGpuProgram {
  const { vectors, width, copies, columns, aligned, inHalves, outHalves } = options;
  /** Four features as they are in workgroup memory. */
  const held = inHalves ? 'vec2<u32>' : 'vec4<f32>';
  const [stored, given] = [outHalves ? 'f16' : 'f32', inHalves ? 'f16' : 'f32'] as const;
  const { threads, slices } = cutOf(options);
  const [groups, tiles] = [interactionGroups(vectors), interactionTiles(vectors)];
  const steps = Math.ceil(width / 4);
  const stride = strideOf(width);
  const scalar = (name: string): ParameterField => ({ name, type: 'u32', length: 1 });
  const fields = [
    ...['m', 'x_start', 'x_row', 'x_vector', 'x_feature', 'places_start'].map(scalar),
    ...['out_start', 'out_row', 'out_column'].map(scalar),
    ...Array.from({ length: copies }, (_, i) => [`copy${i}_from`, `copy${i}_to`].map(scalar)).flat(),
  ];
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  const fours = range(4);
  const copy = (i: number): string => `    for (var f = thread; f < ${width}u; f += ${threads}u) {
      line[blocks[z].copy${i}_to + f] = held(blocks[z].copy${i}_from * ${stride}u + f / 4u)[f % 4u];
    }`;
  const word = (f: number): string =>
    `select(0.0, x[at + min(feature + ${f}u, ${width - 1}u) * blocks[z].x_feature], feature + ${f}u < ${width}u)`;
  const four = inHalves
    ? 'x[(at + feature) / 4u]'
    : aligned
      ? readFour('x', given, 'at', 'feature')
      : `vec4<f32>(${fours.map(word).join(', ')})`;
  // All loads of an invocation are on their way before the first is waited for.
  const rounds = range(Math.ceil((vectors * steps) / threads));
  const guarded = (r: number, code: string): string =>
    (r + 1) * threads <= vectors * steps ? code : `if (e${r} < ${vectors * steps}u) { ${code} }`;
  const before = rounds.map((r) => `let e${r} = thread + ${r * threads}u; var v${r} = ${held}();`);
  const fetch = rounds.map((r) =>
    guarded(r, `v${r} = load(z, x_at + (e${r} / ${steps}u) * blocks[z].x_vector, (e${r} % ${steps}u) * 4u);`),
  );
  const put = rounds.map((r) => guarded(r, `memory[(e${r} / ${steps}u) * ${stride}u + e${r} % ${steps}u] = v${r};`));
  // Where an invocation's results belong is the same in every row.
  const made = range(Math.ceil((4 * tiles) / threads));
  const isMine = (r: number, code: string): string =>
    (r + 1) * threads <= 4 * tiles ? code : `if (thread + ${r * threads}u < ${4 * tiles}u) { ${code} }`;
  const placeOf = (r: number): string => {
    const e = `(thread + ${r * threads}u)`;
    const at = `blocks[z].places_start + (${e} % ${tiles}u) * 16u + (${e} / ${tiles}u) * 4u`;
    return `var places${r} = vec4<u32>(${NOWHERE}u);
  ${isMine(r, `let at${r} = ${at}; places${r} = vec4<u32>(${fours.map((c) => `places[at${r} + ${c}u]`).join(', ')});`)}`;
  };
  const collect = (r: number): string =>
    isMine(
      r,
      `var sum = part(thread + ${r * threads}u);
      ${range(slices - 1)
        .map((i) => `sum += part(thread + ${(i + 1) * 4 * tiles + r * threads}u);`)
        .join(' ')}
      ${fours.map((c) => `if (places${r}.${'xyzw'[c]} != ${NOWHERE}u) { line[places${r}.${'xyzw'[c]}] = sum.${'xyzw'[c]}; }`).join('\n      ')}`,
    );
  const source = wgsl`
${enableMade(stored, false)}
${declareParameters(fields)}
${aligned ? declareReadFours(1, 'x', given) : declareStorage(1, 'x', 'f32', 'read')}
${declareStorage(2, 'places', 'u32', 'read')}
${declareMade(3, 'out', stored, false)}
var<workgroup> memory: array<${held}, ${sizeOf(options)}>;
var<workgroup> line: array<f32, ${columns}>;
fn load(z: u32, at: u32, feature: u32) -> ${held} { return ${four}; }
${
  inHalves
    ? `fn held(at: u32) -> vec4<f32> { return vec4<f32>(unpack2x16float(memory[at].x), unpack2x16float(memory[at].y)); }
fn part(at: u32) -> vec4<f32> { return bitcast<vec4<f32>>(vec4<u32>(memory[2u * at], memory[2u * at + 1u])); }
fn put_part(at: u32, sums: vec4<f32>) {
  memory[2u * at] = bitcast<vec2<u32>>(sums.xy);
  memory[2u * at + 1u] = bitcast<vec2<u32>>(sums.zw);
}`
    : `fn held(at: u32) -> vec4<f32> { return memory[at]; }
fn part(at: u32) -> vec4<f32> { return memory[at]; }
fn put_part(at: u32, sums: vec4<f32>) { memory[at] = sums; }`
}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let z = group.z;
  let out_column = blocks[z].out_column;
  let tile = thread % ${tiles}u;
  let slice = thread / ${tiles}u;
  var tile_row = 0u;
  while ((tile_row + 1u) * (tile_row + 2u) / 2u <= tile) { tile_row++; }
  let tile_column = tile - tile_row * (tile_row + 1u) / 2u;
  let m = blocks[z].m;
${made.map((r) => `  ${placeOf(r)}`).join('\n')}
${before.map((code) => `  ${code}`).join('\n')}
  var x_at = blocks[z].x_start + min(group.x, m - 1u) * blocks[z].x_row;
${fetch.map((code) => `  ${code}`).join('\n')}
  for (var row = group.x; row < m; row += groups.x) {
    let out_at = blocks[z].out_start + row * blocks[z].out_row;
    workgroupBarrier();
${put.map((code) => `    ${code}`).join('\n')}
    workgroupBarrier();
    // The next row is on its way while this one is computed.
    x_at = blocks[z].x_start + min(row + groups.x, m - 1u) * blocks[z].x_row;
${fetch.map((code) => `    ${code}`).join('\n')}
${range(copies).map(copy).join('\n')}
${fours.map((r) => `    var s${r} = vec4<f32>();`).join('\n')}
    if (slice < ${slices}u) {
      // Groups that are not full read what lies behind the last vector; its products have no place.
      let a_at = tile_row * ${stride}u;
      let b_at = tile_column * ${stride}u;
      for (var step_at = slice * ${Math.ceil(steps / slices)}u; step_at < min((slice + 1u) * ${Math.ceil(steps / slices)}u, ${steps}u); step_at++) {
${fours.map((r) => `        let a${r} = held(a_at + ${r * groups * stride}u + step_at);`).join('\n')}
${fours.map((c) => `        let b${c} = held(b_at + ${c * groups * stride}u + step_at);`).join('\n')}
${fours.map((r) => `        s${r} += vec4<f32>(${fours.map((c) => `dot(a${r}, b${c})`).join(', ')});`).join('\n')}
      }
    }
    workgroupBarrier();
    if (slice < ${slices}u) {
${fours.map((r) => `      put_part((slice * 4u + ${r}u) * ${tiles}u + tile, s${r});`).join('\n')}
    }
    workgroupBarrier();
${made.map((r) => `    { ${collect(r)} }`).join('\n')}
    workgroupBarrier();
    for (var column = thread; column < ${columns}u; column += ${threads}u) { out[out_at + column * out_column] = ${madeOf('line[column]', stored, false)}; }
  }
}`;
  const key = `Interaction_${vectors}x${width}_c${copies}_${columns}${aligned ? '_vectors' : ''}${inHalves ? '_from_f16' : ''}${outHalves ? '_to_f16' : ''}`;
  return { key, source, fields, reportsErrors: false };
}
