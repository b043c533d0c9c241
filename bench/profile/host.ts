/**
 * Where the host's time of a wave goes: every call of Dawn's binding, timed under closed-loop clients.
 *
 *     npm run build
 *     node dist/bench/profile/host.js --models wnd --clients 1,30
 *
 * The clocks around the calls cost some of what they measure, about 0.1 us each.
 */
import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { GraphEngine, WebGpuBackend } from '../../runtime/index.js';
import { openDevice, pacePolling, POLL_MS, requireAdapter } from '../../src/device/index.js';
import { buildZoo } from '../../src/zoo/index.js';
import { closedLoop } from '../common/closed-loop.js';
import { drawer, queryPool } from '../common/queries.js';

interface Total {
  calls: number;
  ms: number;
}

/** Replaces methods of an object's class by ones that time themselves. */
function timeCalls(object: object, label: string, names: readonly string[], totals: Map<string, Total>): void {
  const prototype = Object.getPrototypeOf(object) as Record<string, (...values: unknown[]) => unknown>;
  for (const name of names) {
    const total: Total = { calls: 0, ms: 0 };
    const method = prototype[name]!;
    totals.set(`${label}.${name}`, total);
    prototype[name] = function (this: unknown, ...values) {
      const began = performance.now();
      const result = method.apply(this, values);
      total.calls++;
      total.ms += performance.now() - began;
      return result;
    };
  }
}

function timeDawn(device: GPUDevice): Map<string, Total> {
  const totals = new Map<string, Total>();
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.end();
  encoder.finish();
  const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST });
  timeCalls(device, 'device', ['createCommandEncoder', 'createBindGroup', 'createBuffer'], totals);
  timeCalls(device.queue, 'queue', ['submit', 'writeBuffer'], totals);
  timeCalls(encoder, 'encoder', ['copyBufferToBuffer', 'beginComputePass', 'finish', 'resolveQuerySet'], totals);
  timeCalls(pass, 'pass', ['setPipeline', 'setBindGroup', 'dispatchWorkgroups', 'end'], totals);
  timeCalls(buffer, 'buffer', ['mapAsync', 'getMappedRange', 'unmap'], totals);
  buffer.destroy();
  return totals;
}

const options = new Command('host')
  .option('--models <names>', 'models of the zoo', 'wnd')
  .option('--clients <list>', 'numbers of clients', '1,30')
  .option('--rows <n>', 'candidates a query', '256')
  .option('--scale <name>', 'scale of the zoo', 'bench')
  .option('--seconds <s>', 'measured for each', '1')
  .option('--json <file>', 'write the figures')
  .parse()
  .opts<{ models: string; clients: string; rows: string; scale: string; seconds: string; json?: string }>();

const { adapter, info, release } = await requireAdapter('auto');
const device = await openDevice(adapter);
const pacing = pacePolling(info.software ? POLL_MS.software : POLL_MS.hardware);
const totals = timeDawn(device);
const engine = new GraphEngine(
  new WebGpuBackend(device, { adapterInfo: adapter.info, ...(info.software ? {} : { expect: pacing.expect }) }),
);
const figures: object[] = [];
for (const name of options.models.split(',')) {
  const model = await engine.load(buildZoo(name, options.scale));
  const pool = queryPool(name, options.scale, Number(options.rows));
  for (const clients of options.clients.split(',').map(Number)) {
    const draw = drawer(pool, `clients ${clients}`);
    let wavesBefore = 0;
    const loop = await closedLoop({
      clients,
      warmupMs: 300,
      measureMs: 1000 * Number(options.seconds),
      next: () => {
        const { rows, inputs } = draw();
        return { rows, run: () => model.run(inputs).then(() => 'answered' as const) };
      },
      onMeasure: () => {
        wavesBefore = engine.loadReport().waves;
        for (const total of totals.values()) Object.assign(total, { calls: 0, ms: 0 });
      },
    });
    const waves = engine.loadReport().waves - wavesBefore;
    const calls = [...totals]
      .map(([call, { calls: n, ms }]) => ({ call, perWave: n / waves, usPerWave: (1000 * ms) / waves }))
      .filter(({ usPerWave }) => usPerWave > 0.05)
      .sort((a, b) => b.usPerWave - a.usPerWave);
    const usPerWave = (1e6 * loop.seconds) / waves;
    const dawnUs = calls.reduce((sum, c) => sum + c.usPerWave, 0);
    figures.push({ model: name, clients, queries: loop.answers.length, waves, usPerWave, dawnUs, calls });
    console.log(
      `${name}, ${clients} clients: ${(loop.answers.length / waves).toFixed(1)} queries a wave, ${usPerWave.toFixed(0)} us a wave, ${dawnUs.toFixed(0)} of them in Dawn's calls`,
    );
    for (const { call, perWave, usPerWave: us } of calls)
      console.log(`  ${us.toFixed(1).padStart(7)} us  ${perWave.toFixed(1).padStart(5)} x  ${call}`);
  }
  await model.dispose();
}
if (options.json !== undefined) {
  const run = { date: new Date().toISOString(), device: info.adapter, driver: info.driver, options, figures };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
await engine.close();
pacing.stop();
release();
