import { describe, expect, it } from 'vitest';
import { findCuda, loadAddon } from '../../../../runtime/backends/cuda/addon.js';
import { describeCuda } from '../../../../src/device/backend.js';

const loaded = loadAddon();
const found = findCuda();

describe('findCuda', () => {
  it('says what is missing, or what there is', () => {
    if ('reason' in found) expect(found.reason).not.toBe('');
    else expect(found.device.architecture).toBeGreaterThanOrEqual(80);
  });

  it('is a line of braid doctor', () => {
    const line = describeCuda();
    expect(line.origin).toBe('cuda');
    expect(line.ok).toBe(!('reason' in found));
    if ('reason' in found) expect(line.detail).toBe(found.reason);
  });
});

// Where the addon is built and there is no driver: nothing may crash.
describe.skipIf('reason' in loaded || !('reason' in found))('the addon without a GPU', () => {
  // The body of a suite that is skipped runs too.
  const addon = ('addon' in loaded ? loaded.addon : undefined)!;

  it('probes', () => {
    const probe = addon.probe();
    expect(probe.devices.length === 0 || probe.compilerReason !== '').toBe(true);
  });

  it.skipIf(addon?.probe().driverReason === '')('refuses to open a device with the reason of the probe', () => {
    expect(() => new addon.Device(0, 1, () => {})).toThrow(addon.probe().driverReason);
  });

  it.skipIf(addon?.probe().compilerReason === '')('refuses to compile with the reason of the probe', async () => {
    await expect(addon.compile('', [], 90, [])).rejects.toThrow(addon.probe().compilerReason);
  });
});
