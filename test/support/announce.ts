import { describeDevices } from '../../src/device/index.js';

/** Says once, before the tests, which adapter computes them. */
export async function setup(): Promise<void> {
  const { found, tried } = await describeDevices();
  const reasons = tried.filter((t) => !t.ok).map((t) => `${t.origin}: ${t.detail}`);
  const adapter = found ? `${found.adapter} (${found.origin})` : 'none, tests that need a device will fail';
  console.log(`WebGPU adapter: ${adapter}${reasons.length > 0 ? `; not found: ${reasons.join('; ')}` : ''}`);
}
