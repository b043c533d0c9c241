import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { placeThread, range } from './matmul_parts.js';
import { columnGroups, parameterVectors } from './perceptron.js';
import {
  declareResults,
  perceptronFields,
  perceptronName,
  type LayerSizes,
  type PerceptronForm,
} from './perceptron_parts.js';
import { declareParameters, declareStorage, type WebGpuProgram } from './program.js';
import {
  accumulate,
  blockDown,
  blockThreads,
  declareSums,
  FOUR,
  keepRows,
  PAIR,
  placePitch,
  placesType,
  stageRows,
  stageWeights,
  sumOf,
  sumsOf,
  weightsType,
  type RegisterBlock,
  type Rows,
  type Staged,
} from './register_sums.js';

export interface BlockedPerceptronOptions extends PerceptronForm {
  /** Rows of the input lie in fours of features. */
  readonly inFours: boolean;
  /** Columns of what the last layer reads and writes lie together in fours. */
  readonly outFours: boolean;
  readonly block: RegisterBlock;
}

/** Columns that are handed from a layer to the next at once, and features that an input is kept whole up to. */
const PIECE = 64;
/** Last columns that each invocation sums its part of, instead of some invocations all parts. */
const FEW = 4;
/** Most fours of columns of an invocation. */
const MOST_FOURS = 2;

interface Plan {
  /** Fours of columns of an invocation, by layer. */
  readonly fours: readonly number[];
  /** The first layer is computed piece by piece, each for the second at once: its input stays in workgroup memory. */
  readonly isPiecewise: boolean;
  /** Few columns of the last layer are summed from the registers of the layer before. */
  readonly isFew: boolean;
  /** Steps of a sum that weights are staged for, and fours of columns of an invocation that they are staged for. */
  readonly steps: number;
  readonly staged: number;
  /**
   * Places of workgroup memory that layers, and sums of normalized rows, are handed over in, an input that comes step by
   * step too; and those of an input that is kept.
   */
  readonly places: number;
  readonly inputPlaces: number;
}

/** Whether the first layer is computed piece by piece, so that its width takes no registers. */
export function isPiecewise(layers: LayerSizes, normalizes: boolean): boolean {
  return layers[0]!.k <= PIECE && layers.length > (isFew(layers, normalizes) ? 2 : 1);
}

function isFew(layers: LayerSizes, normalizes: boolean): boolean {
  return layers.at(-1)!.n <= FEW && layers.length > 1 && !normalizes;
}

function planOf(layers: LayerSizes, normalizes: boolean, block: RegisterBlock): Plan {
  const { rows, across } = block;
  const [few, pieces] = [isFew(layers, normalizes), isPiecewise(layers, normalizes)];
  const kept = layers.map(({ n }) => Math.ceil(columnGroups(n) / across));
  const fours = pieces ? [Math.ceil(PIECE / 4 / across), ...kept.slice(1)] : kept;
  const staged = Math.max(...(few ? fours.slice(0, -1) : fours));
  const steps = staged * across > 64 ? 8 : 16;
  const isHanded = layers.length > (few ? 2 : 1);
  const summed = Math.max(normalizes ? across : 0, few ? across + Math.ceil(blockThreads(block) / rows) : 0);
  const handed = isHanded ? (pieces ? PIECE : Math.min(PIECE, 4 * across)) : 0;
  const up = (places: number): number => Math.ceil(places / steps) * steps;
  return {
    fours,
    isPiecewise: pieces,
    isFew: few,
    steps,
    staged,
    places: up(Math.max(handed, summed, pieces ? 0 : 1)),
    inputPlaces: pieces ? up(layers[0]!.k) : 0,
  };
}

/** Bytes of workgroup memory. */
export function blockedPerceptronBytes(layers: LayerSizes, normalizes: boolean, block: RegisterBlock): number {
  const { steps, staged, places, inputPlaces } = planOf(layers, normalizes, block);
  return 16 * ((places + inputPlaces) * placePitch(block) + steps * staged * block.across);
}

/** Whether an invocation has registers for the sums of all layers. */
export function fitsBlockedPerceptron(layers: LayerSizes, normalizes: boolean, block: RegisterBlock): boolean {
  return planOf(layers, normalizes, block).fours.every((fours) => fours <= MOST_FOURS);
}

/** Names and code that parts of a kernel share. */
interface Context extends BlockedPerceptronOptions {
  readonly plan: Plan;
}

