/**
 * Matrix products alone: every tile over the shapes that the zoo's layers have, in TFLOP/s.
 *
 *     npm run build && node dist/bench/shaders/matmul.js --json results.json
 *
 * A row is the best of several runs of `--repeat` dispatches in one submission, waited for. Inputs are random.
 */
import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { matMul, type MatMulTile } from '../../shaders/matmul.js';
import { workgroupsOf } from '../../runtime/operators/matmul/kernel.js';
import { layoutParameters, PARAMETER_WINDOW_BYTES } from '../../shaders/program.js';
import { openDevice, requireAdapter } from '../../src/device/index.js';

interface Shape {
  readonly label: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** B is stored [n, k], as Gemm weights are. */
  readonly transposed: boolean;
}

const tiled = (tileM: number, tileN: number, tileK: number, threadM: 1 | 4 | 8, threadN: 4 | 8): MatMulTile => ({
  kind: 'tiled',
  tileM,
  tileN,
  tileK,
  threadM,
  threadN,
});

/** Tiles with vector loads, along k of A; B's as the shape's weight is stored, `words` where k is no multiple of 4. */
function stagedTiles({ k, n, transposed }: Shape): MatMulTile[] {
  if (n <= 4) return [];
  const b = transposed ? 'along' : 'across';
  const loads = k % 4 === 0 ? ({ a: 'along', b } as const) : ({ a: 'words', b: 'words' } as const);
  const staged = (tileM: number, tileN: number, tileK: number, threadM: 4 | 8, threadN: 4 | 8, slices: 1 | 4) =>
    ({ kind: 'staged', tileM, tileN, tileK, threadM, threadN, slices, ...loads }) as const;
  return [
    staged(32, 32, 64, 4, 4, 4),
    staged(32, 32, 32, 4, 4, 4),
    staged(64, 32, 32, 4, 4, 4),
    staged(64, 64, 16, 4, 4, 1),
    staged(64, 64, 32, 4, 4, 1),
    staged(128, 64, 16, 8, 4, 1),
    staged(128, 64, 16, 8, 8, 1),
    staged(128, 128, 16, 8, 8, 1),
    staged(128, 128, 8, 8, 8, 1),
  ];
}

const TILES: readonly MatMulTile[] = [
  tiled(32, 32, 16, 4, 4),
  tiled(64, 64, 16, 4, 4),
  tiled(64, 64, 32, 4, 4),
  tiled(64, 64, 16, 8, 8),
  tiled(128, 64, 16, 8, 8),
  tiled(128, 64, 16, 8, 4),
  tiled(64, 128, 16, 4, 8),
  tiled(128, 128, 8, 8, 8),
  tiled(128, 128, 16, 8, 8),
  tiled(64, 4, 32, 1, 4),
  { kind: 'rows', lanes: 8, columns: 1 },
  { kind: 'rows', lanes: 32, columns: 1 },
  { kind: 'direct', threadM: 8, threadN: 4 },
];

function shapes(rows: readonly number[]): Shape[] {
  return rows.flatMap((m) => [
    { label: 'wnd top 0', m, n: 1024, k: 429, transposed: true },
    { label: 'wnd top 1', m, n: 512, k: 1024, transposed: true },
    { label: 'dlrm top 1', m, n: 1024, k: 1024, transposed: true },
    { label: 'din attention 0', m: m * 100, n: 80, k: 512, transposed: false },
    { label: 'bst q', m: m * 21, n: 64, k: 64, transposed: false },
    { label: 'bst top 0', m, n: 1024, k: 1856, transposed: true },
    { label: 'last layer', m, n: 1, k: 256, transposed: true },
  ]);
}

function tileName(tile: MatMulTile): string {
  return matMul({ tile, hasBias: false }).key.replace('MatMul_', '');
}

function buffer(device: GPUDevice, words: number, fill: boolean): GPUBuffer {
  const made = device.createBuffer({ size: words * 4, usage: GPUBufferUsage.STORAGE, mappedAtCreation: fill });
  if (fill) {
    const data = new Float32Array(made.getMappedRange());
    for (let i = 0; i < data.length; i++) data[i] = Math.random() - 0.5;
    made.unmap();
  }
  return made;
}

async function measure(
  device: GPUDevice,
  shape: Shape,
  tile: MatMulTile,
  operands: readonly GPUBuffer[],
  repeat: number,
): Promise<number> {
  const { m, n, k, transposed } = shape;
  const program = matMul({ tile, hasBias: false });
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code: program.source }), entryPoint: 'main' },
  });
  const { offsets } = layoutParameters(program.fields);
  const words = new Uint32Array(PARAMETER_WINDOW_BYTES / 4);
  const set = (name: string, value: number): void => void (words[offsets.get(name)!] = value);
  const sizes = { m, n, k, batches: 1, batch_inner: 1, a_row: k, a_column: 1, out_row: n, out_column: 1 };
  const weight = transposed ? { b_row: 1, b_column: k } : { b_row: n, b_column: 1 };
  for (const [name, value] of Object.entries({ ...sizes, ...weight })) set(name, value);
  new Float32Array(words.buffer)[offsets.get('alpha')!] = 1;
  const parameters = device.createBuffer({
    size: PARAMETER_WINDOW_BYTES,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(parameters, 0, words);
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [parameters, ...operands].map((b, binding) => ({ binding, resource: { buffer: b } })),
  });
  const workgroups = Math.min(65_535, workgroupsOf(tile, m, n, 1));
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 4; run++) {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < repeat; i++) pass.dispatchWorkgroups(workgroups);
    pass.end();
    await device.queue.onSubmittedWorkDone();
    const start = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    best = Math.min(best, (performance.now() - start) / repeat);
  }
  parameters.destroy();
  return best;
}

const program = new Command('matmul')
  .option('--rows <list>', 'rows of a wave', '256,7680')
  .option('--repeat <n>', 'dispatches a submission', '20')
  .option('--json <file>', 'write the figures');
const options = program.parse().opts<{ rows: string; repeat: string; json?: string }>();
const found = await requireAdapter('auto');
const device = await openDevice(found.adapter);
const figures: { shape: Shape; tile: string; ms: number; tflops: number }[] = [];
for (const shape of shapes(options.rows.split(',').map(Number))) {
  const { m, n, k } = shape;
  const operands = [buffer(device, m * k, true), buffer(device, k * n, true), buffer(device, m * n, false)];
  for (const tile of [...TILES, ...stagedTiles(shape)]) {
    if ((tile.kind === 'tiled' && (tile.tileN === 4) !== n <= 4) || (tile.kind === 'rows' && n > 1)) continue;
    const ms = await measure(device, shape, tile, operands, Number(options.repeat));
    const tflops = (2 * m * n * k) / ms / 1e9;
    figures.push({ shape, tile: tileName(tile), ms, tflops });
    console.log(
      `${shape.label.padEnd(16)} ${`${m}x${n}x${k}`.padEnd(18)} ${tileName(tile).padEnd(20)} ${ms.toFixed(4)} ms  ${tflops.toFixed(2)} TFLOP/s`,
    );
  }
  for (const b of operands) b.destroy();
}
if (options.json !== undefined) {
  const run = {
    date: new Date().toISOString(),
    device: found.info.adapter,
    driver: found.info.driver,
    options,
    figures,
  };
  await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`);
}
device.destroy();
found.release();
