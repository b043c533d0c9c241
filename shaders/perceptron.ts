import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import {
  declareResults,
  perceptronFields,
  perceptronName,
  type PerceptronForm,
  type PerceptronLayer,
} from './perceptron_parts.js';
import { declareParameters, declareStorage, type WebGpuProgram } from './program.js';

export interface PerceptronOptions extends PerceptronForm {
  /**
   * Columns of what the last layer reads and writes lie together in fours. For results that are normalized: each
   * invocation then has results of its own, in registers, and the last layer has at most as many groups of 4 columns and 4
   * rows as there are invocations.
   */
  readonly vectors: boolean;
  /** Rows of a workgroup, a multiple of 4, and its invocations. */
  readonly rows: number;
  readonly threads: number;
}

/** Groups of 4 columns of a layer. */
export function columnGroups(n: number): number {
  return Math.ceil(n / 4);
}

/**
 * Where column `column` of a hidden layer lies among its 4 columnGroups(n) places: neighbouring invocations, which make
 * neighbouring groups, then write neighbouring places. The next layer's weights follow in this order.
 */
export function placeOf(column: number, n: number): number {
  return (column % 4) * columnGroups(n) + Math.floor(column / 4);
}

/** Vectors of 4 of the parameters: of each layer weights [places of the layer before, columns] and bias, then a scale and a shift. */
export function parameterVectors(layers: readonly Pick<PerceptronLayer, 'k' | 'n'>[], normalizes: boolean): number {
  const sizes = layers.map(({ n }, i) => (depthOf(layers, i) + 1) * columnGroups(n));
  return sizes.reduce((a, b) => a + b, 0) + (normalizes ? 2 * columnGroups(layers.at(-1)!.n) : 0);
}

/** Steps of a layer's sum: features of the input, places of the layer before. */
function depthOf(layers: readonly Pick<PerceptronLayer, 'k' | 'n'>[], i: number): number {
  return i === 0 ? layers[0]!.k : 4 * columnGroups(layers[i - 1]!.n);
}

/** Bytes of workgroup memory for a part of the input, and the most parts of a sum. */
const [INPUT_BYTES, MOST_SLICES] = [12_288, 64];
/** Steps of a sum that a slice has at least, and that it has a multiple of. */
const LEAST_STEPS = 4;
/**
 * Places of a block of workgroup memory, which is an array of arrays: an index that is known when the shader is written
 * needs no check, and one that changes once a block is checked once.
 */
const BLOCK = 4;

/** How a layer is shared out: an invocation makes `per` rows of 4 columns, of all or one of `slices` parts of the sum. */
interface Cut {
  readonly k: number;
  readonly per: number;
  readonly groups: number;
  readonly columns: number;
  readonly units: number;
  readonly slices: number;
}

interface Plan {
  /** Vectors between neighbouring places: odd, so that neighbours lie in different banks. */
  readonly stride: number;
  readonly chunk: number;
  readonly cuts: readonly Cut[];
  /**
   * Where the inputs of even and of odd layers lie, in vectors, as is `total`: whole blocks of places. Partial sums take
   * the input's place.
   */
  readonly bases: readonly [even: number, odd: number];
  readonly total: number;
}

type Sizes = Pick<PerceptronOptions, 'layers' | 'rows' | 'threads' | 'normalizes'>;

