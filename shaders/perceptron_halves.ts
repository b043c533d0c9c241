import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { madeOf, type MadeType } from './packed.js';
import {
  declareResults,
  perceptronFields,
  perceptronName,
  type LayerSizes,
  type PerceptronForm,
  type PerceptronLayout,
} from './perceptron_parts.js';
import { declareParameters, type WebGpuProgram } from './program.js';

/** A perceptron whose layers multiply in float16 on the device's matrix units; see matmul_subgroup.ts. */
export interface HalvesOptions extends PerceptronForm {
  /** Rows of the input lie in fours of features, and rows of what the last layer reads and writes in fours of columns. */
  readonly inFours: boolean;
  readonly outFours: boolean;
  /** The input is stored as halves, in eights. */
  readonly inHalves: boolean;
  /** The result is stored as halves, in fours. */
  readonly outHalves: boolean;
  /** Rows of a workgroup: 16, 32 or 64. */
  readonly rows: number;
}

const SIDE = 16;
const SUBGROUP = 32;
const SUBGROUPS = 8;
export const HALVES_THREADS = SUBGROUP * SUBGROUPS;
/** Features of a panel of workgroup memory, in tiles of 16 and in vectors of 8 halves; lines are one vector further apart. */
const PANEL_TILES = 4;
const PANEL = PANEL_TILES * SIDE;
const PITCH = PANEL / 8 + 1;
/** Columns of normalized results in a panel, as float32. */
const NORMED = PANEL / 2;
/** Vectors of 4 from a row of a tile of results to the next. */
const STRIP = SIDE / 4 + 1;
/** Vectors of 4 words in a tile of weights. */
const TILE = (SIDE * SIDE) / 8;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const tilesOf = (n: number): number => Math.ceil(n / SIDE);

/** Tiles along k of a layer. What is left of the input's last panel is multiplied too, by zeros. */
function depthOf(layers: LayerSizes, i: number): number {
  if (i > 0) return tilesOf(layers[i - 1]!.n);
  const tiles = tilesOf(layers[0]!.k);
  return tiles > PANEL_TILES ? Math.ceil(tiles / PANEL_TILES) * PANEL_TILES : tiles;
}

/**
 * Where the parameters of layers lie, in vectors of 4 words. Weights: tiles of 16 x 16 halves, those of 16 k after each
 * other; column by column within a tile. The rest: float32, filled up to whole tiles with zeros.
 */
export function halvesLayout(layers: LayerSizes, normalizes: boolean): PerceptronLayout {
  let at = 0;
  const take = (vectors: number): number => (at += vectors) - vectors;
  const weights = layers.map(({ n }, i) => take(depthOf(layers, i) * tilesOf(n) * TILE));
  const biases = layers.map(({ n }) => take(tilesOf(n) * 4));
  const line = normalizes ? tilesOf(layers.at(-1)!.n) * 4 : 0;
  return { weights, biases, scale: take(line), shift: take(line), total: at };
}

/** Where weight (k, n) of a layer lies in its tiles, in halves. */
export function halfAt(k: number, n: number, columns: number): number {
  const tile = Math.floor(k / SIDE) * tilesOf(columns) + Math.floor(n / SIDE);
  return tile * SIDE * SIDE + (n % SIDE) * SIDE + (k % SIDE);
}

function panelsOf(layers: LayerSizes, normalizes: boolean): number {
  const hidden = layers.slice(0, -1).map(({ n }) => Math.ceil(tilesOf(n) / PANEL_TILES));
  return Math.max(1, ...hidden, normalizes ? Math.ceil(layers.at(-1)!.n / NORMED) : 0);
}

/** Bytes of workgroup memory. */
export function halvesBytes(layers: LayerSizes, normalizes: boolean, rows: number): number {
  return 16 * (panelsOf(layers, normalizes) * rows * PITCH + SUBGROUPS * SIDE * STRIP);
}

/** How the tiles of a layer's results are dealt to subgroups: `rows` tiles below each other, `columns` `across` tiles apart. */
interface Share {
  readonly rows: number;
  readonly columns: number;
  readonly across: number;
  readonly busy: number;
}

