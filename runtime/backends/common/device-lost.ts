import { BraidError, toBraidError } from '../../errors.js';

/** What a model's queries get where its device fails with `cause`; what is a BraidError already stays that. */
export function deviceLost(model: string, cause: unknown): BraidError {
  if (cause instanceof BraidError) return cause;
  const { message } = toBraidError(cause);
  return new BraidError('DEVICE_LOST', `model '${model}': the device failed: ${message}`, { cause });
}
