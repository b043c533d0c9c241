import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { COMPOSITES, OPERATORS } from '../../../runtime/operators/registry.js';
import { FAMILIES } from '../../support/families.js';

describe('the operators', () => {
  it('are each in a family that is tested as a whole', () => {
    const tested = Object.values(FAMILIES).flatMap((family) => family.map((o) => o.type));
    expect(tested.toSorted()).toEqual([...OPERATORS, ...COMPOSITES].map((o) => o.type).toSorted());
  });

  it.each(Object.keys(FAMILIES))('of family %s have a test file', (family) => {
    expect(existsSync(new URL(`${family}.test.ts`, import.meta.url))).toBe(true);
  });

  it('have names of their own', () => {
    const types = [...OPERATORS, ...COMPOSITES].map((o) => o.type);
    expect(new Set(types).size).toBe(types.length);
  });
});
