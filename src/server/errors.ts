import { BraidError, toBraidError, type ErrorCode } from '../../runtime/errors.js';

/** What every route answers with on failure: Triton's `error` and our stable code beside it. */
export interface ErrorBody {
  readonly error: string;
  readonly code: ErrorCode;
}

/**
 * A request that HTTP itself has a status for (404 no such route, 413 body too large, 415 media type).
 * Its code is REQUEST_INVALID.
 */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly statusCode: number;

  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** The answer for anything thrown while a request was handled. */
export function describeError(error: unknown): { status: number; body: ErrorBody } {
  if (!(error instanceof BraidError)) {
    const status = (error as { statusCode?: unknown } | null)?.statusCode;
    // Fastify's own errors (a broken body length, a bad URL) carry their status too.
    if (typeof status === 'number' && status >= 400 && status < 500) {
      return { status, body: { error: (error as Error).message, code: 'REQUEST_INVALID' } };
    }
  }
  const braid = toBraidError(error);
  return { status: braid.status, body: { error: braid.message, code: braid.code } };
}
