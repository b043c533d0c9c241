import { declareParameters, declareStorage, type ParameterField, type WebGpuProgram } from './program.js';
import { attentionColumns, type SelfAttentionForm } from './self_attention.js';

/** Features of a head that native/kernels/self_attention.cuh takes, most features of a place, and most places. */
const [WIDTH, MOST_FEATURES, MOST_PLACES] = [8, 64, 32];
const WARPS = 4;
/** Blocks of a multiprocessor: registers of a warp hold a sequence. */
const RESIDENTS = 3;

/** Sequences that a block takes at a time. */
export const NATIVE_SEQUENCES = WARPS;
/** Blocks that fill any device, each of which reads all weights. */
export const NATIVE_BLOCKS = 132 * RESIDENTS;

/** Whether matrix units of CUDA take such an attention, in TF32. */
export function fitsSelfAttention({ length, features, heads, width, valueWidth }: SelfAttentionForm): boolean {
  const isHead = width === WIDTH && valueWidth === WIDTH && heads % 2 === 0;
  return isHead && features % 16 === 0 && features <= MOST_FEATURES && length <= MOST_PLACES;
}

/** The same as shaders/self_attention.ts on matrix units, with the same parameters: places and heads lie in fours. */
export function nativeSelfAttention(form: SelfAttentionForm): WebGpuProgram {
  const { length, features, heads } = form;
  const fields = [
    'sequences',
    'weights_start',
    'x_start',
    'x_sequence',
    'x_place',
    'out_start',
    'out_sequence',
    'out_place',
    'out_head',
  ].map((name): ParameterField => ({ name, type: 'u32', length: 1 }));
  const source = `${declareParameters(fields)}
${declareStorage(1, 'x', 'f32', 'read')}
${declareStorage(2, 'weights', 'f32', 'read')}
${declareStorage(3, 'out', 'f32', 'read_write')}`;
  return {
    key: `SelfAttention_units_${length}x${features}_${heads}x${form.width}`,
    source,
    fields,
    reportsErrors: false,
    native: {
      header: 'self_attention.cuh',
      call: `UnitSelfAttention<${length}, ${features}, ${heads}, ${WARPS}>::run(kernel)`,
      threads: 32 * WARPS,
      residents: RESIDENTS,
      sharedBytes: 4 * (features + 1) * attentionColumns(form),
    },
  };
}
