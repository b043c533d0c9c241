const SOFTWARE_NAMES = /swiftshader|llvmpipe|lavapipe|softpipe|warp|microsoft basic render/i;

/** Whether an adapter computes on the CPU, told by its names. */
export function isSoftwareAdapter({ vendor, architecture, device, description }: GPUAdapterInfo): boolean {
  return SOFTWARE_NAMES.test([vendor, architecture, device, description].join(' '));
}

/** What `chromium-experimental-subgroup-matrix` adds to an adapter's information; @webgpu/types has no such feature. */
interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/**
 * Whether a device multiplies 16x16 matrices of halves in subgroups of 32, and sums them in float32.
 * @param info the adapter's own: that of Dawn's devices has no configurations of matrices.
 */
export function multipliesHalves({ features }: GPUDevice, info: GPUAdapterInfo): boolean {
  if (!['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'].every((f) => features.has(f))) return false;
  const { subgroupMinSize, subgroupMaxSize } = info;
  const configs =
    (info as { readonly subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig> }).subgroupMatrixConfigs ?? [];
  return (
    subgroupMinSize === 32 &&
    subgroupMaxSize === 32 &&
    [...configs].some(
      (c) => c.componentType === 'f16' && c.resultComponentType === 'f32' && c.M === 16 && c.N === 16 && c.K === 16,
    )
  );
}
