import { expect } from 'vitest';
import { BraidError, type ErrorCode } from '../../runtime/errors.js';

/** Runs `work`, expects it to throw a BraidError of `code` whose message matches, and returns the message. */
export function expectError(code: ErrorCode, message: RegExp, work: () => unknown): string {
  let thrown: unknown;
  try {
    work();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(BraidError);
  const error = thrown as BraidError;
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
  return error.message;
}

/** expectError for promises. */
export async function expectRejection(code: ErrorCode, message: RegExp, work: Promise<unknown>): Promise<string> {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  return expectError(code, message, () => {
    throw thrown;
  });
}
