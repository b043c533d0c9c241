/**
 * Rows of MLPerf DLRM v2 queries, each with how many of 100 draws gave it: the trace of 100 draws that MLCommons publishes
 * to check a generator with (`inference/recommendation/dlrm_v2/pytorch/tools/dist_trace_verification.txt`). The benchmark
 * draws from a file of quantiles between 100 and 700; these draws average its 270 rows exactly.
 */
const MLPERF_DRAWS: readonly (readonly [rows: number, draws: number])[] = [
  [100, 11],
  [200, 59],
  [300, 10],
  [400, 4],
  [500, 7],
  [600, 3],
  [700, 6],
];

/** The q-th percentile of MLPerf's query sizes at index q, from 0 to 99, ascending. */
export const MLPERF_QUANTILES: readonly number[] = MLPERF_DRAWS.flatMap(([rows, draws]) =>
  Array.from({ length: draws }, () => rows),
);

/** `mlperf`, or one number of rows for every query. */
export type QuerySizes = 'mlperf' | number;

/**
 * The sizes of a pool of queries. A query drawn evenly from the pool has the distribution that was asked for, so a pool for
 * MLPerf's sizes holds each percentile once, whatever `count` is.
 */
export function poolSizes(sizes: QuerySizes, count: number): readonly number[] {
  return sizes === 'mlperf' ? MLPERF_QUANTILES : Array.from({ length: count }, () => sizes);
}
