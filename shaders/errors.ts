/**
 * The error records that kernels write and the host reads back with the results.
 *
 * One record a row of the wave, then one a query for what its rows share: word 0 the tag, then position, low word and high word of the offending value. The tag is
 * `epoch * ERROR_CODES + code`; epochs grow with every wave, so that records need no clearing: a record counts only if
 * its epoch is the wave's. The buffer starts with the wave's count of errors (word 0), which tells the host at a glance
 * whether any record was written, the epoch of the wave (word 1) and the number of records in front of those of queries
 * (word 2); the host sets them before the wave.
 */
export const ERROR_HEADER_WORDS = 4;
export const ERROR_RECORD_WORDS = 4;
/**
 * Codes name the lookup (the plan's index of checked gathers) that failed. Those of lookups that run once a query begin at
 * QUERY_CODES: what their kernels call a row is a query.
 */
export const ERROR_CODES = 4096;
export const QUERY_CODES = ERROR_CODES / 2;

export const ERROR_BUFFER = (binding: number): string => `
@group(0) @binding(${binding}) var<storage, read_write> errors: array<atomic<u32>>;
fn report(row: u32, code: u32, position: u32, value: vec2<u32>) {
  atomicAdd(&errors[0], 1u);
  let epoch = atomicLoad(&errors[1]);
  let tag = epoch * ${ERROR_CODES}u + code;
  let place = row + select(0u, atomicLoad(&errors[2]), code >= ${QUERY_CODES}u);
  let at = min(${ERROR_HEADER_WORDS}u + place * ${ERROR_RECORD_WORDS}u, arrayLength(&errors) - ${ERROR_RECORD_WORDS}u);
  // The first error of a row in this wave wins; only its writer goes on.
  let previous = atomicMax(&errors[at], tag);
  if (previous / ${ERROR_CODES}u < epoch) {
    atomicStore(&errors[at + 1u], position);
    atomicStore(&errors[at + 2u], value.x);
    atomicStore(&errors[at + 3u], value.y);
  }
}`;