/**
 * As perceptron(), for many rows: each layer is a product of outer products in registers, whose weights come through
 * workgroup memory. A hidden layer stays in the registers of the invocations that made it, and is handed to the next by
 * pieces of 64 columns; where the input is narrow, pieces of the first layer are made one after another instead.
 *
 * Operations 2 m k n a layer. Memory: rows in and out once, and all weights once a workgroup.
 */
export function blockedPerceptron(options: BlockedPerceptronOptions): WebGpuProgram {
  const { layers, hasAddend, finish, normalizes, rank, inFours, outFours, block } = options;
  const plan = planOf(layers, normalizes, block);
  const { steps, staged, places, inputPlaces } = plan;
  const threads = blockThreads(block);
  const form = { layers, hasAddend, normalizes, rank, ...(finish ? { finish } : {}) };
  const fields = perceptronFields(form);
  const context = { ...options, plan };
  const firstKept = plan.isPiecewise ? 1 : 0;
  const lastKept = layers.length - (plan.isFew ? 2 : 1);
  const handed = range(lastKept - firstKept).map((i) => firstKept + i);
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'x', 'f32', 'read', inFours)}
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
${declareResults(form, outFours)}
${inputPlaces > 0 ? `var<workgroup> input: ${placesType(block, steps, inputPlaces)};` : ''}
var<workgroup> handed: ${placesType(block, steps, places)};
var<workgroup> w_tile: ${weightsType(block, steps, staged)};
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let z = group.z;
  let m = blocks[z].m;
  let w_start = blocks[z].weights_start / 4u;
${placeThread(blockDown(block), block.across)}
  let tiles = (m + ${block.rows - 1}u) / ${block.rows}u;
  for (var tile = group.x; tile < tiles; tile += groups.x) {
    let row0 = tile * ${block.rows}u;
${plan.isPiecewise ? piecewise(context) : streamed(context)}
${handed.map((i) => handOver(context, i)).join('\n')}
${plan.isFew ? few(context) : finished(context)}
    workgroupBarrier();
  }
}`;
  const marks = `${inFours ? '_in4' : ''}${outFours ? '_out4' : ''}`;
  const key = `PerceptronBlocked_${perceptronName(form)}${marks}_${block.rows}x${threads}`;
  return { key, source, fields, reportsErrors: false };
}

/** The name of a layer's sums. */
function nameOf(i: number): string {
  return `s${i}`;
}

function declare({ plan }: Context, i: number): string {
  return declareSums(nameOf(i), plan.fours[i]!);
}

/** Vectors of parameters before layer `i`, and before its bias. */
function weightsBefore(layers: LayerSizes, i: number): number {
  return parameterVectors(layers.slice(0, i), false);
}

function biasBefore(layers: LayerSizes, i: number): number {
  const depth = i === 0 ? layers[0]!.k : 4 * columnGroups(layers[i - 1]!.n);
  return weightsBefore(layers, i) + depth * columnGroups(layers[i]!.n);
}

/** Adds up layer `i` over `depth` places of `from`. @param others what comes step by step beside the weights. */
function addUp(
  { layers, plan, block }: Context,
  i: number,
  depth: number,
  from: string,
  rowOf: (place: string) => string,
  column = '0u',
  others: readonly Staged[] = [],
): string {
  const fours = plan.fours[i]!;
  const weights = stageWeights(block, plan.steps, {
    before: `w_start + ${weightsBefore(layers, i)}u`,
    groups: columnGroups(layers[i]!.n),
    column,
    fours,
    depth,
    rowOf,
  });
  return accumulate(block, plan.steps, { name: nameOf(i), fours }, depth, [...others, weights], from);
}

function inputOf({ layers, inFours }: Context): Rows {
  return { features: layers[0]!.k, inFours, startOf: (line) => `at_x(z, min(row0 + ${line}, m - 1u))` };
}

/** The first layer, all columns at once, its input coming step by step. */
function streamed(context: Context): string {
  const { layers, plan, block } = context;
  const rows = stageRows(block, plan.steps, inputOf(context), 'handed');
  return `${declare(context, 0)}
    {
      let x_column = blocks[z].x_column;
${addUp(context, 0, layers[0]!.k, 'handed[0]', (place) => place, '0u', [rows])}
    }`;
}

/** The first two layers where the input is kept whole: a piece of the first, then its part of the sums of the second. */
function piecewise(context: Context): string {
  const { layers, plan, block } = context;
  const groups = columnGroups(layers[0]!.n);
  const whole = Math.floor(groups / (PIECE / 4));
  const rest = groups % (PIECE / 4);
  /** Columns from four `first` on. */
  const piece = (first: string, count: number): string => `${declare(context, 0)}
      {
${addUp(context, 0, layers[0]!.k, 'input[step]', (place) => place, first)}
      }
