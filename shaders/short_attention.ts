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
  /** Dimensions that count what invocations take, after merging. */
  readonly rank: number;
  readonly workgroupSize: number;
  /** Queries of an invocation, `q_next` and so on apart, and keys that it weighs at a time: a divisor of their number. */
  readonly queries: number;
  readonly keys: number;
  /** Operands that are stored as float16, in vectors of 8 features. */
  readonly halves: Readonly<Record<'q' | 'k' | 'v', boolean>>;
  /** The result is stored as float16, in vectors. */
  readonly outHalves: boolean;
}

function fieldsOf(
  hasMask: boolean,
  rank: number,
  queries: number,
): { operands: readonly string[]; fields: ParameterField[] } {
  const list = Math.max(rank, 2);
  const scalar = (name: string, type: 'u32' | 'f32' = 'u32'): ParameterField => ({ name, type, length: 1 });
  const mask = hasMask ? ['mask'] : [];
  const operands = ['q', 'k', 'v', ...mask, 'out'];
  const fields: ParameterField[] = [
    scalar('count'),
    scalar('length'),
    scalar('scale', 'f32'),
    ...operands.map((o) => scalar(`${o}_start`)),
    ...['k', 'v', ...mask].map((o) => scalar(`${o}_step`)),
    ...['q', 'k', 'v', 'out'].map((o) => scalar(`${o}_feature`)),
    ...(queries > 1 ? ['q', ...mask, 'out'].map((o) => scalar(`${o}_next`)) : []),
    { name: 'shape', type: 'u32', length: list },
    ...operands.map((o): ParameterField => ({ name: `${o}_strides`, type: 'u32', length: list })),
  ];
  return { operands, fields };
}

/** Most keys whose scores a thread's registers hold, and most features of a query or a value. */
const [MOST_KEYS, MOST_FEATURES] = [64, 64];

