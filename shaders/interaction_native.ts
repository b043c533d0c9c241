import { ERROR_BUFFER } from './errors.js';
import type { InteractionOptions } from './interaction.js';
import { declareParameters, declareStorage, type ParameterField, type WebGpuProgram } from './program.js';

/** Most warps of a block; each has memory of its own for a row. */
const MOST_WARPS = 16;
/** A lane has a vector. */
const MOST_VECTORS = 32;

/** Vectors that are rows of tables. */
export interface InteractionTables {
  readonly count: number;
  readonly ids: 'i32' | 'i64';
}

/** Fields that have a word for each vector: what it is a row of, and how that is found. */
export const VECTOR_FIELDS = [
  'source',
  'table_start',
  'table_row',
  'ids_start',
  'ids_row',
  'size',
  'row_runs',
  'code',
] as const;

/**
 * The interaction on the matrix units of CUDA, in TF32, or in float16 with `halves`. Bindings: vectors, places, then with `tables` the indices of all and
 * the tables; undefined where a warp cannot take a row.
 */
export function nativeInteraction(
  { vectors, width, copies, columns, aligned }: Omit<InteractionOptions, 'inHalves' | 'outHalves'>,
  tables: InteractionTables | undefined,
  { workgroupBytes, halves }: { readonly workgroupBytes: number; readonly halves: boolean },
): WebGpuProgram | undefined {
  const { count, ids } = tables ?? { count: 0, ids: 'i64' };
  const warpBytes = 4 * (vectors * (width + 4) + 4 * Math.ceil(columns / 4));
  const warps = Math.min(MOST_WARPS, Math.floor(workgroupBytes / warpBytes));
  if (!aligned || vectors > MOST_VECTORS || width % 8 !== 0 || warps === 0) return undefined;
  const word = (name: string): ParameterField => ({ name, type: 'u32', length: 1 });
  const list = (name: string, length: number): ParameterField => ({ name, type: 'u32', length: Math.max(2, length) });
  const fields = [
    ...['m', 'x_start', 'x_row', 'x_vector', 'places_start', 'out_start', 'out_row', 'out_column'].map(word),
    ...['copy_from', 'copy_to'].map((name) => list(name, copies)),
    ...(tables ? VECTOR_FIELDS.map((name) => list(name, vectors)) : []),
  ];
  const each = (code: (i: number) => string): string => Array.from({ length: count }, (_, i) => code(i)).join('\n');
  const source = `${declareParameters(fields)}
${declareStorage(1, 'x', 'f32', 'read')}
${declareStorage(2, 'places', 'u32', 'read')}
${each((i) => declareStorage(3 + i, `ids${i}`, ids, 'read'))}
${each((i) => declareStorage(3 + count + i, `table${i}`, 'f32', 'read'))}
${declareStorage(3 + 2 * count, 'out', 'f32', 'read_write')}
${tables ? ERROR_BUFFER(4 + 2 * count) : ''}`;
  const sizes = [vectors, width, columns, copies, count, ids === 'i64', warps, halves];
  return {
    key: `Interaction_units_${vectors}x${width}_c${copies}_${columns}${tables ? `_t${count}_${ids}` : ''}${halves ? '_float16' : ''}`,
    source,
    fields,
    reportsErrors: tables !== undefined,
    native: {
      header: 'interaction.cuh',
      call: `UnitInteraction<${sizes.join(', ')}>::run(kernel, a.buffers)`,
      threads: 32 * warps,
      residents: 1,
      sharedBytes: warps * warpBytes,
    },
  };
}
