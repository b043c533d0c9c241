const SOFTWARE_NAMES = /swiftshader|llvmpipe|lavapipe|softpipe|warp|microsoft basic render/i;

/** Whether an adapter computes on the CPU, told by its names. */
export function isSoftwareAdapter({ vendor, architecture, device, description }: GPUAdapterInfo): boolean {
  return SOFTWARE_NAMES.test([vendor, architecture, device, description].join(' '));
}
