import { ERROR_BUFFER } from './errors.js';
import type { FourType } from './packed.js';
import { declareParameters, declareStorage, type ParameterField, type WebGpuProgram } from './program.js';

/** Threads of a block; lookup_rows.cuh and bag_rows.cuh in native/kernels have the same. */
export const ROW_THREADS = 256;

/** Names of the types in native/kernels. */
const STORED: Readonly<Record<FourType, string>> = { f32: 'Float32', f16: 'Float16', i8: 'Int8' };

/**
 * A kernel on CUDA that reads rows of tables by ids: a class of `header` with the type of the tables, whether ids are int64 and what is in `more`.
 * @param fields names of its parameters, all of them u32.
 */
function rowProgram(options: {
  readonly name: string;
  readonly kernel: string;
  readonly header: string;
  readonly stored: FourType;
  readonly ids: 'i32' | 'i64';
  readonly fields: string;
  readonly more?: string;
}): WebGpuProgram {
  const { name, kernel, header, stored, ids, more = '' } = options;
  const fields = options.fields.split(/\s+/).map((field): ParameterField => ({ name: field, type: 'u32', length: 1 }));
  const source = `${declareParameters(fields)}
${declareStorage(1, 'data', 'u32', 'read')}
${declareStorage(2, 'ids', ids, 'read')}
${declareStorage(3, 'out', 'f32', 'read_write')}
${ERROR_BUFFER(4)}`;
  const call = `${kernel}<Stored::${STORED[stored]}, ${ids === 'i64'}${more}>::run(kernel)`;
  return {
    key: `${name}_${stored}_${ids}`,
    source,
    fields,
    reportsErrors: true,
    native: { header, call, threads: ROW_THREADS, residents: 4, sharedBytes: 0 },
  };
}

/**
 * Rows of tables on CUDA, for calls of any width: all tables of a model that are stored alike are slices of one launch. Rows
 * come in fours where the field of that name says so; of `f16` and `i8` they have to.
 */
export function nativeLookup(stored: FourType, ids: 'i32' | 'i64'): WebGpuProgram {
  return rowProgram({
    name: 'Lookup',
    kernel: 'RowLookup',
    header: 'lookup_rows.cuh',
    stored,
    ids,
    fields: `count width fours first held size row_runs code table_start table_row ids_start ids_row out_start out_row`,
  });
}

/** Rows that a thread has under way. */
const FLIGHT = 4;

/**
 * Sums or means of rows on CUDA, for bags of one length, which any call may choose: all tables of a model that are stored alike are
 * slices of one launch. Rows are read four elements at a time.
 */
export function nativeBag(stored: FourType, ids: 'i32' | 'i64'): WebGpuProgram {
  return rowProgram({
    name: 'Bag',
    kernel: 'RowBag',
    header: 'bag_rows.cuh',
    stored,
    ids,
    fields: `bags bag_length width averages padding size row_runs code table_start table_row ids_start ids_row ids_step
      out_start out_row out_step`,
    more: `, ${FLIGHT}`,
  });
}
