import { PassTimer } from './pass-timer.js';

/** What a device does at most, measured by kernels that do nothing else. */
export interface Peaks {
  /** Read and written, by a kernel that copies 512 MiB (4 MiB on a software adapter). */
  readonly copyGBs: number;
  /** Multiplications and additions of float32 in registers. */
  readonly tflops: number;
}

const COPY = `
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> copy: array<vec4<f32>>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var i = id.x; i < arrayLength(&source); i += groups.x * 256u) { copy[i] = source[i]; }
}`;

const CHAINS = 16;
const STEPS = 4096;
const UNROLLED = 8;

function chains(of: (i: number) => string, between = '\n  '): string {
  return Array.from({ length: CHAINS }, (_, i) => of(i)).join(between);
}

/** Independent chains of multiply-adds; their sum is stored, so that none is left out. */
const MULTIPLY = `
@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = source[id.x % 256u];
  ${chains((i) => `var c${i} = x + ${i}.0;`)}
  for (var step = 0u; step < ${STEPS / UNROLLED}u; step++) {
  ${Array.from({ length: UNROLLED }, () => chains((i) => `c${i} = fma(c${i}, x, 0.5);`)).join('\n  ')}
  }
  sums[id.x] = ${chains((i) => `c${i}`, ' + ')};
}`;

interface Work {
  readonly words: number;
  readonly workgroups: number;
  readonly rounds: number;
}

/** Seconds. */
async function fastest(device: GPUDevice, code: string, { words, workgroups, rounds }: Work): Promise<number> {
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
  });
  const operands = [0, 1].map(() => device.createBuffer({ size: words * 4, usage: GPUBufferUsage.STORAGE }));
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: operands.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const timer = new PassTimer(device);
  let seconds = Number.POSITIVE_INFINITY;
  // The first runs warm up a GPU that clocked down.
  for (let i = 0; i < rounds; i++) seconds = Math.min(seconds, await timer.time(pipeline, group, workgroups));
  for (const made of [...operands, timer]) made.destroy();
  return seconds;
}

/** A function that gives a GPU about 2 ms of arithmetic to do, so that what is submitted behind it runs at its full clock. */
export async function busyWork(device: GPUDevice, software: boolean): Promise<() => void> {
  const groups = software ? 1 : 4224;
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code: MULTIPLY }), entryPoint: 'main' },
  });
  const operands = [0, 1].map(() => device.createBuffer({ size: 1024 * groups, usage: GPUBufferUsage.STORAGE }));
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: operands.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(groups);
    pass.end();
    device.queue.submit([encoder.finish()]);
  };
}

/** @param software whether the adapter computes on the CPU, where less work tells as much. */
export async function measurePeaks(device: GPUDevice, software: boolean): Promise<Peaks> {
  const [words, groups, rounds] = software ? [2 ** 20, 4, 2] : [2 ** 27, 4224, 100];
  const copy = await fastest(device, COPY, { words, workgroups: 8 * groups, rounds });
  const multiply = await fastest(device, MULTIPLY, { words: 256 * groups, workgroups: groups, rounds });
  return { copyGBs: (8 * words) / copy / 1e9, tflops: (2 * CHAINS * STEPS * 256 * groups) / multiply / 1e12 };
}
