import { create, globals } from 'webgpu';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, GraphBuilder, WebGpuBackend, type Graph } from '../../../runtime/index.js';
import { buildZoo, zooNames } from '../../../src/zoo/index.js';
import { Random } from '../../support/cases.js';

/** Two layers of one weight as exporters store it: what more than one product reads is not turned. */
function sharedWeight(): Graph {
  const random = new Random();
  const b = new GraphBuilder('shared weight');
  const w = b.constant('w', random.floats([256, 256], -1, 1));
  const x = b.input('x', 'float32', ['rows', 256]);
  const hidden = b.op('Gemm', [x, w], { transB: 1 });
  b.output(b.op('Gemm', [hidden, w], { transB: 1 }, { outputs: ['y'] }), 'float32');
  return b.build();
}

/** Dawn's null backend checks like any other, and computes nothing: kernels of a GPU are validated without one. */
describe('a device with no more than the limits that WebGPU promises', () => {
  let gpu: GPU | undefined;
  let backend: WebGpuBackend;

  beforeAll(async () => {
    Object.assign(globalThis, globals);
    gpu = create(['backend=null']);
    const adapter = await gpu.requestAdapter();
    backend = new WebGpuBackend(await adapter!.requestDevice(), { software: false });
  });
  afterAll(() => {
    backend.close();
    gpu = undefined;
  });

  it.each([
    ...zooNames.map((name) => ({ name, graph: () => buildZoo(name, 'demo') })),
    { name: 'a weight of two layers', graph: sharedWeight },
  ])('takes the kernels of $name', async ({ graph }) => {
    expect(backend.caps.maxWorkgroupBytes).toBe(16_384);
    const { caps, maxBindingBytes } = backend;
    const executable = await backend.prepare(compile(graph(), { caps, maxBindingBytes }));
    expect(executable.dispatches).toBeGreaterThan(0);
    executable.release();
  });
});
