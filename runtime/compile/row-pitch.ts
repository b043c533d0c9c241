import { countReaders } from './graph-edits.js';
import type { AnalyzedGraph } from './analyze.js';
import { productsOf, type KernelTarget } from './kernel.js';
import { deviceType } from './view.js';

/** Narrower rows would grow by much. */
const FEWEST_COLUMNS = 64;

/**
 * Matrices whose rows are to begin on multiples of 4 elements, of 8 where they may be halves, by the distance between them:
 * those that products alone read, row by row, and which a GPU reads in vectors then. What lies between the rows is never read
 * as an element.
 */
export function rowPitches(analyzed: AnalyzedGraph, target: KernelTarget): ReadonlyMap<string, number> {
  const pitches = new Map<string, number>();
  if (target.software) return pitches;
  const unit = productsOf(target) === 'float16' ? 8 : 4;
  const readers = countReaders(analyzed);
  for (const { node, context } of analyzed.nodes) {
    const isProduct = node.domain === '' && (node.op === 'MatMul' || node.op === 'Gemm');
    const [name] = node.inputs as [string, ...string[]];
    if (!isProduct || context.attributes.number('transA', 0) !== 0 || readers.get(name) !== 1) continue;
    const { dtype, shape } = context.input(0);
    const columns = shape[1];
    const isRagged = typeof columns === 'number' && columns >= FEWEST_COLUMNS && columns % unit !== 0;
    if (shape.length !== 2 || !isRagged || deviceType(dtype) !== 'f32' || node.inputs.indexOf(name, 1) > 0) continue;
    pitches.set(name, Math.ceil(columns / unit) * unit);
  }
  return pitches;
}