function shareOf(n: number, rows: number): Share {
  const tiles = { rows: rows / SIDE, columns: tilesOf(n) };
  const across = 2 ** Math.floor(Math.log2(Math.min(SUBGROUPS, tiles.columns)));
  const down = Math.min(SUBGROUPS / across, tiles.rows);
  return { rows: tiles.rows / down, columns: Math.ceil(tiles.columns / across), across, busy: across * down };
}

/** Most tiles of sums that an invocation has registers for. */
const MOST_SUMS = 16;

/** Whether the sums of all layers fit the registers of a workgroup of `rows` rows. */
export function fitsRegisters(layers: LayerSizes, rows: number): boolean {
  return layers.every(({ n }) => {
    const share = shareOf(n, rows);
    return share.rows * share.columns <= MOST_SUMS;
  });
}

/**
 * As perceptron(), its sums in float32 and everything they multiply in float16. Workgroups of 8 subgroups keep the lines of
 * their rows in panels of 64 features; a tile of weights is read once a workgroup, straight from memory.
 *
 * Operations 2 m k n a layer, k and n filled up to 16. Memory: rows in and out once, and all weights once a workgroup.
 */
export function perceptronHalves(options: HalvesOptions): WebGpuProgram {
  const { layers, hasAddend, finish, normalizes, rank, rows, inFours, outFours, inHalves, outHalves } = options;
  const form = { layers, hasAddend, normalizes, rank, ...(finish ? { finish } : {}) };
  const fields = perceptronFields(form);
  const source = wgsl`
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
${declareParameters(fields)}
@group(0) @binding(1) var<storage, read> x: array<${inHalves ? 'vec4<u32>' : inFours ? 'vec4<f32>' : 'f32'}>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
${declareResults(form, outFours, madeType(options))}
// By panel, then by 16 rows: offsets into a part are known when the shader is compiled, and need no check.
var<workgroup> panels: array<array<array<vec4<u32>, ${SIDE * PITCH}>, ${rows / SIDE}>, ${panelsOf(layers, normalizes)}>;
var<workgroup> results: array<array<vec4<f32>, ${SIDE * STRIP}>, ${SUBGROUPS}>;

fn halves(x: vec4<f32>, y: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(pack2x16float(x.xy), pack2x16float(x.zw), pack2x16float(y.xy), pack2x16float(y.zw));
}

@compute @workgroup_size(${HALVES_THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32, @builtin(subgroup_id) my_subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let z = group.z;
  let m = blocks[z].m;
  let w_start = blocks[z].weights_start / 4u;
  let x_column = blocks[z].x_column;
  // In its subgroup's tile of results an invocation has half a row.
  let my_row = lane / 2u;
  let my_half = lane % 2u;
  let tiles = (m + ${rows - 1}u) / ${rows}u;
  for (var tile = group.x; tile < tiles; tile += groups.x) {
    let row0 = tile * ${rows}u;
${layers.map((_, i) => layerCode(options, i)).join('\n')}
${normalizes ? normalized(options) : ''}
    workgroupBarrier();
  }
}`;
  const key = `PerceptronHalves_${perceptronName(form)}${inFours ? '_in4' : ''}${outFours ? '_out4' : ''}${inHalves ? '_from_f16' : ''}${outHalves ? '_to_f16' : ''}_${rows}`;
  return { key, source, fields, reportsErrors: false };
}

function madeType({ outHalves }: HalvesOptions): MadeType {
  return outHalves ? 'f16' : 'f32';
}