${range(plan.fours[0]!)
  .map((c) => `my_column + ${c * block.across}u`)
  .map((local, c) => hand(context, 0, c, count, local, `${first} + ${local}`))
  .join('\n')}
      {
${addUp(context, 1, 4 * count, 'handed[step]', rowIn(first, count, groups))}
      }`;
  return `${declare(context, 1)}
    {
      let x_column = blocks[z].x_column;
${keepRows(block, plan.steps, inputOf(context), 'input')}
    }
${
  whole > 0
    ? `    for (var first = 0u; first < ${(whole * PIECE) / 4}u; first += ${PIECE / 4}u) {
${piece('first', PIECE / 4)}
    }`
    : ''
}
${rest > 0 ? `    {\n${piece(`${(whole * PIECE) / 4}u`, rest)}\n    }` : ''}`;
}

/** The row of the parameters for a place of a piece of `count` fours of columns, of `groups`, from four `first` on. */
function rowIn(first: string, count: number, groups: number): (place: string) => string {
  return (place) => `${place} / ${count}u * ${groups}u + ${first} + ${place} % ${count}u`;
}

/** Finishes sums of layer `i`, four `c` of each invocation, and puts those of `count` fours where the next layer reads them. */
function hand(
  { layers, plan, block }: Context,
  i: number,
  c: number,
  count: number,
  local: string,
  four: string,
): string {
  const { n, activation } = layers[i]!;
  const { steps } = plan;
  const values = FOUR.flatMap((j) =>
    PAIR.map((g) => {
      const column = `vec4<f32>(${FOUR.map((r) => `${sumOf(nameOf(i), g, r, c)}.${'xyzw'[j]}`).join(', ')}) + bias.${'xyzw'[j]}`;
      const made = activation ? `chain4_${i}(z, ${column})` : column;
      // What lies beyond the last column counts as 0 in the next layer, whatever the activation makes of 0.
      const guarded = n % 4 === 0 ? made : `select(vec4<f32>(), ${made}, (${four}) * 4u + ${j}u < ${n}u)`;
      const place = `(local + ${j * count}u)`;
      return `        handed[${place} / ${steps}u][${place} % ${steps}u][my_row + ${g * blockDown(block)}u] = ${guarded};`;
    }),
  );
  const code = `      {
        let local = ${local};
        let bias = weights[w_start + ${biasBefore(layers, i)}u + ${four}];
${values.join('\n')}
      }`;
  return count === block.across ? code : `      if (${local} < ${count}u) ${code.trimStart()}`;
}

/** Layer `i` + 1 from the registers of layer `i`, piece by piece. */
function handOver(context: Context, i: number): string {
  const { layers, plan, block } = context;
  const groups = columnGroups(layers[i]!.n);
  const width = Math.min(PIECE / 4, block.across);
  const pieces = range(plan.fours[i]!).flatMap((c) =>
    range(block.across / width).map((p) => ({ c, first: c * block.across + p * width })),
  );
  return `${declare(context, i + 1)}