/** The same on CUDA, for a number of keys that is known; undefined where registers do not hold their scores. */
export function nativeShortAttention(
  {
    width,
    valueWidth,
    hasMask,
    vectors,
    rank,
  }: Pick<ShortAttentionOptions, 'width' | 'valueWidth' | 'hasMask' | 'vectors' | 'rank'>,
  length: number,
): WebGpuProgram | undefined {
  if (!vectors || length > MOST_KEYS || Math.max(width, valueWidth) > MOST_FEATURES) return undefined;
  const { operands, fields } = fieldsOf(hasMask, rank, 1);
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
 * softmax(scale q K + mask) V, a few queries an invocation: their features and results stay in registers, the keys pass by
 * once. Neighbouring invocations share their keys, which so come from the nearest cache; several queries read and widen a key
 * once. The largest score is kept as it is found, and what was summed is scaled down when it grows.
 *
 * Operations a query and key: 2 (width + valueWidth) and the exponentials. Memory: every operand once, and no scores.
 */
export function shortAttention(options: ShortAttentionOptions): WebGpuProgram {
  const { width, valueWidth, hasMask, vectors, rank, workgroupSize, queries, keys, halves, outHalves } = options;
  const made = outHalves ? 'f16' : 'f32';
  const { operands, fields } = fieldsOf(hasMask, rank, queries);
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  const [groups, valueGroups] = [range(Math.ceil(width / 4)), range(Math.ceil(valueWidth / 4))];
  const [us, rs] = [range(queries), range(keys)];
  const isHalf = (o: string): boolean => halves[o as 'q' | 'k' | 'v'] ?? false;
  const binding = (o: string, i: number): string => {
    if (o === 'out') return declareMade(i + 1, o, made, vectors);
    if (isHalf(o)) return declareStorage(i + 1, o, 'u32', 'read', true);
    return declareStorage(i + 1, o, 'f32', 'read', vectors && o !== 'mask');
  };
  /** Declares the features of an operand from `at` on as fours `name`0, `name`1, ..; zeros behind the last. */
  const fours = (o: string, name: string, at: string, features: number): string[] => {
    if (isHalf(o)) {
      return range(features / 8).flatMap((e) => [
        `let ${name}_eight${e} = ${o}[(${at}) / 8u + ${e}u];`,
        ...['xy', 'zw'].map(
          ([x, y], i) =>
            `let ${name}${2 * e + i} = vec4<f32>(unpack2x16float(${name}_eight${e}.${x}), unpack2x16float(${name}_eight${e}.${y}));`,
        ),
      ]);
    }
    return range(Math.ceil(features / 4)).map((g) => {
      if (vectors) return `let ${name}${g} = ${o}[(${at}) / 4u + ${g}u];`;
      const words = range(4).map((i) =>
        4 * g + i < features ? `${o}[${at} + ${4 * g + i}u * blocks[z].${o}_feature]` : '0.0',
      );
      return `let ${name}${g} = vec4<f32>(${words.join(', ')});`;
    });
  };
  const of = (o: string, u: number): string => (u === 0 ? `${o}_at` : `${o}_at + ${u}u * blocks[z].${o}_next`);
  const store = (u: number, g: number): string => {
    if (vectors) return `out[(${of('out', u)}) / 4u + ${g}u] = ${madeOf(`s${u}_${g} * share${u}`, made, true)};`;
    return range(Math.min(4, valueWidth - 4 * g))
      .map((i) => `out[${of('out', u)} + ${4 * g + i}u * blocks[z].out_feature] = s${u}_${g}.${'xyzw'[i]} * share${u};`)
      .join('\n    ');
  };
  const score = (u: number, r: number): string => {
    const dots = groups.map((g) => `dot(scaled${u}_${g}, k${r}_${g})`);
    return [...dots, ...(hasMask ? [`mask[${of('mask', u)} + (j + ${r}u) * blocks[z].mask_step]`] : [])].join(' + ');
  };
  const weigh = (u: number): string[] => [
    ...rs.map((r) => `let score${r} = ${score(u, r)};`),
    `let grown = ${rs.reduce((most, r) => `max(${most}, score${r})`, `largest${u}`)};`,
    `let kept = exp(largest${u} - grown);`,
    ...rs.map((r) => `let weight${r} = exp(score${r} - grown);`),
    `largest${u} = grown;`,
    `sum${u} = fma(sum${u}, kept, ${rs.map((r) => `weight${r}`).join(' + ')});`,
    ...valueGroups.map(
      (g) => `s${u}_${g} = s${u}_${g} * kept + ${rs.map((r) => `v${r}_${g} * weight${r}`).join(' + ')};`,
    ),
  ];
  const row = (o: string, r: number): string => `${o}_at + (j + ${r}u) * blocks[z].${o}_step`;
  const text = (lines: readonly string[], indent: number): string =>
    lines.map((l) => `${' '.repeat(indent)}${l}`).join('\n');
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
${text(
  us.flatMap((u) => [
    ...fours('q', `q${u}_`, of('q', u), width),
    ...groups.map((g) => `let scaled${u}_${g} = q${u}_${g} * scale;`),
    ...valueGroups.map((g) => `var s${u}_${g} = vec4<f32>();`),
    `var largest${u} = -3.4028234e38;`,
    `var sum${u} = 0.0;`,
  ]),
  4,
)}
    for (var j = 0u; j < length; j += ${keys}u) {
${text(
  rs.flatMap((r) => [...fours('k', `k${r}_`, row('k', r), width), ...fours('v', `v${r}_`, row('v', r), valueWidth)]),
  6,
)}
${us.map((u) => `      {\n${text(weigh(u), 8)}\n      }`).join('\n')}
    }
${text(
  us.flatMap((u) => [`let share${u} = 1.0 / sum${u};`, ...valueGroups.map((g) => store(u, g))]),
  4,
)}`,
})}`;
  const stored = Object.entries(halves).flatMap(([o, is]) => (is ? [o] : []));
  const marks = `${hasMask ? '_mask' : ''}${vectors ? '_vectors' : ''}${stored.length > 0 ? `_${stored.join('')}_f16` : ''}${outHalves ? '_to_f16' : ''}`;
  const key = `ShortAttention_${width}_${valueWidth}_${queries}x${keys}${marks}_r${rank}_w${workgroupSize}`;
  return { key, source, fields, reportsErrors: false };
}
