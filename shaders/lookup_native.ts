import { ERROR_BUFFER } from './errors.js';
import type { FourType } from './packed.js';
import { declareParameters, declareStorage, type ParameterField, type WebGpuProgram } from './program.js';

/** Threads of a block; native/kernels/lookup_rows.cuh has the same. */
export const LOOKUP_THREADS = 256;

/** Names of the types in native/kernels. */
export const STORED: Readonly<Record<FourType, string>> = { f32: 'Float32', f16: 'Float16', i8: 'Int8' };

/**
 * Rows of tables on CUDA, for calls of any width: all tables of a model that are stored alike are slices of one launch. Rows
 * come in fours where the field of that name says so; of `f16` and `i8` they have to.
 */
export function nativeLookup(stored: FourType, ids: 'i32' | 'i64'): WebGpuProgram {
  const fields = [
    'count',
    'width',
    'fours',
    'first',
    'held',
    'size',
    'row_runs',
    'code',
    'table_start',
    'table_row',
    'ids_start',
    'ids_row',
    'out_start',
    'out_row',
  ].map((name): ParameterField => ({ name, type: 'u32', length: 1 }));
  const source = `${declareParameters(fields)}
${declareStorage(1, 'data', 'u32', 'read')}
${declareStorage(2, 'ids', ids, 'read')}
${declareStorage(3, 'out', 'f32', 'read_write')}
${ERROR_BUFFER(4)}`;
  return {
    key: `Lookup_${stored}_${ids}`,
    source,
    fields,
    reportsErrors: true,
    native: {
      header: 'lookup_rows.cuh',
      call: `RowLookup<Stored::${STORED[stored]}, ${ids === 'i64'}>::run(kernel)`,
      threads: LOOKUP_THREADS,
      residents: 4,
      sharedBytes: 0,
    },
  };
}
