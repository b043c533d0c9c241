import type { Lowering } from '../compile/lowering.js';
import { BraidError } from '../errors.js';
import { BRAID_DOMAIN } from './composite.js';
import type { Operator } from './operator.js';
import { shownByShapes } from './rows.js';

/**
 * An operator that passes of compile/ put in the place of others. No model has it: it is made after shapes, values and
 * the treatment of rows are known, so that all there is to it is its kernel.
 */
export function fusedOperator(type: string, lower: (lowering: Lowering) => void): Operator {
  const made = (): never => {
    throw new BraidError('INTERNAL', `${type} is made after shapes and values are known`);
  };
  return { type, domain: BRAID_DOMAIN, opsets: [1, 1], infer: made, reference: made, rows: shownByShapes, lower };
}