function planOf({ layers, rows, threads, normalizes }: Sizes): Plan {
  const stride = (rows / 4) % 2 === 0 ? rows / 4 + 1 : rows / 4;
  const most = Math.floor(INPUT_BYTES / (16 * stride) / 32) * 32;
  const chunk = Math.min(layers[0]!.k, most);
  const cuts = layers.map(({ n }, i): Cut => {
    const [k, groups] = [depthOf(layers, i), columnGroups(n)];
    // More registers an invocation where that leaves none idle, otherwise parts of the sum.
    const isKept = normalizes && i === layers.length - 1;
    const per = !isKept && rows >= 8 && groups * (rows / 8) >= threads ? 8 : 4;
    const units = groups * (rows / per);
    let slices = 1;
    const steps = i === 0 ? chunk : k;
    while (2 * slices * units <= threads && 2 * slices <= MOST_SLICES && steps / (2 * slices) >= LEAST_STEPS)
      slices *= 2;
    const columns = i === layers.length - 1 ? Math.min(4, n) : 4;
    return { k, per, groups, columns, units, slices };
  });
  const kept = normalizes ? cuts.slice(0, -1) : cuts;
  const widths = [chunk, ...kept.map((c) => 4 * c.groups)].map((places) => places * stride);
  const partials = cuts.map((c) => (c.slices > 1 ? c.units * c.slices * c.columns * (c.per / 4) : 0));
  // Sums of normalized rows and of their squares lie where the next layer would.
  const sums: readonly [number, number][] = normalizes ? [[cuts.length, 2 * cuts.at(-1)!.units]] : [];
  const block = BLOCK * stride;
  const size = (parity: number): number => {
    const taken = [...widths.entries(), ...partials.entries(), ...sums].filter(([i]) => i % 2 === parity);
    return Math.ceil(Math.max(0, ...taken.map(([, s]) => s)) / block) * block;
  };
  return { stride, chunk, cuts, bases: [0, size(0)], total: size(0) + size(1) };
}

/** Bytes of workgroup memory that a perceptron takes. */
export function perceptronBytes(options: Sizes): number {
  return 16 * planOf(options).total;
}

/** Vector `within` of a place of a region that begins at vector `base`. */
function placed(base: number, stride: number, place: string, within: string): string {
  return `memory[${base / (BLOCK * stride)}u + (${place}) / ${BLOCK}u][(${place}) % ${BLOCK}u][${within}]`;
}

