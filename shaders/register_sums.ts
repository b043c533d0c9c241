import { range } from './matmul_parts.js';

/**
 * What kernels share that keep a block of results in registers: `rows` lines of a workgroup, each 8 of them in `across`
 * invocations, whose columns come in fours, `across` apart.
 */
export interface RegisterBlock {
  /** A multiple of 32. */
  readonly rows: number;
  /** A power of two, from 8 on. */
  readonly across: number;
}

/** Rows of an invocation: two runs of 4, half of the block apart. */
const ROWS = 8;

/** The runs, and what is in one: rows, and columns of a vector. */
export const [PAIR, FOUR] = [range(2), range(4)];

export function blockThreads({ rows, across }: RegisterBlock): number {
  return (rows / ROWS) * across;
}

/** Invocations below each other: an invocation's `my_row`, of its rows' vectors, and that and `down` more. */
export function blockDown({ rows }: RegisterBlock): number {
  return rows / ROWS;
}

/** Vectors of rows from a place to the next: odd, so that neighbours lie in different banks. */
export function placePitch({ rows }: RegisterBlock): number {
  return rows / 4 + 1;
}

/** The WGSL type of places of workgroup memory, vectors of 4 rows each, in steps of `steps`. */
export function placesType(block: RegisterBlock, steps: number, places: number): string {
  return `array<array<array<vec4<f32>, ${placePitch(block)}>, ${steps}>, ${Math.ceil(places / steps)}>`;
}

/** The WGSL type of the weights of a step: `fours` fours of columns of each invocation. */
export function weightsType({ across }: RegisterBlock, steps: number, fours: number): string {
  return `array<array<array<vec4<f32>, ${across}>, ${fours}>, ${steps}>`;
}

/** The register of sums of four columns of row `r` of run `g`. */
export function sumOf(name: string, g: number, r: number, c: number): string {
  return `${name}_${g}_${r}_${c}`;
}

/** All of an invocation's sums, `fours` vectors a row. */
export function sumsOf(name: string, fours: number): { sum: string; g: number; r: number; c: number }[] {
  return PAIR.flatMap((g) => FOUR.flatMap((r) => range(fours).map((c) => ({ sum: sumOf(name, g, r, c), g, r, c }))));
}

export function declareSums(name: string, fours: number): string {
  return sumsOf(name, fours)
    .map(({ sum }) => `    var ${sum} = vec4<f32>();`)
    .join('\n');
}

/** An operand on its way to workgroup memory. Nothing uses what `fetch` brings before `put`. */
export interface Staged {
  readonly enter: string;
  /** Starts the loads of the step at place `next`. */
  readonly fetch: string;
  /** Puts the step at place `first_place`. */
  readonly put: string;
}

/** Code for each of the `units` of a step, dealt to the invocations in turn. */
function dealt(units: number, threads: number, code: (unit: string, u: number) => string): string {
  return range(Math.ceil(units / threads))
    .map((u) => {
      const unit = `(thread + ${u * threads}u)`;
      const isWhole = (u + 1) * threads <= units;
      return isWhole ? code(unit, u) : `if (${unit} < ${units}u) { ${code(unit, u)} }`;
    })
    .map((line) => `        ${line}`)
    .join('\n');
}

export interface StagedWeights {
  /** Vectors before the first weight; a row has `groups` of them, those of the sums begin at `column`. */
  readonly before: string;
  readonly groups: number;
  readonly column: string;
  readonly fours: number;
  /** Places that there are, and the row of the weights for a place. */
  readonly depth: number;
  rowOf(place: string): string;
}

/** Weights of a step, for `fours` fours of columns of each invocation, from the vectors of `weights` to `w_tile`. */
export function stageWeights(block: RegisterBlock, steps: number, weights: StagedWeights): Staged {
  const { before, groups, column, fours, depth, rowOf } = weights;
  const threads = blockThreads(block);
  const wide = fours * block.across;
  const units = steps * wide;
  return {
    enter: range(Math.ceil(units / threads))
      .map(
        (u) => `      let w_at${u} = ${before} + min(${column} + (thread + ${u * threads}u) % ${wide}u, ${groups - 1}u);
      var w${u} = vec4<f32>();`,
      )
      .join('\n'),
    fetch: dealt(units, threads, (unit, u) => {
      const place = `min(next + ${unit} / ${wide}u, ${depth - 1}u)`;
      return `w${u} = weights[w_at${u} + (${rowOf(place)}) * ${groups}u];`;
    }),
    put: dealt(units, threads, (unit, u) => {
      const at = `[${unit} / ${wide}u][${unit} % ${wide}u / ${block.across}u][${unit} % ${block.across}u]`;
      return `w_tile${at} = w${u};`;
    }),
  };
}