${pieces
  .filter(({ first }) => first < groups)
  .map(({ c, first }) => {
    const count = Math.min(width, groups - first);
    return `    {
${hand(context, i, c, count, `my_column - ${first % block.across}u`, `${c * block.across}u + my_column`)}
${addUp(context, i + 1, 4 * count, 'handed[step]', rowIn(`${first}u`, count, groups))}
    }`;
  })
  .join('\n')}`;
}

/** What the last layer's sum becomes. */
function resultOf({ hasAddend, finish }: Context, sum: string, read: (operand: string) => string): string {
  const added = hasAddend ? `${sum} + ${read('addend')}` : sum;
  const others = (finish?.others ?? []).map((_, i) => read(`other${i}`));
  return finish ? `chain(${['z', added, ...others].join(', ')})` : added;
}

/** A last layer of few columns: each invocation has a part of the sum of its rows in its registers. */
function few(context: Context): string {
  const { layers, plan, block } = context;
  const i = layers.length - 2;
  const { n } = layers.at(-1)!;
  const { n: width, activation } = layers[i]!;
  const { steps } = plan;
  const groups = columnGroups(width);
  const parts = blockThreads(block) / block.rows;
  const at = (place: string): string => `handed[(${place}) / ${steps}u][(${place}) % ${steps}u]`;
  const weight = (j: number, c: number): string => `weights[w_last + ${j * groups}u + four${c}][column]`;
  const prepared = range(plan.fours[i]!).map((c) => {
    const rows = PAIR.flatMap((g) =>
      FOUR.map((r) => {
        const s = sumOf(nameOf(i), g, r, c);
        const made = activation ? `chain4_${i}(z, ${s} + bias)` : `${s} + bias`;
        return `      ${s} = ${width % 4 === 0 ? made : `select(vec4<f32>(), ${made}, inside)`};`;
      }),
    );
    return `    {
      let four = min(my_column + ${c * block.across}u, ${groups - 1}u);
      let bias = weights[w_start + ${biasBefore(layers, i)}u + four];
      ${width % 4 === 0 ? '' : `let inside = vec4<u32>(four * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(${width}u);`}
${rows.join('\n')}
    }`;
  });
  const isWhole = groups % block.across === 0;
  return `${prepared.join('\n')}
    let w_last = w_start + ${weightsBefore(layers, i + 1)}u;
    for (var column = 0u; column < ${n}u; column++) {
${range(plan.fours[i]!)
  .map(
    (c) => `      let four${c} = min(my_column + ${c * block.across}u, ${groups - 1}u);
      ${isWhole ? 'let' : 'var'} y${c} = vec4<f32>(${FOUR.map((j) => weight(j, c)).join(', ')});
      ${isWhole ? '' : `if (my_column + ${c * block.across}u >= ${groups}u) { y${c} = vec4<f32>(); }`}`,
  )
  .join('\n')}
${PAIR.map((g) => {
  const dots = FOUR.map((r) =>
    range(plan.fours[i]!)
      .map((c) => `dot(${sumOf(nameOf(i), g, r, c)}, y${c})`)
      .join(' + '),
  );
  return `      ${at('my_column')}[my_row + ${g * blockDown(block)}u] = vec4<f32>(${dots.join(', ')});`;
}).join('\n')}
      workgroupBarrier();
      let line = thread % ${block.rows}u;
      let part = thread / ${block.rows}u;
      var sum = 0.0;
      for (var l = part; l < ${block.across}u; l += ${parts}u) { sum += ${at('l')}[line / 4u][line % 4u]; }
      ${at(`${block.across}u + part`)}[line / 4u][line % 4u] = sum;
      workgroupBarrier();
      let row = row0 + line;
      if (part == 0u && row < m) {
        for (var l = 1u; l < ${parts}u; l++) { sum += ${at(`${block.across}u + l`)}[line / 4u][line % 4u]; }
        sum += weights[w_start + ${biasBefore(layers, i + 1)}u][column];
        ${
          context.outFours
            ? `out[(at_out(z, row) + column) / 4u][column % 4u] = ${resultOf(context, 'sum', (o) => `${o}[(at_${o}(z, row) + column) / 4u][column % 4u]`)};`
            : `out[at_out(z, row) + column * blocks[z].out_column] = ${resultOf(context, 'sum', (o) => `${o}[at_${o}(z, row) + column * blocks[z].${o}_column]`)};`
        }
      }
      workgroupBarrier();
    }`;
}

/** Finishes the last layer's sums in registers, normalizes them, and stores them. */
function finished(context: Context): string {
  const { layers, plan, block, normalizes, outFours, hasAddend, finish } = context;
  const i = layers.length - 1;
  const { n } = layers[i]!;
  const { steps } = plan;
  const groups = columnGroups(n);
  const cs = range(plan.fours[i]!);
  const isWhole = groups % block.across === 0;
  const operands = [...(hasAddend ? ['addend'] : []), ...(finish?.others ?? []).map((_, o) => `other${o}`)];
  const rows = PAIR.flatMap((g) => FOUR.map((r) => ({ g, r })));
  const place = ({ g, r }: { g: number; r: number }): string => `row0 + my_row * 4u + ${(g * block.rows) / 2 + r}u`;
  const four = (o: string, c: number): string =>
    outFours
      ? `${o}[${o}_at / 4u + four${c}]`
      : `vec4(${FOUR.map((e) => `${o}[${o}_at + min(four${c} * 4u + ${e}u, ${n - 1}u) * blocks[z].${o}_column]`).join(', ')})`;
  const results = rows.map(
    ({ g, r }) => `    {
      let row = min(${place({ g, r })}, m - 1u);
${operands.map((o) => `      let ${o}_at = at_${o}(z, row);`).join('\n')}
${cs
  .map((c) => {
    const s = sumOf(nameOf(i), g, r, c);
    const loaded = operands.map((o) => `let ${o}_four = ${four(o, c)};`).join(' ');
    const made = FOUR.map((e) => resultOf(context, `made[${e}]`, (o) => `${o}_four[${e}]`));
    return `      { let made = ${s} + bias${c}; ${loaded} ${s} = vec4<f32>(${made.join(', ')}); }`;
  })
  .join('\n')}
    }`,
  );
  const stores = rows.map(({ g, r }) => {
    const stored = cs.map((c) => {
      const s = sumOf(nameOf(i), g, r, c);
      const code = outFours
        ? `out[out_at / 4u + four${c}] = ${s};`
        : FOUR.map((e) => {
            const store = `out[out_at + (four${c} * 4u + ${e}u) * blocks[z].out_column] = ${s}.${'xyzw'[e]};`;
            return n % 4 === 0 ? store : `if (four${c} * 4u + ${e}u < ${n}u) { ${store} }`;
          }).join(' ');
      return isWhole ? code : `if (my_column + ${c * block.across}u < ${groups}u) { ${code} }`;
    });
    return `    if (${place({ g, r })} < m) {
      let out_at = at_out(z, ${place({ g, r })});
      ${stored.join('\n      ')}
    }`;
  });
  const at = (l: string): string => `handed[${l} / ${steps}u][${l} % ${steps}u]`;
  const total = (of: string, part: (s: string) => string): string => `${PAIR.map((g) => {
    const sums = FOUR.map((r) => cs.map((c) => part(sumOf(nameOf(i), g, r, c))).join(' + '));
    return `    ${at('my_column')}[my_row + ${g * blockDown(block)}u] = vec4<f32>(${sums.join(', ')});`;
  }).join('\n')}
    workgroupBarrier();
