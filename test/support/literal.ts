import { expect, it } from 'vitest';
import type { GraphEngine } from '../../runtime/index.js';
import { deviceProblems, referenceProblems, uncovered, type Case } from './cases.js';
import { FAMILIES } from '../../runtime/operators/registry.js';

/**
 * What every family of operators is tested for with its hand-written cases: that they leave no operator out, and that
 * the reference and the device both give what they say, so that the two cannot be wrong together.
 */
export function testLiteral(family: keyof typeof FAMILIES, literal: readonly Case[], engine: () => GraphEngine): void {
  it('leaves no operator of the family untested', () => {
    expect(uncovered(FAMILIES[family], literal)).toEqual([]);
  });

  it('has a reference that gives hand-written results', () => {
    expect(referenceProblems(literal)).toEqual([]);
  });

  it('gives hand-written results on the device', async () => {
    expect(await deviceProblems(engine(), literal)).toEqual([]);
  });
}
