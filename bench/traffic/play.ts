import { setImmediate, setTimeout } from 'node:timers/promises';
import type { PreparedQuery } from '../common/systems.js';

/** What became of one arrival. */
export interface Played {
  /** When it was due, in seconds from the start. */
  readonly dueSeconds: number;
  /** From when it was due, not from when it was sent, to its answer; null where it was rejected. */
  readonly latencyMs: number | null;
  /** From when it was due to when it was sent. */
  readonly lagMs: number;
}

/** Timers fire up to a millisecond late: the last of a wait is spent turn by turn. */
const TIMER_SLACK_MS = 2;

/**
 * Sends a query at each arrival, however many are unanswered, and waits for all answers. Latency counts from the arrival:
 * a system that is slow enough to hold the sender up pays for that too.
 */
export async function play(arrivals: readonly number[], next: () => PreparedQuery): Promise<readonly Played[]> {
  const start = performance.now();
  const answers: Promise<Played>[] = [];
  for (const dueSeconds of arrivals) {
    const due = start + 1000 * dueSeconds;
    for (let wait = due - performance.now(); wait > 0; wait = due - performance.now()) {
      if (wait > TIMER_SLACK_MS) await setTimeout(wait - TIMER_SLACK_MS);
      else await setImmediate();
    }
    const lagMs = performance.now() - due;
    answers.push(
      next()
        .run()
        .then((outcome) => ({
          dueSeconds,
          latencyMs: outcome === 'rejected' ? null : performance.now() - due,
          lagMs,
        })),
    );
    // Arrivals that are due already would otherwise be sent without a turn for answers that came meanwhile.
    await setImmediate();
  }
  return Promise.all(answers);
}
