import { setImmediate } from 'node:timers/promises';
import type { PreparedQuery } from './systems.js';

export interface ClosedLoop {
  readonly clients: number;
  /** Time before figures count: a GPU that was idle has clocked down. */
  readonly warmupMs: number;
  readonly measureMs: number;
  /** The next query of a client. */
  readonly next: (client: number) => PreparedQuery;
  /** Called as the warm-up ends, with the clients at work. */
  readonly onMeasure?: () => void;
}

export interface Answer {
  readonly client: number;
  readonly rows: number;
  readonly latencyMs: number;
}

export interface LoopResult {
  /** Of the queries sent after the warm-up. */
  readonly answers: readonly Answer[];
  readonly rejected: number;
  /** From the end of the warm-up to the last answer. */
  readonly seconds: number;
}

/** Each client sends its next query when its last is answered. Every client is measured at least once. */
export async function closedLoop({ clients, warmupMs, measureMs, next, onMeasure }: ClosedLoop): Promise<LoopResult> {
  const from = performance.now() + warmupMs;
  const until = from + measureMs;
  const answers: Answer[] = [];
  let rejected = 0;
  const timer = setTimeout(() => onMeasure?.(), warmupMs);
  const work = async (client: number): Promise<void> => {
    let measured = false;
    for (let sent = performance.now(); sent < until || !measured; sent = performance.now()) {
      const query = next(client);
      const outcome = await query.run();
      // A rejected client that asked again at once would keep the thread from whatever answers the others.
      if (outcome === 'rejected') await setImmediate();
      if (sent < from) continue;
      measured = true;
      if (outcome === 'rejected') rejected += 1;
      else answers.push({ client, rows: query.rows, latencyMs: performance.now() - sent });
    }
  };
  try {
    await Promise.all(Array.from({ length: clients }, (_, client) => work(client)));
  } finally {
    clearTimeout(timer);
  }
  return { answers, rejected, seconds: (performance.now() - from) / 1000 };
}
