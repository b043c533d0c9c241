import {
  declareParameters,
  declareStorage,
  MULTIPROCESSORS,
  type ParameterField,
  type WebGpuProgram,
} from './program.js';
import { attentionColumns, type SelfAttentionForm } from './self_attention.js';

/** Features of a head that native/kernels/self_attention.cuh takes, most features of a place, and most places. */
const [WIDTH, MOST_FEATURES, MOST_PLACES] = [8, 64, 32];
const WARPS = 4;
/** Blocks of a multiprocessor: registers of a warp hold a sequence. */
const RESIDENTS = 3;

/** Sequences that a block takes at a time. */
export const NATIVE_SEQUENCES = WARPS;
/** Blocks that fill any device, each of which reads all weights. */
export const NATIVE_BLOCKS = MULTIPROCESSORS * RESIDENTS;

/** Whether matrix units of CUDA take such an attention. */
export function fitsSelfAttention({ length, features, heads, width, valueWidth }: SelfAttentionForm): boolean {
  const isHead = width === WIDTH && valueWidth === WIDTH && heads % 2 === 0;
  return isHead && features % 16 === 0 && features <= MOST_FEATURES && length <= MOST_PLACES;
}

/** Where parameters lie in shared memory: of queries (part 0), keys (1) and values (2), feature `column` of a head. */
export interface NativeAttentionLayout {
  weight(feature: number, head: number, part: number, column: number): number;
  bias(head: number, part: number, column: number): number;
  /** Words of the weights, in front of the biases. */
  readonly weights: number;
  readonly total: number;
}

/**
 * In the order of the steps of 8 features along k, and of lanes: of queries and keys a lane has two features, for the second
 * operand; of values it has those of two heads, for the first.
 */
export function nativeAttentionLayout(form: SelfAttentionForm): NativeAttentionLayout {
  const { features, heads } = form;
  const weights = features * attentionColumns(form);
  return {
    weight(feature, head, part, column) {
      // A lane reads four neighbouring features for two steps.
      const step = 2 * Math.floor(feature / 16) + Math.floor((feature % 4) / 2);
      const lane = 4 * column + Math.floor((feature % 16) / 4);
      if (part < 2) return 2 * (32 * (2 * (step * heads + head) + part) + lane) + (feature % 2);
      const pair = step * (heads / 2) + Math.floor(head / 2);
      return 16 * features * heads + 4 * (32 * pair + lane) + 2 * (feature % 2) + (head % 2);
    },
    bias: (head, part, column) => weights + 24 * head + 8 * part + column,
    weights,
    total: weights + attentionColumns(form),
  };
}

/** The same as shaders/self_attention.ts on matrix units, in TF32, or in float16 with `halves`: features of a place lie in fours. */
export function nativeSelfAttention(form: SelfAttentionForm, halves: boolean): WebGpuProgram {
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
    'out_feature',
  ].map((name): ParameterField => ({ name, type: 'u32', length: 1 }));
  const source = `${declareParameters(fields)}
${declareStorage(1, 'x', 'f32', 'read')}
${declareStorage(2, 'weights', 'f32', 'read')}
${declareStorage(3, 'out', 'f32', 'read_write')}`;
  return {
    key: `SelfAttention_units_${length}x${features}_${heads}x${form.width}${halves ? '_float16' : ''}`,
    source,
    fields,
    reportsErrors: false,
    native: {
      header: 'self_attention.cuh',
      call: `UnitSelfAttention<${length}, ${features}, ${heads}, ${WARPS}, ${halves}>::run(kernel)`,
      threads: 32 * WARPS,
      residents: RESIDENTS,
      sharedBytes: 4 * nativeAttentionLayout(form).total,
    },
  };
}
