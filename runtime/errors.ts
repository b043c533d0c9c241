/**
 * The catalogue of errors Braid raises on purpose: a stable code, the HTTP status a server answers with, and what it
 * means. docs/errors.md lists the same rows; a test keeps the two equal.
 */
export const ERROR_CATALOGUE = {
  MODEL_UNREADABLE: { status: 400, means: 'the file is not a model Braid can parse (truncated, not ONNX, corrupt)' },
  MODEL_UNSUPPORTED: { status: 400, means: 'the model parses, but uses operators, types or shapes that Braid lacks' },
  MODEL_INVALID: { status: 400, means: 'the model contradicts itself: a missing value, shapes that cannot fit' },
  MODEL_NOT_FOUND: { status: 404, means: 'no model of that name (or version) is loaded' },
  MODEL_NOT_READY: { status: 503, means: 'the model is known but still loading, or it failed to load' },
  INPUT_MISSING: { status: 400, means: 'a required input was not given' },
  INPUT_UNKNOWN: { status: 400, means: 'an input was given that the model does not have' },
  INPUT_TYPE: { status: 400, means: 'an input has another data type than the model declares' },
  INPUT_SHAPE: { status: 400, means: 'an input has another rank or size than the model declares' },
  INPUT_SIZE: { status: 400, means: 'an input holds another number of elements or bytes than its shape says' },
  INPUT_VALUE: { status: 400, means: 'an input holds a value its type cannot hold (NaN in JSON, a fraction as an id)' },
  INDEX_OUT_OF_RANGE: { status: 400, means: 'an id or index lies outside its table' },
  OUTPUT_UNKNOWN: { status: 400, means: 'an output was asked for that the model does not have' },
  REQUEST_INVALID: { status: 400, means: 'the request itself is malformed' },
  OVERLOADED: { status: 503, means: 'the query needs more device memory or queue than the limits allow' },
  DEADLINE_EXCEEDED: { status: 504, means: "the query's deadline passed before the device could take it" },
  DEVICE_UNAVAILABLE: { status: 503, means: 'no usable GPU adapter was found' },
  DEVICE_LOST: { status: 503, means: 'the GPU device was lost while the query was running' },
  CLOSED: { status: 503, means: 'the engine or the model was closed' },
  FILE_UNREADABLE: { status: 400, means: 'a tensor file could not be read (npy, safetensors, pb, JSON)' },
  INTERNAL: { status: 500, means: 'a defect in Braid' },
} as const satisfies Record<string, { status: number; means: string }>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** An error with a stable `code` and a message that names the thing, what was found and what was expected. */
export class BraidError extends Error {
  override readonly name = 'BraidError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** The HTTP status that fits this error. */
  get status(): number {
    return ERROR_CATALOGUE[this.code].status;
  }
}

/** Narrows `error` to a BraidError; anything else is wrapped as INTERNAL with its message kept. */
export function toBraidError(error: unknown): BraidError {
  if (error instanceof BraidError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new BraidError('INTERNAL', message, { cause: error });
}
