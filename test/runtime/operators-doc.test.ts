import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FAMILIES } from '../../runtime/operators/registry.js';
import { testFile, withOperatorTable } from '../../scripts/operator-table.js';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

describe('docs/operators.md', () => {
  it('has the table that the registry makes; npm run docs:operators writes it', () => {
    const page = read('docs/operators.md');
    expect(page).toBe(withOperatorTable(page));
  });

  it.each(Object.entries(FAMILIES))('names the file that tests every operator of family %s', (family, operators) => {
    const tests = read(testFile(family));
    expect(operators.map((o) => o.type).filter((type) => !tests.includes(type))).toEqual([]);
  });
});
