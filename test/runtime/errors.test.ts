import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BraidError, ERROR_CATALOGUE, toBraidError, type ErrorCode } from '../../runtime/errors.js';

/** Rows of the table in docs/errors.md: | `CODE` | status | meaning | */
function documented(): { code: string; status: number; means: string }[] {
  const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  const rows = page.matchAll(/^\| `(?<code>[A-Z_]+)` \| (?<status>\d+) \| (?<means>.+) \|$/gm);
  return Array.from(rows, ({ groups }) => {
    const { code, status, means } = groups as { code: string; status: string; means: string };
    return { code, status: Number(status), means };
  });
}

describe('docs/errors.md', () => {
  it('lists the catalogue, row by row', () => {
    const catalogue = Object.entries(ERROR_CATALOGUE).map(([code, { status, means }]) => ({ code, status, means }));
    expect(documented()).toEqual(catalogue);
  });
});

describe('BraidError', () => {
  it.each(Object.keys(ERROR_CATALOGUE) as ErrorCode[])('answers the status of %s', (code) => {
    const error = new BraidError(code, 'what was found');
    expect(error).toMatchObject({ name: 'BraidError', code, message: 'what was found' });
    expect(error.status).toBe(ERROR_CATALOGUE[code].status);
  });

  it('keeps its cause', () => {
    const cause = new Error('below');
    expect(new BraidError('INTERNAL', 'above', { cause }).cause).toBe(cause);
  });
});

describe('toBraidError', () => {
  it('passes a BraidError on', () => {
    const error = new BraidError('CLOSED', 'closed');
    expect(toBraidError(error)).toBe(error);
  });

  it('wraps anything else as INTERNAL, its message and itself kept', () => {
    const error = new TypeError('not a function');
    expect(toBraidError(error)).toMatchObject({
      code: 'INTERNAL',
      status: 500,
      message: 'not a function',
      cause: error,
    });
    expect(toBraidError('text')).toMatchObject({ code: 'INTERNAL', message: 'text', cause: 'text' });
  });
});
