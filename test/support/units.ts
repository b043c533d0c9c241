import { create, globals } from 'webgpu';
import { afterAll, beforeAll } from 'vitest';
import { compile, type Graph, type Plan } from '../../runtime/index.js';
import type { KernelTarget } from '../../runtime/compile/kernel.js';

/** What a GPU with matrix units of float16 can do, asked for products of it. */
export const UNITS: KernelTarget = {
  software: false,
  maxWorkgroupInvocations: 1024,
  maxWorkgroupBytes: 49_152,
  maxWorkgroupsPerDimension: 65_535,
  features: new Set(['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix']),
  multipliesHalves: true,
  products: 'float16',
};

export function unitsPlan(graph: Graph): Plan {
  return compile(graph, {
    maxBindingBytes: 2 ** 31,
    caps: UNITS,
    products: 'float16',
    precision: { tables: 'float16' },
  });
}

/**
 * What Dawn has against the kernels of a plan for such a GPU; on its null backend, which checks like any other and computes
 * nothing. For the tests of a describe, there once they run.
 */
export function openNullDevice(): (plan: Plan) => Promise<string[]> {
  let gpu: GPU | undefined;
  let device: GPUDevice;
  beforeAll(async () => {
    Object.assign(globalThis, globals);
    gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
    const adapter = await gpu.requestAdapter();
    device = await adapter!.requestDevice({ requiredFeatures: [...UNITS.features] as GPUFeatureName[] });
  });
  afterAll(() => {
    device.destroy();
    gpu = undefined;
  });
  return async ({ program: { steps } }) => {
    const programs = steps.flatMap((step) => {
      const { program, dispatch } = step.webgpu(UNITS);
      return [program, ...(dispatch.alternatives ?? []).map((a) => a.program)];
    });
    const messages = await Promise.all(
      programs.map(async ({ key, source }) => {
        const found = await device.createShaderModule({ code: source }).getCompilationInfo();
        return found.messages.filter((m) => m.type === 'error').map((m) => `${key}: ${m.message}`);
      }),
    );
    return messages.flat();
  };
}
