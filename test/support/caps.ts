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

/** What an H100 can do under CUDA. */
export const HOPPER_CAPS: DeviceCaps = {
  software: false,
  maxWorkgroupInvocations: 1024,
  maxWorkgroupBytes: 49_152,
  maxWorkgroupsPerDimension: 65_535,
  features: new Set(),
  multipliesHalves: false,
  tf32: { workgroupBytes: 232_448, byGroups: true },
};
