import { ERROR_BUFFER } from './errors.js';
import { STORED } from './lookup_native.js';
import type { FourType } from './packed.js';
import { declareParameters, declareStorage, type ParameterField, type WebGpuProgram } from './program.js';

/** Threads of a block; native/kernels/bag_rows.cuh has the same. */
export const BAG_THREADS = 256;
/** Rows that a thread has under way. */
const FLIGHT = 4;

/**
 * Sums or means of rows on CUDA, for bags of one length, which any call may choose: all tables of a model that are stored alike are
 * slices of one launch. Rows are read four elements at a time.
 */
export function nativeBag(stored: FourType, ids: 'i32' | 'i64'): WebGpuProgram {
  const names = `bags bag_length width averages padding size row_runs code table_start table_row ids_start ids_row ids_step
    out_start out_row out_step`;
  const fields = names.split(/\s+/).map((name): ParameterField => ({ name, type: 'u32', length: 1 }));
  const source = `${declareParameters(fields)}
${declareStorage(1, 'data', 'u32', 'read')}
${declareStorage(2, 'ids', ids, 'read')}
${declareStorage(3, 'out', 'f32', 'read_write')}
${ERROR_BUFFER(4)}`;
  return {
    key: `Bag_${stored}_${ids}`,
    source,
    fields,
    reportsErrors: true,
    native: {
      header: 'bag_rows.cuh',
      call: `RowBag<Stored::${STORED[stored]}, ${ids === 'i64'}, ${FLIGHT}>::run(kernel)`,
      threads: BAG_THREADS,
      residents: 4,
      sharedBytes: 0,
    },
  };
}
