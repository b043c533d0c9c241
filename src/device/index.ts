import type { DeviceInfo } from '../api.js';
import { describeCuda } from './backend.js';
import { discover, type AdapterChoice, type Attempt } from './discover.js';

export {
  BACKEND_NAMES,
  BACKENDS,
  openBackend,
  openBackends,
  type BackendChoice,
  type BackendName,
  type DeviceChoice,
  type OpenedBackend,
} from './backend.js';
export { openDevice, requireAdapter, type AdapterChoice, type Attempt, type FoundAdapter } from './discover.js';
export { pacePolling, POLL_MS, type Pacing } from './polling.js';

/** What adapters there are and what stands in the way of better ones: `braid doctor`. */
export async function describeDevices(
  choice: AdapterChoice = 'auto',
): Promise<{ found?: DeviceInfo; tried: readonly Attempt[] }> {
  const { found, tried: adapters } = await discover(choice);
  found?.release();
  const tried = [...adapters, describeCuda()];
  return found ? { found: found.info, tried } : { tried };
}