function layerCode(options: HalvesOptions, i: number): string {
  const { layers, rows } = options;
  const { n } = layers[i]!;
  const share = shareOf(n, rows);
  const [rs, cs] = [range(share.rows), range(share.columns)];
  const columns = tilesOf(n);
  const depth = depthOf(layers, i);
  const layout = halvesLayout(layers, options.normalizes);
  const load = (side: string, order: string, from: string, offset: string, stride: number): string =>
    `subgroupMatrixLoad<subgroup_matrix_${side}<f16, ${SIDE}, ${SIDE}>, ${order}>(&${from}, ${offset}, ${stride}u)`;
  /** One panel of the layer's k: `tiles` of it, from tile `first` on. */
  const multiply = (panel: string, first: string, tiles: number): string =>
    range(tiles)
      .map(
        (q) => `        {
          let w_at = w_layer + (${first} + ${q}u) * ${columns * TILE}u;
${rs.map((r) => `          let a${r} = ${load('left', 'row_major', `panels[${panel}][my_rows + ${r}u]`, `${2 * q}u`, PITCH)};`).join('\n')}
${cs.map((c) => `          let b${c} = ${load('right', 'col_major', 'weights', `w_at + my_column${c} * ${TILE}u`, 2)};`).join('\n')}
${rs.flatMap((r) => cs.map((c) => `          s${r}_${c} = subgroupMatrixMultiplyAccumulate(a${r}, b${c}, s${r}_${c});`)).join('\n')}
        }`,
      )
      .join('\n');
  const [whole, rest] = [Math.floor(depth / PANEL_TILES), depth % PANEL_TILES];
  const sums =
    i === 0
      ? staged(options, Math.min(depth, PANEL_TILES), multiply)
      : `${
          whole > 0
            ? `      for (var p = 0u; p < ${whole}u; p++) {
${multiply('p', `p * ${PANEL_TILES}u`, PANEL_TILES)}
      }`
            : ''
        }
${rest > 0 ? multiply(`${whole}`, `${whole * PANEL_TILES}u`, rest) : ''}
      workgroupBarrier();`;
  return `    {
      let my_rows = my_subgroup / ${share.across}u % ${rows / SIDE / share.rows}u * ${share.rows}u;
      let is_busy = my_subgroup < ${share.busy}u;
      let w_layer = w_start + ${layout.weights[i]!}u;
${cs.map((c) => `      let my_column${c} = min(my_subgroup % ${share.across}u + ${c * share.across}u, ${columns - 1}u);`).join('\n')}
${rs.flatMap((r) => cs.map((c) => `      var s${r}_${c} = subgroup_matrix_result<f32, ${SIDE}, ${SIDE}>();`)).join('\n')}
${sums}
${rs.flatMap((r) => cs.map((c) => collected(options, i, share, r, c))).join('\n')}
    }`;
}

/** The loop of the first layer, which brings the input panel by panel. Loads of a step are on their way during the one before. */
function staged(
  { layers, rows, inFours, inHalves }: HalvesOptions,
  tiles: number,
  multiply: (panel: string, first: string, tiles: number) => string,
): string {
  const { k } = layers[0]!;
  const step = tiles * SIDE;
  const runs = step / 8;
  const units = rows * runs;
  const rounds = range(Math.ceil(units / HALVES_THREADS));
  const four = (u: number, f: number): string => {
    const at = `k_next + run${u} * 8u + ${4 * f}u`;
    // Nothing uses what is loaded before it is put: past the end of k, the last is repeated.
    if (inFours) return `x[(x_at${u} + min(${at}, ${k - 4}u)) / 4u]`;
    return `vec4<f32>(${range(4)
      .map((e) => `x[x_at${u} + min(${at} + ${e}u, ${k - 1}u) * x_column]`)
      .join(', ')})`;
  };
  const fetch = rounds
    .map((u) =>
      inHalves
        ? `x${u} = x[(x_at${u} + min(k_next + run${u} * 8u, ${k - 8}u)) / 8u];`
        : `x${u}_0 = ${four(u, 0)}; x${u}_1 = ${four(u, 1)};`,
    )
    .join('\n        ');
  const inside = (u: number, f: number): string =>
    `select(vec4<f32>(), x${u}_${f}, vec4<u32>(k_put + run${u} * 8u + ${4 * f}u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(${k}u))`;
  const put = rounds
    .map((u) => {
      const guard = (u + 1) * HALVES_THREADS > units ? `if (thread + ${u * HALVES_THREADS}u < ${units}u) ` : '';
      const eight = inHalves
        ? `select(vec4<u32>(), x${u}, k_put + run${u} * 8u < ${k}u)`
        : `halves(${inside(u, 0)}, ${inside(u, 1)})`;
      return `${guard}{ panels[0][line${u} / ${SIDE}u][line${u} % ${SIDE}u * ${PITCH}u + run${u}] = ${eight}; }`;
    })
    .join('\n        ');
  return `${rounds
    .map(
      (u) => `      let line${u} = (thread + ${u * HALVES_THREADS}u) / ${runs}u;
      let run${u} = (thread + ${u * HALVES_THREADS}u) % ${runs}u;
      let x_at${u} = at_x(z, min(row0 + line${u}, m - 1u));
      ${inHalves ? `var x${u} = vec4<u32>();` : `var x${u}_0 = vec4<f32>(); var x${u}_1 = vec4<f32>();`}`,
    )
    .join('\n')}
      var k_next = 0u;
        ${fetch}
      for (var k_put = 0u; k_put < ${k}u; k_put += ${step}u) {
        workgroupBarrier();
        ${put}
        workgroupBarrier();
        k_next = k_put + ${step}u;
        ${fetch}
${multiply('0', `k_put / ${SIDE}u`, tiles)}
      }
      workgroupBarrier();`;
}