/** The vector at index `at` of all memory. */
function flat(stride: number, at: string): string {
  return `memory[(${at}) / ${BLOCK * stride}u][(${at}) / ${stride}u % ${BLOCK}u][(${at}) % ${stride}u]`;
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/**
 * Layers of a small perceptron, one after another, for a few rows a workgroup: what is between them stays in workgroup
 * memory, rows of a place together; weights come from the nearest cache. What follows the last layer, a sum, functions,
 * a normalization, is done before the results are stored.
 *
 * Operations 2 m k n a layer. Memory: rows in and out once, and all weights once a workgroup.
 */
export function perceptron(options: PerceptronOptions): WebGpuProgram {
  const { layers, hasAddend, finish, normalizes, vectors, rank, rows, threads } = options;
  const plan = planOf(options);
  const form = { layers, hasAddend, normalizes, rank, ...(finish ? { finish } : {}) };
  const fields = perceptronFields(form);
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'x', 'f32', 'read')}
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
${declareResults(form, vectors)}
var<workgroup> memory: array<array<array<vec4<f32>, ${plan.stride}>, ${BLOCK}>, ${plan.total / (BLOCK * plan.stride)}>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let z = group.z;
  let m = blocks[z].m;
  let w_start = blocks[z].weights_start / 4u;
  let tiles = (m + ${rows - 1}u) / ${rows}u;
  for (var tile = group.x; tile < tiles; tile += groups.x) {
    let row0 = tile * ${rows}u;
${layers.map((_, i) => layerCode(options, plan, i)).join('\n')}
${normalizes ? '' : stored(options, plan)}
    workgroupBarrier();
  }
}`;
  const key = `Perceptron_${perceptronName(form)}${vectors ? '_vectors' : ''}_${rows}x${threads}`;
  return { key, source, fields, reportsErrors: false };
}

/** Vectors of parameters before layer `i`. */
function weightsBefore(layers: readonly PerceptronLayer[], i: number): number {
  return parameterVectors(layers.slice(0, i), false);
}

function layerCode(options: PerceptronOptions, plan: Plan, i: number): string {
  const { layers, rows, threads } = options;
  const { stride, chunk, bases } = plan;
  const cut = plan.cuts[i]!;
  const { k, per, groups, columns, units, slices } = cut;
  const [from, to] = [bases[i % 2]!, bases[(i + 1) % 2]!];
  const [cs, qs] = [range(columns), range(per / 4)];
  const { n, activation } = layers[i]!;
  const weights = weightsBefore(layers, i);
  const bias = weights + k * groups;
  const unroll = per === 4 ? 8 : 4;
  const registers = cs.flatMap((c) => qs.map((q) => ({ name: `s${c}_${q}`, c, q })));
  /** Registers' names keep the loads of several steps ahead of their arithmetic. */
  const steps = (count: number): string => {
    const place = (s: number): string => (count === 1 ? '[at_step % 4u]' : `[${s % BLOCK}]`);
    const block = (s: number): string => (count === 1 ? 'at_step / 4u' : `at_step / 4u + ${Math.floor(s / BLOCK)}u`);
    const loads = range(count).flatMap((s) => [
      `let w${s} = weights[w_at + ${s * groups}u];`,
      ...qs.map(
        (q) => `let x${s}_${q} = memory[${from / (BLOCK * stride)}u + ${block(s)}]${place(s)}[x_within + ${q}u];`,
      ),
    ]);
    const sums = range(count).flatMap((s) =>
      registers.map(({ name, c, q }) => `${name} += w${s}.${'xyzw'[c]} * x${s}_${q};`),
    );
    return [...loads, ...sums, `w_at += ${count * groups}u;`].join(' ');
  };
  const perSlice = Math.ceil((i === 0 ? chunk : k) / slices / BLOCK) * BLOCK;
  const sumUp = (stepsInMemory: string, first: string): string => `
      {
        let from_step = ${slices > 1 ? `min(slice * ${perSlice}u, ${stepsInMemory})` : '0u'};
        let to_step = ${slices > 1 ? `min(from_step + ${perSlice}u, ${stepsInMemory})` : stepsInMemory};
        var w_at = w_start + ${weights}u + (${first} + from_step) * ${groups}u + t;
        let x_within = g * ${per / 4}u;
        var at_step = from_step;
        for (; at_step + ${unroll}u <= to_step; at_step += ${unroll}u) { ${steps(unroll)} }
        for (; at_step < to_step; at_step++) { ${steps(1)} }
      }`;
  const store = (c: string, unit: string, q: string): string =>
    placed(to, stride, `${c} * ${groups}u + ${unit} % ${groups}u`, `(${unit} / ${groups}u) * ${per / 4}u + ${q}`);
  // What lies beyond the last column counts as 0 in the next layer, whatever the activation makes of 0.
  const guarded = (value: string, column: string): string =>
    n % 4 === 0 ? value : `select(vec4<f32>(), ${value}, ${column} < ${n}u)`;
  const finished = (value: string, column: string): string =>
    guarded(activation ? `chain4_${i}(z, ${value})` : value, column);
  const parts = registers.length * slices;
  return `
    for (var unit0 = 0u; unit0 < ${units}u; unit0 += ${threads}u) {
      let unit = ${slices > 1 ? `thread % ${units}u` : 'unit0 + thread'};
      let slice = thread / ${units}u;
      let busy = ${slices > 1 ? `slice < ${slices}u` : `unit < ${units}u`};
      let t = unit % ${groups}u;
      let g = unit / ${groups}u;
${registers.map(({ name }) => `      var ${name} = vec4<f32>();`).join('\n')}
${
  i === 0
    ? `      for (var k0 = 0u; k0 < ${k}u; k0 += ${chunk}u) {
        let held = min(${chunk}u, ${k}u - k0);
        // Neighbours read neighbouring features; rows past the last repeat it.
        for (var e = thread; e < held * ${rows / 4}u; e += ${threads}u) {
          let feature = e % held;
          let q = e / held;
          let row = row0 + q * 4u;
          let column = (k0 + feature) * blocks[z].x_column;
          ${placed(from, stride, 'feature', 'q')} = vec4<f32>(${range(4)
            .map((r) => `x[at_x(z, min(row + ${r}u, m - 1u)) + column]`)
            .join(', ')});
        }
        workgroupBarrier();
        if (busy) {${sumUp('held', 'k0')}
        }
        workgroupBarrier();
      }`
    : `      if (busy) {${sumUp(`${k}u`, '0u')}
      }`
}
${
  options.normalizes && i === layers.length - 1
    ? `${collected(cut, stride, from)}\n${normalized(options, stride, bias, to)}`
    : slices > 1
      ? `${i === 0 ? '' : '      workgroupBarrier();\n'}      if (busy) {
${registers.map(({ name }, r) => `        ${flat(stride, `${from + r * slices * units}u + slice * ${units}u + unit`)} = ${name};`).join('\n')}
      }
      workgroupBarrier();
      for (var e = thread; e < ${registers.length * units}u; e += ${threads}u) {
        let made = e % ${units}u;
        let c = e / ${units * qs.length}u;
        let q = e / ${units}u % ${qs.length}u;
        let first = ${from}u + (e / ${units}u) * ${slices * units}u + made;
        var sum = vec4<f32>(weights[w_start + ${bias}u + made % ${groups}u][c]);
        for (var s = 0u; s < ${slices}u; s++) { let at = first + s * ${units}u; sum += ${flat(stride, 'at')}; }
        ${store('c', 'made', 'q')} = ${finished('sum', `(made % ${groups}u) * 4u + c`)};
      }`
      : `      if (busy) {
        let bias = weights[w_start + ${bias}u + t];
${registers
  .map(({ name, c, q }) => {
    const sum = `${name} + bias.${'xyzw'[c]}`;
    return `        ${store(`${c}u`, 'unit', `${q}u`)} = ${activation ? sum : guarded(sum, `t * 4u + ${c}u`)};`;
  })
  .join('\n')}
${
  activation
    ? `        // Its own results again: one place for the function, since compilers inline it.
        for (var e = 0u; e < ${parts}u; e++) {
          let made = ${store(`(e / ${qs.length}u)`, 'unit', `e % ${qs.length}u`)};
          ${store(`(e / ${qs.length}u)`, 'unit', `e % ${qs.length}u`)} = ${finished('made', `t * 4u + e / ${qs.length}u`)};
        }`
    : ''
}
      }`
}
    }
    workgroupBarrier();`;
}

function stored({ layers, rows, threads, hasAddend, finish }: PerceptronOptions, { bases, stride }: Plan): string {
  const { n } = layers.at(-1)!;
  const place = `(column % 4u) * ${columnGroups(n)}u + column / 4u`;
  const element = `${placed(bases[layers.length % 2]!, stride, place, 'in_tile / 4u')}[in_tile % 4u]`;
  const read = (o: string): string => `${o}[at_${o}(z, row) + column * blocks[z].${o}_column]`;
  const sum = hasAddend ? `${element} + ${read('addend')}` : element;
  const others = (finish?.others ?? []).map((_, i) => read(`other${i}`));
  return `    for (var e = thread; e < ${rows * n}u; e += ${threads}u) {
      let column = e % ${n}u;
      let in_tile = e / ${n}u;
      let row = row0 + in_tile;
      if (row < m) {
        out[at_out(z, row) + column * blocks[z].out_column] = ${finish ? `chain(${['z', sum, ...others].join(', ')})` : sum};
      }
    }`;
}

/** The parts of a sum that slices have of 4 x 4 results, in the registers of the first. */
function collected({ units, slices }: Cut, stride: number, memory: number): string {
  if (slices === 1) return '';
  const registers = range(4);
  const at = (slice: string, c: number): string =>
    flat(stride, `${memory + c * units}u + (${slice} - 1u) * ${4 * units}u + unit`);
  return `      workgroupBarrier();
      if (slice > 0u && busy) {
${registers.map((c) => `        ${at('slice', c)} = s${c}_0;`).join('\n')}
      }
      workgroupBarrier();
      for (var s = 1u; s < ${slices}u; s++) {
${registers.map((c) => `        s${c}_0 += ${at('s', c)};`).join('\n')}
      }`;
}

/** Finishes and normalizes what invocations have of their rows, 4 x 4 results in registers s0_0 to s3_0, and stores it. */
function normalized(
  { layers, rows, hasAddend, finish, vectors }: PerceptronOptions,
  stride: number,
  bias: number,
  memory: number,
): string {
  const { n } = layers.at(-1)!;
  const groups = columnGroups(n);
  const parameters = parameterVectors(layers, false);
  const fours = range(4);
  const operands = [...(hasAddend ? ['addend'] : []), ...(finish?.others ?? []).map((_, i) => `other${i}`)];
  const load = (o: string, r: number): string =>
    vectors
      ? `${o}[at_${o}(z, at_row${r}) / 4u + t]`
      : `vec4(${fours.map((c) => `${o}[at_${o}(z, at_row${r}) + (4u * t + ${c}u) * blocks[z].${o}_column]`).join(', ')})`;
  const result = (r: number, c: number): string => {
    const sum = `s${c}_0[${r}]${hasAddend ? ` + addend${r}[${c}]` : ''}`;
    const others = (finish?.others ?? []).map((_, i) => `other${i}${r}[${c}]`);
    return finish ? `chain(${['z', sum, ...others].join(', ')})` : sum;
  };
  const store = (r: number): string => {
    const values = fours.map((c) => `s${c}_0[${r}]`);
    const at = `at_out(z, row0 + g * 4u + ${r}u)`;
    const stores = vectors
      ? `out[${at} / 4u + t] = vec4<f32>(${values.join(', ')});`
      : values.map((v, c) => `out[${at} + (4u * t + ${c}u) * blocks[z].out_column] = ${v};`).join(' ');
    return `      if (slice == 0u && row0 + g * 4u + ${r}u < m) { ${stores} }`;
  };
  const sums = { sums: memory, squares: memory + groups * (rows / 4) };
  const total = (of: keyof typeof sums): string => `      var total_${of} = vec4<f32>();
      for (var l = 0u; l < ${groups}u; l++) { let at = ${sums[of]}u + g * ${groups}u + l; total_${of} += ${flat(stride, 'at')}; }`;
  return `      let bias = weights[w_start + ${bias}u + t];
