import { toBraidError } from '../../runtime/errors.js';
import type { CliContext } from './context.js';

/** Exit statuses of every command. */
export const EXIT = {
  ok: 0,
  /** `check` found a difference, `doctor` no device. */
  failed: 1,
  /** The command could not be carried out. */
  error: 2,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Prints an error as `error CODE: message`; its stack only where asked for. */
export function reportError(context: CliContext, error: unknown): ExitCode {
  const { code, message } = toBraidError(error);
  context.err.write(`error ${code}: ${message}\n`);
  for (let at = error; context.debug && at instanceof Error; at = at.cause) context.err.write(`${at.stack}\n`);
  return EXIT.error;
}
