import type { FastifyInstance } from 'fastify';

export const DEFAULT_DRAIN_TIMEOUT_MS = 10_000;

/** Exit status of a process that a second Ctrl-C ended: 128 + SIGINT. */
export const INTERRUPTED = 130;

/**
 * Stops accepting connections, lets requests in flight finish, and cuts those that take longer than `drainTimeoutMs`.
 * @returns whether all were answered.
 */
export async function drain(server: FastifyInstance, drainTimeoutMs: number): Promise<boolean> {
  let cut = false;
  const timer = setTimeout(() => {
    cut = true;
    server.server.closeAllConnections();
  }, drainTimeoutMs);
  try {
    await server.close();
  } finally {
    clearTimeout(timer);
  }
  return !cut;
}

export interface SignalSource {
  on(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  off(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
}

export interface SignalOptions {
  /** Where signals come from. Default: this process. */
  readonly source?: SignalSource;
  /** Ends the process at once. Default: process.exit. */
  readonly exit?: (code: number) => void;
}

export interface SignalWatch {
  /** Resolves with the first SIGINT or SIGTERM. */
  readonly stopped: Promise<void>;
  /** Gives the signals back to the process's own handling. */
  release(): void;
}

/** Waits for the first SIGINT or SIGTERM; a second one ends the process at once with status 130. */
export function watchSignals(options: SignalOptions = {}): SignalWatch {
  const source: SignalSource = options.source ?? process;
  const exit = options.exit ?? ((code: number) => process.exit(code));
  let count = 0;
  let stop: () => void;
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const onSignal = () => {
    count += 1;
    if (count === 1) stop();
    else exit(INTERRUPTED);
  };
  source.on('SIGINT', onSignal);
  source.on('SIGTERM', onSignal);
  return {
    stopped,
    release() {
      source.off('SIGINT', onSignal);
      source.off('SIGTERM', onSignal);
    },
  };
}