${fours.map((c) => `      s${c}_0 += bias.${'xyzw'[c]};`).join('\n')}
${fours.map((r) => `      let at_row${r} = min(row0 + g * 4u + ${r}u, m - 1u);`).join('\n')}
${operands.flatMap((o) => fours.map((r) => `      let ${o}${r} = ${load(o, r)};`)).join('\n')}
${fours.map((c) => `      s${c}_0 = vec4<f32>(${fours.map((r) => result(r, c)).join(', ')});`).join('\n')}
      if (slice == 0u) { ${flat(stride, `${sums.sums}u + unit`)} = s0_0 + s1_0 + s2_0 + s3_0; }
      workgroupBarrier();
${total('sums')}
      let mean = total_sums / ${n}.0;
${fours.map((c) => `      s${c}_0 -= mean;`).join('\n')}
      if (slice == 0u) { ${flat(stride, `${sums.squares}u + unit`)} = s0_0 * s0_0 + s1_0 * s1_0 + s2_0 * s2_0 + s3_0 * s3_0; }
      workgroupBarrier();
${total('squares')}
      let inverse = 1.0 / sqrt(total_squares / ${n}.0 + blocks[z].epsilon);
      let scale = weights[w_start + ${parameters}u + t];
      let shift = weights[w_start + ${parameters + groups}u + t];
${fours.map((c) => `      s${c}_0 = s${c}_0 * inverse * scale.${'xyzw'[c]} + shift.${'xyzw'[c]};`).join('\n')}
${fours.map(store).join('\n')}`;
}
