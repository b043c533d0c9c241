import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { declareMade, madeOf } from './packed.js';
import {
  declareParameters,
  declareStorage,
  stridedOffsets,
  walkItems,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';

/** Threads of a block of the kernel for CUDA; native/kernels/short_attention.cuh has the same. */
export const NATIVE_THREADS = 128;

export interface ShortAttentionOptions {
  /** Features of a query and of a key, and of a value. */
  readonly width: number;
  readonly valueWidth: number;
  readonly hasMask: boolean;
  /** Features lie together in fours, in all operands but the mask. */
  readonly vectors: boolean;
  /** Dimensions that count the queries, after merging. */
  readonly rank: number;
  readonly workgroupSize: number;
  /** The result is stored as float16, in vectors. */
  readonly outHalves: boolean;
}

function fieldsOf(hasMask: boolean, rank: number): { operands: string[]; fields: ParameterField[] } {
  const list = Math.max(rank, 2);
  const scalar = (name: string, type: 'u32' | 'f32' = 'u32'): ParameterField => ({ name, type, length: 1 });
  const operands = ['q', 'k', 'v', ...(hasMask ? ['mask'] : []), 'out'];
  const fields: ParameterField[] = [
    scalar('count'),
    scalar('length'),
    scalar('scale', 'f32'),
    ...operands.map((o) => scalar(`${o}_start`)),
    ...['k', 'v', ...(hasMask ? ['mask'] : [])].map((o) => scalar(`${o}_step`)),
    ...['q', 'k', 'v', 'out'].map((o) => scalar(`${o}_feature`)),
    { name: 'shape', type: 'u32', length: list },
    ...operands.map((o): ParameterField => ({ name: `${o}_strides`, type: 'u32', length: list })),
  ];
  return { operands, fields };
}

/** Most keys whose scores a thread's registers hold, and most features of a query or a value. */
const [MOST_KEYS, MOST_FEATURES] = [64, 64];

/** The same on CUDA, for a number of keys that is known; undefined where registers do not hold their scores. */
export function nativeShortAttention(
  { width, valueWidth, hasMask, vectors, rank }: Omit<ShortAttentionOptions, 'workgroupSize' | 'outHalves'>,
  length: number,
): WebGpuProgram | undefined {
  if (!vectors || length > MOST_KEYS || Math.max(width, valueWidth) > MOST_FEATURES) return undefined;
  const { operands, fields } = fieldsOf(hasMask, rank);
  const places = operands.map((o) => {
    const offset = stridedOffsets('i', rank, 'shape', [
      { variable: 'at', strides: `${o}_strides`, start: `${o}_start` },
    ]);
    return `fn at_${o}(z: u32, i: u32) -> u32 {
${offset}
    return at;
}`;
  });
  const mask = 'fn mask_of(z: u32, i: u32, j: u32) -> f32 { return mask[at_mask(z, i) + j * blocks[z].mask_step]; }';
  const source = `${declareParameters(fields)}
${operands.map((o, i) => declareStorage(i + 1, o, 'f32', o === 'out' ? 'read_write' : 'read')).join('\n')}
${places.join('\n')}
${hasMask ? mask : ''}`;
  const native = {
    header: 'short_attention.cuh',
    call: `ShortAttention<${width}, ${valueWidth}, ${length}, ${hasMask}>::run(kernel)`,
    threads: NATIVE_THREADS,
    residents: 4,
    sharedBytes: 0,
  };
  const key = `ShortAttention_native_${width}_${valueWidth}_k${length}${hasMask ? '_mask' : ''}_r${rank}`;
  return { key, source, fields, reportsErrors: false, native };
}

/**
 * softmax(scale q K + mask) V, a query an invocation: its features and its result stay in registers, the keys pass by
 * once. Neighbouring queries share their keys, which so come from the nearest cache. The largest score is kept as it is
 * found, and what was summed is scaled down when it grows.
 *
 * Operations a query and key: 2 (width + valueWidth) and the exponentials. Memory: every operand once, and no scores.
 */
export function shortAttention(options: ShortAttentionOptions): WebGpuProgram {
  const { width, valueWidth, hasMask, vectors, rank, workgroupSize, outHalves } = options;
  const made = outHalves ? 'f16' : 'f32';
  const { operands, fields } = fieldsOf(hasMask, rank);
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  const [groups, valueGroups] = [range(Math.ceil(width / 4)), range(Math.ceil(valueWidth / 4))];
  const binding = (o: string, i: number): string => {
    if (o === 'out') return declareMade(i + 1, o, made, vectors);
    return declareStorage(i + 1, o, 'f32', 'read', vectors && o !== 'mask');
  };
  /** Four features of an operand from its group `g`; zeros behind the last. */
  const four = (o: string, at: string, g: number, features: number): string => {
    if (vectors) return `${o}[${at} / 4u + ${g}u]`;
    const words = range(4).map((i) =>
      4 * g + i < features ? `${o}[${at} + ${4 * g + i}u * blocks[z].${o}_feature]` : '0.0',
    );
    return `vec4<f32>(${words.join(', ')})`;
  };
  const store = (g: number): string => {
    if (vectors) return `    out[out_at / 4u + ${g}u] = ${madeOf(`s${g} * share`, made, true)};`;
    return range(Math.min(4, valueWidth - 4 * g))
      .map((i) => `    out[out_at + ${4 * g + i}u * blocks[z].out_feature] = s${g}.${'xyzw'[i]} * share;`)
      .join('\n');
  };
  const dots = groups.map((g) => `dot(q${g}, ${four('k', 'k_row', g, width)})`);
  const source = wgsl`
${declareParameters(fields)}
${operands.map(binding).join('\n')}
${walkItems({
  count: 'count',
  workgroupSize,
  before: '  let length = blocks[z].length;\n  let scale = blocks[z].scale;',
  body: `${stridedOffsets(
    'i',
    rank,
    'shape',
    operands.map((o) => ({ variable: `${o}_at`, strides: `${o}_strides`, start: `${o}_start` })),
  )}
${groups.map((g) => `    let q${g} = ${four('q', 'q_at', g, width)} * scale;`).join('\n')}
${valueGroups.map((g) => `    var s${g} = vec4<f32>();`).join('\n')}
    var largest = -3.4028234e38;
    var sum = 0.0;
    for (var j = 0u; j < length; j++) {
      let k_row = k_at + j * blocks[z].k_step;
      let v_row = v_at + j * blocks[z].v_step;
      let score = ${dots.join(' + ')}${hasMask ? ' + mask[mask_at + j * blocks[z].mask_step]' : ''};
      let grown = max(largest, score);
      let kept = exp(largest - grown);
      let weight = exp(score - grown);
      largest = grown;
      sum = fma(sum, kept, weight);
${valueGroups.map((g) => `      s${g} = s${g} * kept + ${four('v', 'v_row', g, valueWidth)} * weight;`).join('\n')}
    }
    let share = 1.0 / sum;
${valueGroups.map(store).join('\n')}`,
})}`;
  const key = `ShortAttention_${width}_${valueWidth}${hasMask ? '_mask' : ''}${vectors ? '_vectors' : ''}${outHalves ? '_to_f16' : ''}_r${rank}_w${workgroupSize}`;
  return { key, source, fields, reportsErrors: false };
}
