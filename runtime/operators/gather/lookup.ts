import type { Lowering } from '../../compile/lowering.js';
import { broadcastView, sliceView } from '../../compile/view.js';
import { add, type Dim } from '../../graph/dim.js';
import { fusedOperator } from '../fused.js';
import { lookUp } from './index.js';

/** Inputs before the indices. */
const FIRST_INDICES = 2;

function lower(lowering: Lowering): void {
  const { context } = lowering;
  const axis = context.attributes.number('axis', 0);
  const output = lowering.output(0);
  const added = lowering.optional(1);
  const addend = added && broadcastView(added, output.shape);
  let start: Dim = 0;
  for (let indices = FIRST_INDICES; indices < context.inputCount; indices++) {
    const { shape } = context.input(indices);
    const size = context.inputCount === FIRST_INDICES + 1 ? output.shape[axis]! : shape[axis]!;
    lookUp(lowering, {
      data: 0,
      indices,
      axis: 0,
      output: sliceView(output, axis, start, size),
      ...(addend ? { addend: sliceView(addend, axis, start, size) } : {}),
    });
    start = add(start, size);
  }
}

/**
 * Lookup(table, addend, indices..): rows of a table for indices that are concatenated along `axis`, and something added
 * to them; the addend may be left out. What compile/lookups.ts makes; no model has it.
 */
export const LOOKUP = fusedOperator('Lookup', lower);
