import type { Engine, ScheduleOptions } from './api.js';
import type { AdapterChoice, DeviceChoice } from './device/index.js';
import { LocalEngine } from './local-engine.js';
import { WorkerEngine } from './worker/client.js';

export interface EngineOptions extends Partial<DeviceChoice> {
  /** `worker` (default): the device lives in a thread of its own. `main`: in this one; simplest, but it polls. */
  readonly thread?: 'worker' | 'main';
  /** Which adapters to accept. Default `auto`: a GPU if there is one, a software adapter otherwise. */
  readonly adapter?: AdapterChoice;
  /** How waiting queries are made into waves. */
  readonly schedule?: ScheduleOptions;
  /** File for a Chrome trace of waves, operators, uploads and read-backs. Slows the device down. */
  readonly trace?: string;
}

/**
 * Opens a device. Close it when done: it keeps the process alive.
 * @throws BraidError DEVICE_UNAVAILABLE, listing what was tried and what would help.
 */
export function openEngine(options: EngineOptions = {}): Promise<Engine> {
  const { thread, ...given } = options;
  const settings = { adapter: 'auto' as const, ...given };
  return thread === 'main' ? LocalEngine.open(settings) : WorkerEngine.open(settings);
}
