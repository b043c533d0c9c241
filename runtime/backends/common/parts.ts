import { toBraidError } from '../../errors.js';
import type { Part, PartOutcome } from '../backend.js';

/** Backend.submit where nothing is gained by one submission: each part goes by itself. */
export function submitApart(
  parts: readonly Part[],
  onSubmitted?: (at: number) => void,
): Promise<readonly PartOutcome[]> {
  return Promise.all(
    parts.map(({ executable, wave, timing }) =>
      executable.submit(wave, timing, onSubmitted).catch((error: unknown) => ({ error: toBraidError(error) })),
    ),
  );
}
