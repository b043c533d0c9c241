/** Numbers of rows are rounded to so many leading bits: what is kept for one is an eighth too large at most. */
const ROW_BITS = 4;

/** `rows` rounded up to few leading bits. */
export function roundedRows(rows: number, most: number): number {
  const unit = 2 ** Math.max(0, Math.floor(Math.log2(Math.max(1, rows))) - (ROW_BITS - 1));
  return Math.min(most, Math.ceil(Math.max(1, rows) / unit) * unit);
}
