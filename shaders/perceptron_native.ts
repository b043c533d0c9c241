import {
  declareResults,
  perceptronFields,
  perceptronName,
  type LayerSizes,
  type PerceptronForm,
  type PerceptronLayout,
} from './perceptron_parts.js';
import { declareParameters, declareStorage, type WebGpuProgram } from './program.js';

export interface NativeOptions extends PerceptronForm {
  /** Rows of what the last layer reads and writes lie in fours of columns; those of the input always do. */
  readonly outFours: boolean;
  /** Rows of a block. */
  readonly rows: number;
  /** Products are of float16, else of TF32. */
  readonly halves: boolean;
}

/** Most features, hidden columns and results whose places a warp's registers and a block's memory hold. */
const [MOST_FEATURES, MOST_HIDDEN, MOST_RESULTS] = [64, 256, 64];

/** Rows of a block, and what its warps make of them: `parts` times 16 rows each. */
const BLOCKS = { 256: { warps: 8, parts: 2 }, 64: { warps: 4, parts: 1 } } as const;
export const NATIVE_ROWS = [256, 64] as const;

export function nativeThreads(rows: number): number {
  return 32 * BLOCKS[rows as keyof typeof BLOCKS].warps;
}

/** Where the parameters of layers lie, in words: see native/kernels/perceptron.cuh. */
export function unitsLayout(layers: LayerSizes, normalizes: boolean): PerceptronLayout {
  let at = 0;
  const take = (words: number): number => (at += words) - words;
  const weights = layers.map(({ k, n }) => take(k * n));
  const biases = layers.map(({ n }) => take(n));
  const line = normalizes ? layers.at(-1)!.n : 0;
  return { weights, biases, scale: take(line), shift: take(line), total: at };
}

/** Where weight (row, column) of a layer of n columns lies: pairs of the rows that a lane multiplies at a time. */
export function unitAt(row: number, column: number, n: number, isFirst: boolean): number {
  // Of 16 features a lane has four neighbours, two for each of two steps; of 8 hidden columns two neighbours.
  const [step, lane, second] = isFirst
    ? [2 * Math.floor(row / 16) + (Math.floor(row / 2) % 2), Math.floor(row / 4) % 4, row % 2]
    : [Math.floor(row / 8), Math.floor(row / 2) % 4, row % 2];
  return ((step * n + column) * 4 + lane) * 2 + second;
}

/** Whether there is a kernel for such layers. */
export function fitsUnits(layers: LayerSizes, normalizes: boolean, workgroupBytes: number): boolean {
  const [first, last] = [layers[0]!, layers.at(-1)!];
  const isHidden = layers.length === 1 || (layers.length === 2 && first.n % 32 === 0 && first.n <= MOST_HIDDEN);
  const isEven = first.k % 16 === 0 && last.n % 8 === 0;
  const isSmall = first.k <= MOST_FEATURES && last.n <= MOST_RESULTS;
  return isHidden && isEven && isSmall && 4 * unitsLayout(layers, normalizes).total <= workgroupBytes;
}

/** A layer or two on the matrix units of CUDA, in TF32 or float16. Operations and memory as of perceptron(), weights once a block. */
export function nativePerceptron(options: NativeOptions): WebGpuProgram {
  const { layers, hasAddend, finish, normalizes, rank, rows, outFours, halves } = options;
  const form = { layers, hasAddend, normalizes, rank, ...(finish ? { finish } : {}) };
  const fields = perceptronFields(form);
  const others = (finish?.others ?? []).map((_, i) => `other${i}`);
  const read = [...(hasAddend ? ['addend'] : []), ...others];
  const loaded = (o: string): string =>
    outFours
      ? `${o}[(at_${o}(z, row) + column) / 4u]`
      : `vec4(${[0, 1, 2, 3].map((e) => `${o}[at_${o}(z, row) + (column + ${e}u) * blocks[z].${o}_column]`).join(', ')})`;
  const result = [...'xyzw'].map((x) => {
    const sum = hasAddend ? `v.${x} + addend_.${x}` : `v.${x}`;
    return finish ? `chain(${['z', sum, ...others.map((o) => `${o}_.${x}`)].join(', ')})` : sum;
  });
  const put = outFours
    ? 'out[(at_out(z, row) + column) / 4u] = v;'
    : `let at = at_out(z, row);\n${[0, 1, 2, 3].map((e) => `out[at + (column + ${e}u) * blocks[z].out_column] = v.${'xyzw'[e]};`).join('\n')}`;
  const source = `${declareParameters(fields)}
${declareStorage(1, 'x', 'f32', 'read')}
${declareStorage(2, 'weights', 'f32', 'read')}
${declareResults(form, outFours)}
fn activate(z: u32, v: f32) -> f32 { return ${layers.length > 1 && layers[0]!.activation ? 'chain_0(z, v)' : 'v'}; }
fn finish(z: u32, row: u32, column: u32, v: vec4<f32>) -> vec4<f32> {
${read.map((o) => `let ${o}_ = ${loaded(o)};`).join('\n')}
return vec4<f32>(${result.join(', ')});
}
fn put(z: u32, row: u32, column: u32, v: vec4<f32>) {
${put}
}`;
  const { warps, parts } = BLOCKS[rows as keyof typeof BLOCKS];
  const hidden = layers.length > 1 ? layers[0]!.n : 0;
  const native = {
    header: 'perceptron.cuh',
    call: `NativePerceptron<${layers[0]!.k}, ${hidden}, ${layers.at(-1)!.n}, ${warps}, ${parts}, ${normalizes}, ${halves}>::run(kernel)`,
    threads: nativeThreads(rows),
    residents: 1,
    sharedBytes: 4 * unitsLayout(layers, normalizes).total,
  };
  const key = `PerceptronUnits_${perceptronName(form)}${outFours ? '_out4' : ''}_${rows}${halves ? '_float16' : ''}`;
  return { key, source, fields, reportsErrors: false, native };
}