/** Finishes a tile of results, half a row an invocation, and puts it where the next layer, the normalization or the caller reads it. */
function collected(options: HalvesOptions, i: number, { across }: Share, r: number, c: number): string {
  const { layers, normalizes } = options;
  const { n, activation } = layers[i]!;
  const columns = tilesOf(n);
  const isLast = i === layers.length - 1;
  const { biases } = halvesLayout(layers, normalizes);
  const isWhole = (c + 1) * across <= columns;
  const busy = isWhole ? 'is_busy' : `is_busy && my_subgroup % ${across}u + ${c * across}u < ${columns}u`;
  const put = isLast ? lastPut(options, `my_rows + ${r}u`) : hiddenPut(n, i, activation !== undefined, r);
  return `      subgroupMatrixStore<row_major>(&results[my_subgroup], 0u, s${r}_${c}, ${STRIP}u);
      workgroupBarrier();
      if (${busy}) {
        let column = my_column${c} * ${SIDE}u + my_half * 8u;
        let bias_at = w_start + ${biases[i]!}u + column / 4u;
        let v0 = results[my_subgroup][my_row * ${STRIP}u + my_half * 2u] + bitcast<vec4<f32>>(weights[bias_at]);
        let v1 = results[my_subgroup][my_row * ${STRIP}u + my_half * 2u + 1u] + bitcast<vec4<f32>>(weights[bias_at + 1u]);
${put}
      }
      workgroupBarrier();`;
}

function hiddenPut(n: number, i: number, isActivated: boolean, r: number): string {
  const value = (v: string, first: number): string => {
    const made = isActivated ? `chain4_${i}(z, ${v})` : v;
    // What lies beyond the last column counts as 0 in the next layer, whatever the activation makes of 0.
    return n % SIDE === 0
      ? made
      : `select(vec4<f32>(), ${made}, vec4<u32>(column + ${first}u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(${n}u))`;
  };
  return `        panels[column / ${PANEL}u][my_rows + ${r}u][my_row * ${PITCH}u + column % ${PANEL}u / 8u] = halves(${value('v0', 0)}, ${value('v1', 4)});`;
}

