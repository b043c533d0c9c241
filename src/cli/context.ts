import type { Engine } from '../api.js';
import type { describeDevices } from '../device/index.js';
import type { EngineOptions } from '../engine.js';
import type { tuneModel } from '../tuning/index.js';
import type { SignalOptions } from '../server/shutdown.js';

/** A stream that people read, or a program. */
export interface Terminal {
  write(text: string): unknown;
  /** True where a person watches: only then is progress shown. */
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** What discovery found and what it tried, in order. */
export type DeviceReport = Awaited<ReturnType<typeof describeDevices>>;

/** Everything a command takes from outside, so that tests can run commands in their own process. */
export interface CliContext {
  readonly out: Terminal;
  readonly err: Terminal;
  /** Whether errors are shown with their stacks. */
  readonly debug: boolean;
  openEngine(options: EngineOptions): Promise<Engine>;
  describeDevices(): Promise<DeviceReport>;
  readonly tuneModel: typeof tuneModel;
  readonly signals?: SignalOptions;
}
