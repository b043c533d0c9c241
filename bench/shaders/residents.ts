/**
 * How many workgroups run side by side by the workgroup memory that each takes, in microseconds.
 *
 *     npm run build && node dist/bench/shaders/residents.js --multiprocessors 132
 *
 * Every workgroup does the same, which takes long: as many as find room at once take as long as one a multiprocessor.
 */
import { Command } from 'commander';
import { openDevice, requireAdapter } from '../../src/device/index.js';
import { PassTimer } from './pass-timer.js';

const { multiprocessors, kib, threads } = new Command('residents')
  .option('--multiprocessors <n>', 'of the device', '132')
  .option('--kib <list>', 'workgroup memory', '1,8,12,16,20,24,32,40,48')
  .option('--threads <list>', 'of a workgroup', '64,128,256')
  .parse()
  .opts<Readonly<Record<'multiprocessors' | 'kib' | 'threads', string>>>();

const PER_MULTIPROCESSOR = [1, 2, 4, 8, 16];
const STEPS = 6000;

const found = await requireAdapter('auto');
const device = await openDevice(found.adapter);
const timer = new PassTimer(device);
const out = device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE });

async function measure(pipeline: GPUComputePipeline, group: GPUBindGroup, workgroups: number): Promise<number> {
  return 1e6 * (await timer.time(pipeline, group, workgroups));
}

const numbers = (text: string): number[] => text.split(',').map(Number);
console.log(`us for ${PER_MULTIPROCESSOR.join(', ')} workgroups a multiprocessor`);
for (const size of numbers(threads)) {
  for (const memory of numbers(kib)) {
    const words = memory * 256;
    // Steps depend on each other through memory; what they come to is unknown when the shader is compiled.
    const code = `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
var<workgroup> words: array<u32, ${words}>;
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  var x = thread + group.x;
  words[(x * 977u) % ${words}u] = x;
  workgroupBarrier();
  for (var i = 0u; i < ${STEPS}u; i++) { x = words[x % ${words}u] * 1664525u + i; }
  if (x == 1234567u) { out[0] = x; }
}`;
    const module = device.createShaderModule({ code });
    const pipeline = await device.createComputePipelineAsync({
      layout: 'auto',
      compute: { module, entryPoint: 'main' },
    });
    const layout = pipeline.getBindGroupLayout(0);
    const group = device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: out } }] });
    // The first run of a pipeline takes longer.
    await measure(pipeline, group, Number(multiprocessors));
    const times: string[] = [];
    for (const n of PER_MULTIPROCESSOR)
      times.push((await measure(pipeline, group, n * Number(multiprocessors))).toFixed(0));
    console.log(`${String(size).padStart(4)} threads ${String(memory).padStart(3)} KiB  ${times.join(' ')}`);
  }
}
timer.destroy();
device.destroy();
found.release();
