import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { COMPOSITES, OPERATORS } from '../../runtime/operators/registry.js';

it('docs/operators.md lists the registry: every operator, with its opsets', () => {
  const page = readFileSync(new URL('../../docs/operators.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\d+) to (\d+) \|/gm)].map(([, type, first, last]) => [
    type,
    Number(first),
    Number(last),
  ]);
  const registered = [...OPERATORS, ...COMPOSITES]
    .map((o) => [o.type, ...o.opsets])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  expect(rows).toEqual(registered);
});
