import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { COMPOSITES, OPERATORS } from '../../../runtime/operators/registry.js';
import { FAMILIES } from '../../../runtime/operators/registry.js';

describe('the operators', () => {
  it.each(Object.keys(FAMILIES))('of family %s have a test file', (family) => {
    expect(existsSync(new URL(`${family}.test.ts`, import.meta.url))).toBe(true);
  });

  it('have names of their own', () => {
    const types = [...OPERATORS, ...COMPOSITES].map((o) => o.type);
    expect(new Set(types).size).toBe(types.length);
  });
});