function lastPut(options: HalvesOptions, strip: string): string {
  const { layers, hasAddend, finish, normalizes, outFours } = options;
  const { n } = layers.at(-1)!;
  const others = (finish?.others ?? []).map((_, i) => `other${i}`);
  const read = [...(hasAddend ? ['addend'] : []), ...others];
  /** Elements of four that are stored: the whole of it where columns come in fours. */
  const stored = (e: number, code: string): string =>
    outFours || n % SIDE === 0 ? code : `if (at + ${e}u < ${n}u) { ${code} }`;
  const four = (part: number): string => {
    const v = `v${part}`;
    const loaded = (o: string): string =>
      outFours
        ? `${o}[(${o}_at + min(at, ${n - 4}u)) / 4u]`
        : `vec4(${range(4)
            .map((e) => `${o}[${o}_at + min(at + ${e}u, ${n - 1}u) * blocks[z].${o}_column]`)
            .join(', ')})`;
    const result = [...'xyzw'].map((x) => {
      const sum = hasAddend ? `${v}.${x} + addend_.${x}` : `${v}.${x}`;
      return finish ? `chain(${['z', sum, ...others.map((o) => `${o}_.${x}`)].join(', ')})` : sum;
    });
    const put = normalizes
      ? `panels[at / ${NORMED}u][${strip}][my_row * ${PITCH}u + at % ${NORMED}u / 4u] = bitcast<vec4<u32>>(made);`
      : outFours
        ? `if (at < ${n}u) { out[(out_at + at) / 4u] = ${madeOf('made', madeType(options), true)}; }`
        : range(4)
            .map((e) => stored(e, `out[out_at + (at + ${e}u) * blocks[z].out_column] = made.${'xyzw'[e]};`))
            .join(' ');
    return `          {
            let at = column + ${4 * part}u;
${read.map((o) => `            let ${o}_ = ${loaded(o)};`).join('\n')}
            let made = vec4<f32>(${result.join(', ')});
            ${put}
          }`;
  };
  // A row past the last reads what the last reads, and is not stored.
  return `        let row = min(row0 + (${strip}) * ${SIDE}u + my_row, m - 1u);
${[...(normalizes ? read : ['out', ...read])].map((o) => `        let ${o}_at = at_${o}(z, row);`).join('\n')}
        if (${normalizes ? 'true' : `row0 + (${strip}) * ${SIDE}u + my_row < m`}) {
${four(0)}
${four(1)}
        }`;
}

/** Normalizes the rows that lie in the panels as float32, each by neighbouring invocations, and stores them. */
function normalized(options: HalvesOptions): string {
  const { layers, rows, outFours } = options;
  const { n } = layers.at(-1)!;
  const fours = n / 4;
  const { scale, shift } = halvesLayout(layers, true);
  const perRow = Math.min(SUBGROUP, HALVES_THREADS / rows);
  const mine = range(Math.ceil(fours / perRow));
  const held = (j: number): string => `part + ${j * perRow}u`;
  const isWhole = fours % perRow === 0;
  const guarded = (j: number, code: string): string =>
    isWhole || j < mine.length - 1 ? code : `if (${held(j)} < ${fours}u) { ${code} }`;
  const total = (name: string): string =>
    range(Math.log2(perRow))
      .map((b) => `      ${name} += subgroupShuffleXor(${name}, ${1 << b}u);`)
      .join('\n');
  return `    {
      let in_tile = thread / ${perRow}u;
      let part = thread % ${perRow}u;
      var sum = 0.0;
${mine
  .map(
    (j) => `      var v${j} = vec4<f32>();
      ${guarded(j, `v${j} = bitcast<vec4<f32>>(panels[(${held(j)}) / ${NORMED / 4}u][in_tile / ${SIDE}u % ${rows / SIDE}u][in_tile % ${SIDE}u * ${PITCH}u + (${held(j)}) % ${NORMED / 4}u]);`)}
      sum += dot(v${j}, vec4<f32>(1.0));`,
  )
  .join('\n')}
${total('sum')}
      let mean = sum / ${n}.0;
      var squares = 0.0;
${mine.map((j) => `      ${guarded(j, `v${j} -= mean; squares += dot(v${j}, v${j});`)}`).join('\n')}
${total('squares')}
      let inverse = 1.0 / sqrt(squares / ${n}.0 + blocks[z].epsilon);
      if (row0 + in_tile < m) {
        let out_at = at_out(z, row0 + in_tile);
        ${outFours ? '' : 'let step = blocks[z].out_column;'}
${mine
  .map((j) =>
    guarded(
      j,
      `{
          let r = v${j} * inverse * bitcast<vec4<f32>>(weights[w_start + ${scale}u + ${held(j)}]) + bitcast<vec4<f32>>(weights[w_start + ${shift}u + ${held(j)}]);
          ${
            outFours
              ? `out[out_at / 4u + ${held(j)}] = ${madeOf('r', madeType(options), true)};`
              : `let at = out_at + 4u * (${held(j)}) * step; ${range(4)
                  .map((e) => `out[at + ${e}u * step] = r.${'xyzw'[e]};`)
                  .join(' ')}`
          }
        }`,
    ),
  )
  .join('\n')}
      }
    }`;
}
