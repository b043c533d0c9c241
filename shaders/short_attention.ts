import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { declareMade, declareReadFours, madeOf, readFour } from './packed.js';
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
  /** Queries of an invocation, which read each key once: neighbours in the last of those dimensions. */
  readonly together: 1 | 2;
  readonly workgroupSize: number;
  /** Operands that are stored as float16, in vectors. */
  readonly halves: ReadonlySet<'q' | 'k' | 'v' | 'out'>;
}

function fieldsOf(
  hasMask: boolean,
  rank: number,
  together: 1 | 2 = 1,
): { operands: string[]; fields: ParameterField[] } {
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
    ...(together === 2
      ? ['queries', 'q_next', 'out_next', ...(hasMask ? ['mask_next'] : [])].map((n) => scalar(n))
      : []),
    { name: 'shape', type: 'u32', length: list },
    ...operands.map((o): ParameterField => ({ name: `${o}_strides`, type: 'u32', length: list })),
  ];
  return { operands, fields };
}

/** Most keys whose scores a thread's registers hold, and most features of a query or a value. */
const [MOST_KEYS, MOST_FEATURES] = [64, 64];

/** The same on CUDA, for a number of keys that is known; undefined where registers do not hold their scores. */
export function nativeShortAttention(
  { width, valueWidth, hasMask, vectors, rank }: Omit<ShortAttentionOptions, 'workgroupSize' | 'halves' | 'together'>,
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
 * softmax(scale q K + mask) V, one or two queries an invocation: their features and results stay in registers, the keys pass by
 * once. Neighbouring queries share their keys, which so come from the nearest cache. The largest score is kept as it is
 * found, and what was summed is scaled down when it grows.
 *
 * Operations a query and key: 2 (width + valueWidth) and the exponentials. Memory: every operand once, and no scores.
 */
export function shortAttention(options: ShortAttentionOptions): WebGpuProgram {
  const { width, valueWidth, hasMask, vectors, rank, together, workgroupSize, halves } = options;
  const { operands, fields } = fieldsOf(hasMask, rank, together);
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  const [groups, valueGroups] = [range(Math.ceil(width / 4)), range(Math.ceil(valueWidth / 4))];
  const typeOf = (o: string): 'f16' | 'f32' => ((halves as ReadonlySet<string>).has(o) ? 'f16' : 'f32');
  const binding = (o: string, i: number): string => {
    if (o === 'out') return declareMade(i + 1, o, typeOf('out'), vectors);
    return vectors && o !== 'mask' ? declareReadFours(i + 1, o, typeOf(o)) : declareStorage(i + 1, o, 'f32', 'read');
  };
  /** Four features of an operand from its group `g`; zeros behind the last. */
  const four = (o: string, at: string, g: number, features: number): string => {
    if (vectors) return readFour(o, typeOf(o), at, `${4 * g}u`);
    const words = range(4).map((i) =>
      4 * g + i < features ? `${o}[${at} + ${4 * g + i}u * blocks[z].${o}_feature]` : '0.0',
    );
    return `vec4<f32>(${words.join(', ')})`;
  };
  const queries = range(together);
  /** Where query `t` of an invocation has its line of an operand; one that there is not repeats the first, and is not stored. */
  const at = (o: string, t: number): string => (t === 0 ? `${o}_at` : `(${o}_at + second * blocks[z].${o}_next)`);
  const store = (g: number, t: number): string => {
    if (vectors) return `out[${at('out', t)} / 4u + ${g}u] = ${madeOf(`s${g}_${t} * share`, typeOf('out'), true)};`;
    return range(Math.min(4, valueWidth - 4 * g))
      .map((i) => `out[${at('out', t)} + ${4 * g + i}u * blocks[z].out_feature] = s${g}_${t}.${'xyzw'[i]} * share;`)
      .join(' ');
  };
  const dots = (t: number): string => groups.map((g) => `dot(q${g}_${t}, key${g})`).join(' + ');
  const added = (t: number): string => (hasMask ? ` + mask[${at('mask', t)} + j * blocks[z].mask_step]` : '');
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
${together === 2 ? `    let second = select(0u, 1u, 2u * shape_${rank - 1} + 1u < blocks[z].queries);` : ''}
${queries
  .map(
    (t) => `${groups.map((g) => `    let q${g}_${t} = ${four('q', at('q', t), g, width)} * scale;`).join('\n')}
${valueGroups.map((g) => `    var s${g}_${t} = vec4<f32>();`).join('\n')}
    var largest_${t} = -3.4028234e38;
    var sum_${t} = 0.0;`,
  )
  .join('\n')}
    for (var j = 0u; j < length; j++) {
      let k_row = k_at + j * blocks[z].k_step;
      let v_row = v_at + j * blocks[z].v_step;
${groups.map((g) => `      let key${g} = ${four('k', 'k_row', g, width)};`).join('\n')}
${valueGroups.map((g) => `      let value${g} = ${four('v', 'v_row', g, valueWidth)};`).join('\n')}
${queries
  .map(
    (t) => `      {
        let score = ${dots(t)}${added(t)};
        let grown = max(largest_${t}, score);
        let kept = exp(largest_${t} - grown);
        let weight = exp(score - grown);
        largest_${t} = grown;
        sum_${t} = fma(sum_${t}, kept, weight);
${valueGroups.map((g) => `        s${g}_${t} = s${g}_${t} * kept + value${g} * weight;`).join('\n')}
      }`,
  )
  .join('\n')}
    }
${queries
  .map(
    (t) => `    ${t === 1 ? 'if (second == 1u) ' : ''}{
      let share = 1.0 / sum_${t};
      ${valueGroups.map((g) => store(g, t)).join('\n      ')}
    }`,
  )
  .join('\n')}`,
})}`;
  const key = `ShortAttention_${width}_${valueWidth}${hasMask ? '_mask' : ''}${vectors ? '_vectors' : ''}${[...halves].map((o) => `_${o}_f16`).join('')}${together === 2 ? '_twice' : ''}_r${rank}_w${workgroupSize}`;
  return { key, source, fields, reportsErrors: false };
}