/** The rows of an input in memory, `x`: features of a row follow each other in fours, or are `x_column` apart. */
export interface Rows {
  readonly features: number;
  readonly inFours: boolean;
  /** Where a row of the block begins. */
  startOf(line: string): string;
}

/** Four features of the row that begins at `at`; past the end the last are repeated. */
function featureFour({ features, inFours }: Rows, at: string, feature: string): string {
  if (inFours) return `x[(${at} + min(${feature}, ${features - 4}u)) / 4u]`;
  return `vec4<f32>(${FOUR.map((e) => `x[${at} + min(${feature} + ${e}u, ${features - 1}u) * x_column]`).join(', ')})`;
}

function putFeatures(places: string, step: string, feature: string, line: string, value: string): string {
  return FOUR.map(
    (e) => `${places}[${step}][${feature} + ${e}u][${line} / 4u][${line} % 4u] = ${value}.${'xyzw'[e]};`,
  ).join(' ');
}

/** Features of a step, from `x` to the first step of `places`, turned. */
export function stageRows(block: RegisterBlock, steps: number, rows: Rows, places: string): Staged {
  const threads = blockThreads(block);
  const fours = steps / 4;
  const units = block.rows * fours;
  const feature = (unit: string): string => `${unit} % ${fours}u * 4u`;
  return {
    enter: range(Math.ceil(units / threads))
      .map((u) => {
        const line = `min((thread + ${u * threads}u) / ${fours}u, ${block.rows - 1}u)`;
        return `      let x_at${u} = ${rows.startOf(line)};\n      var x${u} = vec4<f32>();`;
      })
      .join('\n'),
    fetch: dealt(units, threads, (unit, u) => `x${u} = ${featureFour(rows, `x_at${u}`, `next + ${feature(unit)}`)};`),
    put: dealt(units, threads, (unit, u) => putFeatures(places, '0', feature(unit), `(${unit} / ${fours}u)`, `x${u}`)),
  };
}

/** Puts all features of the rows to `places`, turned. */
export function keepRows(block: RegisterBlock, steps: number, rows: Rows, places: string): string {
  const fours = Math.ceil(rows.features / 4);
  return `      for (var e = thread; e < ${block.rows * fours}u; e += ${blockThreads(block)}u) {
        let line = e / ${fours}u;
        let feature = e % ${fours}u * 4u;
        let x_at = ${rows.startOf('line')};
        let four = ${featureFour(rows, 'x_at', 'feature')};
        ${putFeatures(places, `feature / ${steps}u`, `feature % ${steps}u`, 'line', 'four')}
      }`;
}

/** Outer products of `count` places of a step, `from`, with its weights. */
function addUp(block: RegisterBlock, name: string, fours: number, from: string, count: number): string {
  const sums = sumsOf(name, fours);
  return range(count)
    .map(
      (k) => `        {
          ${PAIR.map((g) => `let a${g} = ${from}[${k}][my_row + ${g * blockDown(block)}u];`).join(' ')}
          ${range(fours)
            .map((c) => `let b${c} = w_tile[${k}][${c}][my_column];`)
            .join(' ')}
          ${sums.map(({ sum, g, r, c }) => `${sum} = fma(vec4<f32>(a${g}.${'xyzw'[r]}), b${c}, ${sum});`).join(' ')}
        }`,
    )
    .join('\n');
}

/**
 * Adds products over `depth` places to the sums `name`. Loads of a step are on their way while the one before is added up.
 * Written out once for all whole steps: kernels of two such loops are too long for an H100's cache of instructions.
 * @param from the places of step number `step`.
 */
export function accumulate(
  block: RegisterBlock,
  steps: number,
  sums: { readonly name: string; readonly fours: number },
  depth: number,
  operands: readonly Staged[],
  from: string,
): string {
  const each = (of: keyof Staged): string => operands.map((o) => o[of]).join('\n');
  const [whole, rest] = [Math.floor(depth / steps), depth % steps];
  const stage = `        workgroupBarrier();
${each('put')}
        workgroupBarrier();`;
  const loop = `      for (var step = 0u; step < ${whole}u; step++) {
${stage}
        next = (step + 1u) * ${steps}u;
${each('fetch')}
${addUp(block, sums.name, sums.fours, from, steps)}
      }`;
  return `      var next = 0u;
${each('enter')}
${each('fetch')}
${whole > 0 ? loop : ''}
${
  rest > 0
    ? `      {
        let step = ${whole}u;
${stage}
${addUp(block, sums.name, sums.fours, from, rest)}
      }`
    : ''
}
      workgroupBarrier();`;
}
