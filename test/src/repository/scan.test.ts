import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseModelConfig } from '../../../src/repository/config.js';
import { ModelRepository } from '../../../src/repository/repository.js';
import { addScanned, scanRepository } from '../../../src/repository/scan.js';
import { FakeEngine } from '../server/fake.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'braid-scan-'));
});

afterEach(() => rm(folder, { recursive: true }));

async function put(path: string, content = ''): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
}

/** The scan as short text: `name/version path-or-error`. */
async function scan(): Promise<string[]> {
  const { models, ignored } = await scanRepository(folder);
  const lines = models.flatMap(({ name, versions }) =>
    versions.map((v) => `${name}/${v.version} ${'path' in v ? v.path : v.error.message}`),
  );
  return [...lines, ...ignored.map((entry) => `ignored ${entry}`)].map((line) => line.replaceAll(folder, 'DIR'));
}

describe('scanRepository', () => {
  test('the three layouts', async () => {
    await put('flat.onnx');
    await put('plain/model.onnx');
    await put('triton/2/model.onnx');
    await put('triton/10/model.onnx');
    await put('triton/config.pbtxt');
    await put('.git/config');
    await put('README.md');
    await put('notes/a.txt');
    expect(await scan()).toEqual([
      'flat/1 DIR/flat.onnx',
      'plain/1 DIR/plain/model.onnx',
      'triton/10 DIR/triton/10/model.onnx',
      'ignored README.md',
      'ignored notes',
    ]);
  });

  test('all versions where the config says so', async () => {
    await put('m/2/model.onnx');
    await put('m/10/model.onnx');
    await put('m/braid.json', '{"versions": "all", "rows": "lift"}');
    expect(await scan()).toEqual(['m/2 DIR/m/2/model.onnx', 'm/10 DIR/m/10/model.onnx']);
    const { models } = await scanRepository(folder);
    expect(models[0]!.config).toEqual({ versions: 'all', rows: 'lift' });
  });

  test('folders that are no versions are passed over', async () => {
    await put('m/1/model.onnx');
    await put('m/007/model.onnx');
    await put('m/0/model.onnx');
    await put('m/latest/model.onnx');
    expect(await scan()).toEqual(['m/1 DIR/m/1/model.onnx']);
  });

  test('a model that contradicts itself fails with its reason, the others stay', async () => {
    await put('a.onnx');
    await put('a/model.onnx');
    await put('b/model.onnx');
    await put('b/1/model.onnx');
    await put('c/braid.json', '{}');
    await put('d/model.onnx');
    await put('d/braid.json', '{"row": "lift"}');
    await put('e/3/weights.bin');
    await put('f.onnx');
    expect(await scan()).toEqual([
      'a/1 DIR holds both a.onnx and a folder a, expected one or the other',
      'b/1 DIR/b holds both model.onnx and version folders, expected one or the other',
      'c/1 DIR/c holds no model.onnx',
      "d/1 DIR/d/braid.json: unknown key 'row', expected one of 'rows', 'shared_inputs', 'precision', 'products', 'versions'",
      'e/3 DIR/e/3 holds no model.onnx',
      'f/1 DIR/f.onnx',
    ]);
  });

  test('a dangling link fails when it is loaded, not the scan', async () => {
    await symlink(join(folder, 'gone'), join(folder, 'm.onnx'));
    expect(await scan()).toEqual(['m/1 DIR/m.onnx']);
  });

  test('a folder that is not there', async () => {
    await expect(scanRepository(join(folder, 'nowhere'))).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      message: expect.stringMatching(/^cannot read .*nowhere: ENOENT/),
    });
  });
});

test('addScanned registers every version at once and settles with the outcomes', async () => {
  await put('a.onnx');
  await put('broken.onnx');
  await put('b/model.onnx');
  await put('b/braid.json', '{"rows": "auto", "shared_inputs": ["user"]}');
  await put('c/1/model.onnx');
  await put('c/2/none');
  await put('c/braid.json', '{"versions": "all", "precision": {"tables": "int8"}}');
  const engine = new FakeEngine();
  const repository = new ModelRepository(engine);
  const outcomes = addScanned(repository, await scanRepository(folder), {
    rows: 'lift',
    precision: { weights: 'float16' },
  });
  expect(repository.list().map(({ name, version, state }) => `${name}/${version} ${state}`)).toEqual([
    'a/1 loading',
    'b/1 loading',
    'broken/1 loading',
    'c/1 loading',
    'c/2 failed',
  ]);
  expect((await Promise.all(outcomes)).map(({ state }) => state)).toEqual([
    'ready',
    'ready',
    'failed',
    'ready',
    'failed',
  ]);
  expect(engine.loads.map(({ options }) => options.rows)).toEqual(['lift', 'auto', 'lift', 'lift']);
  expect(engine.loads.map(({ options }) => options.shared)).toEqual([undefined, ['user'], undefined, undefined]);
  expect(engine.loads.map(({ options }) => options.precision)).toEqual([
    { weights: 'float16' },
    { weights: 'float16' },
    { weights: 'float16' },
    { tables: 'int8' },
  ]);
});

describe('braid.json', () => {
  test('takes its keys and fills in the rest', () => {
    expect(parseModelConfig('{}', 'x')).toEqual({ versions: 'latest' });
    expect(parseModelConfig('{"rows": "lift"}', 'x')).toEqual({ rows: 'lift', versions: 'latest' });
    expect(parseModelConfig('{"shared_inputs": ["history", "profile"]}', 'x')).toEqual({
      shared_inputs: ['history', 'profile'],
      versions: 'latest',
    });
  });

  test.each([
    ['{', /^m\/braid\.json is not JSON: /],
    ['[]', 'm/braid.json: expected a JSON object such as {"rows": "lift"}, found []'],
    [
      '{"toString": 1}',
      "m/braid.json: unknown key 'toString', expected one of 'rows', 'shared_inputs', 'precision', 'products', 'versions'",
    ],
    [
      '{"precision": {"tables": "int4"}}',
      `m/braid.json: 'precision' is {"tables":"int4"}, expected an object of 'tables' (float32, float16, int8) and 'weights' (float32, float16)`,
    ],
    [
      '{"precision": {"biases": "float16"}}',
      `m/braid.json: 'precision' is {"biases":"float16"}, expected an object of `,
    ],
    ['{"precision": "int8"}', `m/braid.json: 'precision' is "int8", expected an object of `],
    ['{"rows": "all"}', `m/braid.json: 'rows' is "all", expected one of 'auto', 'lift'`],
    ['{"shared_inputs": "history"}', `m/braid.json: 'shared_inputs' is "history", expected a list of names`],
    ['{"products": "int8"}', `m/braid.json: 'products' is "int8", expected one of 'float32', 'tf32', 'float16'`],
    ['{"shared_inputs": [1]}', `m/braid.json: 'shared_inputs' is [1], expected a list of names`],
    ['{"versions": ["1"]}', `m/braid.json: 'versions' is ["1"], expected one of 'latest', 'all'`],
  ])('refuses %s', (text, message) => {
    expect(() => parseModelConfig(text, 'm/braid.json')).toThrow(message);
  });
});
