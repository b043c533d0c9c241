import { countReaders } from './graph-edits.js';
import type { AnalyzedGraph } from './analyze.js';
import type { DeviceCaps } from './kernel.js';
import { deviceType } from './view.js';

/** Narrower rows would grow by much. */
const FEWEST_COLUMNS = 64;

/**
 * Matrices whose rows are to begin on multiples of 4 elements, by the distance between them: those that products alone read,
 * row by row, and which a GPU reads in vectors then. What lies between the rows is never read as an element.
 */
export function rowPitches(analyzed: AnalyzedGraph, caps: DeviceCaps): ReadonlyMap<string, number> {
  const pitches = new Map<string, number>();
  if (caps.software) return pitches;
  const readers = countReaders(analyzed);
  for (const { node, context } of analyzed.nodes) {
    const isProduct = node.domain === '' && (node.op === 'MatMul' || node.op === 'Gemm');
    const [name] = node.inputs as [string, ...string[]];
    if (!isProduct || context.attributes.number('transA', 0) !== 0 || readers.get(name) !== 1) continue;
    const { dtype, shape } = context.input(0);
    const columns = shape[1];
    const isRagged = typeof columns === 'number' && columns >= FEWEST_COLUMNS && columns % 4 !== 0;
    if (shape.length !== 2 || !isRagged || deviceType(dtype) !== 'f32' || node.inputs.indexOf(name, 1) > 0) continue;
    pitches.set(name, Math.ceil(columns / 4) * 4);
  }
  return pitches;
}