${PAIR.map((g) => `    var ${of}${g} = vec4<f32>();`).join('\n')}
    for (var l = 0u; l < ${block.across}u; l++) { ${PAIR.map((g) => `${of}${g} += ${at('l')}[my_row + ${g * blockDown(block)}u];`).join(' ')} }
    workgroupBarrier();`;
  const each = (code: (s: string, g: number, r: number, c: number) => string): string =>
    sumsOf(nameOf(i), cs.length)
      .map(({ sum, g, r, c }) => `    ${code(sum, g, r, c)}`)
      .join('\n');
  // Columns that an invocation has too many count nothing.
  const within = (c: number, value: string): string =>
    isWhole ? value : `select(vec4<f32>(), ${value}, my_column + ${c * block.across}u < ${groups}u)`;
  const scale = parameterVectors(layers, false);
  const normalized = `${isWhole ? '' : each((s, _, __, c) => `${s} = ${within(c, s)};`)}
${total('sum', (s) => `dot(${s}, vec4<f32>(1.0))`)}
${each((s, g, r, c) => `${s} = ${within(c, `${s} - sum${g}.${'xyzw'[r]} / ${n}.0`)};`)}
${total('squares', (s) => `dot(${s}, ${s})`)}
${PAIR.map((g) => `    let inverse${g} = 1.0 / sqrt(squares${g} / ${n}.0 + blocks[z].epsilon);`).join('\n')}
${cs
  .map(
    (c) => `    let scale${c} = weights[w_start + ${scale}u + four${c}];
    let shift${c} = weights[w_start + ${scale + groups}u + four${c}];`,
  )
  .join('\n')}
${each((s, g, r, c) => `${s} = ${s} * inverse${g}.${'xyzw'[r]} * scale${c} + shift${c};`)}`;
  return `${cs
    .map(
      (c) => `    let four${c} = min(my_column + ${c * block.across}u, ${groups - 1}u);
    let bias${c} = weights[w_start + ${biasBefore(layers, i)}u + four${c}];`,
    )
    .join('\n')}
${results.join('\n')}
${normalizes ? normalized : ''}
${stores.join('\n')}`;
}
