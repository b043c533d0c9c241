import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TensorSpec } from '../../../src/api.js';
import { tensorOf } from '../../../runtime/graph/tensor.js';
import { readTensors, writeTensors, writeTensorPb } from '../../../src/io/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { expectRejection } from '../../support/errors.js';
import { sharedFolder, whyAbsent } from '../../support/shared.js';

let folder: string;
const at = (name: string) => path.join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'braid-io-'));
});
afterAll(() => rm(folder, { recursive: true }));

const ids = tensorOf('int64', [2], [3, 4]);
const dense = tensorOf('float32', [1, 2], [0.5, 1.5]);
const spec = (name: string, dtype: TensorSpec['dtype'] = 'int64'): TensorSpec => ({ name, dtype, shape: ['n'] });

describe('writeTensors and readTensors', () => {
  it('keep several tensors in .safetensors and .json', async () => {
    const tensors = new Map([
      ['ids', ids],
      ['dense', dense],
    ]);
    await writeTensors(at('all.safetensors'), tensors);
    expect(await readTensors(at('all.safetensors'))).toEqual(tensors);
    await writeTensors(at('all.JSON'), tensors);
    expect(await readTensors(at('all.JSON'), [spec('ids'), spec('dense', 'float32')])).toEqual(tensors);
  });

  it('keep one tensor in .npy, named by the only input or the file', async () => {
    await writeTensors(at('items.npy'), new Map([['whatever', ids]]));
    expect([...(await readTensors(at('items.npy')))]).toEqual([['items', ids]]);
    expect([...(await readTensors(at('items.npy'), [spec('ids')]))]).toEqual([['ids', ids]]);
    expect([...(await readTensors(at('items.npy'), [spec('ids'), spec('items')]))]).toEqual([['items', ids]]);
  });

  it('keep one tensor and its name in .pb', async () => {
    await writeTensors(at('one.pb'), new Map([['own', ids]]));
    expect([...(await readTensors(at('one.pb')))]).toEqual([['own', ids]]);
    expect([...(await readTensors(at('one.pb'), [spec('ids')]))]).toEqual([['ids', ids]]);
    expect([...(await readTensors(at('one.pb'), [spec('ids'), spec('own')]))]).toEqual([['own', ids]]);
    await writeFile(at('nameless.pb'), writeTensorPb(ids));
    expect([...(await readTensors(at('nameless.pb')))]).toEqual([['nameless', ids]]);
  });

  it('write a folder of output_K.pb where the path has no extension', async () => {
    await writeTensors(
      at('deep/outputs'),
      new Map([
        ['b', ids],
        ['a', dense],
      ]),
    );
    expect(await readdir(at('deep/outputs'))).toEqual(['output_0.pb', 'output_1.pb']);
    expect([...(await readTensors(at('deep/outputs/output_0.pb')))]).toEqual([['b', ids]]);
  });

  it('read a folder of input_K.pb in numeric order, by name or else by position', async () => {
    await mkdir(at('set'));
    const names = ['x', '', 'stranger', ...Array.from({ length: 8 }, (_, i) => `i${i + 3}`)];
    for (const [k, name] of names.entries()) {
      await writeFile(at(`set/input_${k}.pb`), writeTensorPb(tensorOf('int64', [], [k]), name));
    }
    await writeFile(at('set/output_0.pb'), 'not read');
    const specs = ['x', 'second', 'third', ...names.slice(3)].map((name) => spec(name));
    const tensors = await readTensors(at('set'), specs);
    expect([...tensors.keys()]).toEqual(specs.map((spec) => spec.name));
    expect(Number(tensors.get('i10')!.data[0])).toBe(10);
    expect([...(await readTensors(at('set'))).keys()].slice(0, 3)).toEqual(['x', 'input_1', 'stranger']);
  });

  it('name the path and what is wrong', async () => {
    const missing = at('missing.npy');
    const cannot = /cannot be read: ENOENT/;
    expect(await expectRejection('FILE_UNREADABLE', cannot, readTensors(missing))).toContain(missing);
    await writeFile(at('data.csv'), '1,2');
    await expectRejection(
      'FILE_UNREADABLE',
      /the extension is '.csv', expected .safetensors/,
      readTensors(at('data.csv')),
    );
    await mkdir(at('bare'));
    await expectRejection('FILE_UNREADABLE', /the folder holds no input_K.pb/, readTensors(at('bare')));
    await mkdir(at('twice'));
    for (const k of [0, 1]) await writeFile(at(`twice/input_${k}.pb`), writeTensorPb(ids, 'same'));
    await expectRejection(
      'FILE_UNREADABLE',
      /input_1.pb: holds the input 'same', which another file/,
      readTensors(at('twice')),
    );

    const both = new Map([
      ['a', ids],
      ['b', dense],
    ]);
    await expectRejection(
      'FILE_UNREADABLE',
      /holds one tensor, found 2: write .safetensors/,
      writeTensors(at('x.npy'), both),
    );
    await expectRejection('FILE_UNREADABLE', /holds one tensor, found 0/, writeTensors(at('x.pb'), new Map()));
    await expectRejection('FILE_UNREADABLE', /the extension is '.txt'/, writeTensors(at('x.txt'), both));
    await expectRejection('FILE_UNREADABLE', /cannot be written: ENOENT/, writeTensors(at('no/x.json'), both));
    await expectRejection('FILE_UNREADABLE', /cannot be made/, writeTensors(at('data.csv/sub'), both));
  });

  it('write JSON that is plain text', async () => {
    await writeTensors(at('plain.json'), new Map([['dense', dense]]));
    expect(await readFile(at('plain.json'), 'utf8')).toBe('{"dense":[[0.5,1.5]]}');
  });
});

const nodeTests = sharedFolder('onnx-node');

describe(`a test set of ONNX${whyAbsent('onnx-node')}`, () => {
  it.skipIf(!nodeTests)('gives the inputs that its model declares', async () => {
    const test = path.join(nodeTests!, 'test_gemm_all_attributes');
    const graph = await importOnnxFile(path.join(test, 'model.onnx'));
    const specs = graph.inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape: shape as number[] }));
    const tensors = await readTensors(path.join(test, 'test_data_set_0'), specs);
    expect([...tensors].map(([name, { dtype, dims }]) => ({ name, dtype, shape: dims }))).toEqual(specs);
  });
});
