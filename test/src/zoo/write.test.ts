import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, writeZoo, zooNames } from '../../../src/zoo/index.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'braid-zoo-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

it.each(zooNames)('%s comes back from its ONNX file as it was built', async (model) => {
  const file = path.join(folder, `${model}.onnx`);
  await writeZoo(model, 'tiny', file);
  const [read, built] = [await importOnnxFile(file), buildZoo(model, 'tiny')];
  expect(read.inputs).toEqual(built.inputs);
  expect(read.outputs).toEqual(built.outputs);
  expect(read.nodes).toEqual(built.nodes);
  expect([...read.constants.keys()].sort()).toEqual([...built.constants.keys()].sort());
  for (const [name, tensor] of built.constants) expect(read.constants.get(name), name).toEqual(tensor);
});

it('refuses what one ONNX file cannot hold before making it', async () => {
  const written = writeZoo('wnd', 'published', path.join(folder, 'large.onnx'), { maxRows: 1_000_000 });
  await expect(written).rejects.toMatchObject({
    code: 'MODEL_UNSUPPORTED',
    message: expect.stringMatching(/^wnd at scale published holds \d+ bytes .* lower maxRows$/),
  });
});

it('refuses a model it does not know', async () => {
  await expect(writeZoo('ncf', 'tiny', path.join(folder, 'ncf.onnx'))).rejects.toMatchObject({
    code: 'MODEL_NOT_FOUND',
  });
});
