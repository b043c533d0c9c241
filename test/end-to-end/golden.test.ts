import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateGraph, GraphEngine, toFloat64, type Tensor } from '../../runtime/index.js';
import { readSafetensors } from '../../src/io/index.js';
import { importOnnxFile } from '../../src/onnx/index.js';
import { openBackend } from '../support/device.js';

const FOLDER = new URL('../fixtures/golden/', import.meta.url);
const MODELS = ['wnd', 'din', 'dlrm', 'bst'];

function split(tensors: ReadonlyMap<string, Tensor>, prefix: string): Record<string, Tensor> {
  return Object.fromEntries(
    [...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), t]),
  );
}

function worst(found: Float64Array, expected: Float64Array): number {
  return Math.max(...found.map((v, i) => Math.abs(v - expected[i]!) - 1e-4 * Math.abs(expected[i]!)));
}

describe.each(MODELS)('%s exported by PyTorch', (model) => {
  const batches = readdirSync(FOLDER).filter((f) => f.startsWith(`${model}.b`));
  const engines: GraphEngine[] = [];

  beforeAll(async () => {
    for (const options of [{}, { software: false, arenaBytes: 2 ** 24 }])
      engines.push(new GraphEngine(await openBackend(options)));
  });
  afterAll(() => {
    for (const engine of engines) void engine.close();
  });

  // With kernels as for the adapter at hand, and once with those that a GPU gets, where passes fuse more.
  it.each([
    ...batches.map((file) => [file, 'the adapter', 0] as const),
    [`${model}.b7.safetensors`, 'a GPU', 1] as const,
  ])('matches PyTorch on %s with kernels for %s', async (file, _, which) => {
    const engine = engines[which]!;
    const graph = await importOnnxFile(new URL(`${model}.onnx`, FOLDER).pathname);
    const loaded = await engine.load(graph);
    const tensors = readSafetensors(await readFile(new URL(file, FOLDER)), file);
    const inputs = split(tensors, 'in.');
    const expected = split(tensors, 'out.');
    const reference = evaluateGraph(graph, new Map(Object.entries(inputs)));
    const found = await loaded.run(inputs);
    for (const [name, t] of Object.entries(expected)) {
      expect(reference.get(name)!.dims).toEqual(t.dims);
      expect(worst(reference.get(name)!.data, toFloat64(t))).toBeLessThan(1e-5);
      expect(found[name]!.dims).toEqual(t.dims);
      expect(worst(toFloat64(found[name]!), toFloat64(t))).toBeLessThan(1e-5);
    }
    await loaded.dispose();
  });
});
