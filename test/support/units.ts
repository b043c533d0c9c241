import { create, globals } from 'webgpu';
import { afterAll, beforeAll, type TestContext } from 'vitest';
import { compile, GraphBuilder, type Graph, type GraphEngine, type Plan } from '../../runtime/index.js';
import type { KernelTarget, ProductPrecision } from '../../runtime/compile/kernel.js';

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

const found = new WeakMap<GraphEngine, Map<ProductPrecision, Promise<boolean>>>();

async function multiplies(engine: GraphEngine, products: ProductPrecision): Promise<boolean> {
  const b = new GraphBuilder('units');
  const weight = b.constant('w', { dtype: 'float32', dims: [16, 16], data: new Float32Array(256) });
  b.output(b.op('MatMul', [b.input('x', 'float32', ['n', 16]), weight]), 'float32');
  const model = await engine.load(b.build(), { products });
  const { precision } = await model.summary();
  await model.dispose();
  return precision.products === products;
}

/** Skips a test of products of a type where the engine's device has no matrix units for them: it would test those of float32 again. */
export async function needsUnits(
  engine: GraphEngine,
  products: ProductPrecision,
  { skip }: Pick<TestContext, 'skip'>,
): Promise<void> {
  const known = found.get(engine) ?? new Map<ProductPrecision, Promise<boolean>>();
  found.set(engine, known);
  const has = known.get(products) ?? multiplies(engine, products);
  known.set(products, has);
  skip(!(await has), `this device has no matrix units for ${products}`);
}
