import type { DeviceCaps } from '../../runtime/compile/kernel.js';

/** What a software adapter can do, which passes for GPUs leave alone. */
export const SOFTWARE_CAPS: DeviceCaps = {
  software: true,
  maxWorkgroupInvocations: 256,
  maxWorkgroupBytes: 32_768,
  maxWorkgroupsPerDimension: 65_535,
  features: new Set(),
  multipliesHalves: false,
};
