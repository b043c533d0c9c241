import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { AttributeProto_AttributeType as Type, TensorProto_DataType as Elem } from 'onnx-buf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importOnnx, importOnnxFile } from '../../../src/onnx/index.js';
import { expectError, expectRejection } from '../../support/errors.js';
import { attribute, modelBytes, node, value } from './models.js';

const external = (name: string, dims: readonly number[], keys: Record<string, string>) => ({
  name,
  dataType: Elem.FLOAT,
  dims: dims.map(BigInt),
  dataLocation: 1,
  externalData: Object.entries(keys).map(([key, value]) => ({ key, value })),
});

const withWeights = (...initializer: ReturnType<typeof external>[]) =>
  modelBytes({
    input: [value('x', ['n', 4])],
    output: [value('y', ['n', 4])],
    node: [node('Relu', ['x'], ['y'])],
    initializer,
  });

const FLOATS = Float32Array.from({ length: 8 }, (_, i) => i + 0.5);

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'braid-external-'));
  await mkdir(path.join(folder, 'model', 'parts'), { recursive: true });
  const bytes = new Uint8Array(FLOATS.buffer);
  await writeFile(path.join(folder, 'model', 'weights.bin'), bytes);
  await writeFile(path.join(folder, 'model', 'parts', 'more.bin'), bytes.subarray(0, 8));
  await writeFile(path.join(folder, 'secret.bin'), bytes);
  await symlink(path.join(folder, 'secret.bin'), path.join(folder, 'model', 'linked.bin'));
});

afterAll(() => rm(folder, { recursive: true }));

async function load(bytes: Uint8Array) {
  const file = path.join(folder, 'model', 'model.onnx');
  await writeFile(file, bytes);
  return importOnnxFile(file);
}

describe('external data', () => {
  it('is read by offset and length, from the file or a folder below, and through links', async () => {
    const graph = await load(
      withWeights(
        external('whole', [2, 4], { location: 'weights.bin' }),
        external('part', [3], { location: 'weights.bin', offset: '16', length: '12', checksum: 'ignored' }),
        external('same', [3], { location: 'weights.bin', offset: '16', length: '12' }),
        external('below', [2], { location: 'parts/more.bin' }),
        external('linked', [1], { location: 'linked.bin', offset: '4' }),
        external('none', [0], { location: 'weights.bin' }),
      ),
    );
    const read = (name: string) => [...graph.constants.get(name)!.data];
    expect(read('whole')).toEqual([...FLOATS]);
    expect(graph.constants.get('whole')!.dims).toEqual([2, 4]);
    expect(read('part')).toEqual([4.5, 5.5, 6.5]);
    expect(read('same')).toEqual(read('part'));
    expect(graph.constants.get('same')!.data.buffer).toBe(graph.constants.get('part')!.data.buffer);
    expect(read('below')).toEqual([0.5, 1.5]);
    expect(read('linked')).toEqual([1.5]);
    expect(read('none')).toEqual([]);
  });

  it('serves attributes, nested graphs, sparse tensors and functions too', async () => {
    const t = external('', [1], { location: 'weights.bin', offset: '8' });
    const constant = (output: string) => node('Constant', [], [output], [attribute('value', { type: Type.TENSOR, t })]);
    const body = { node: [constant('c'), node('Abs', ['c'], ['b'])], output: [value('b')] };
    const graph = await load(
      modelBytes(
        {
          input: [value('x')],
          output: [value('y')],
          node: [
            node('If', ['x'], ['a'], [attribute('then_branch', { type: Type.GRAPH, g: body })]),
            node('F', ['a'], ['y'], [], { domain: 'local', name: 'call' }),
          ],
          sparseInitializer: [
            { dims: [2n], values: { ...t, name: 's' }, indices: { dataType: Elem.INT64, dims: [1n], int64Data: [1n] } },
          ],
        },
        {
          functions: [
            {
              name: 'F',
              domain: 'local',
              input: ['i'],
              output: ['o'],
              node: [constant('c'), node('Add', ['i', 'c'], ['o'])],
            },
          ],
        },
      ),
    );
    expect([...graph.constants.get('s')!.data]).toEqual([0, 2.5]);
    expect([...graph.constants.get('call/c')!.data]).toEqual([2.5]);
    expect(graph.nodes[0]!.attributes.then_branch).toMatchObject({
      constants: new Map([['c', { dtype: 'float32', dims: [1], data: Float32Array.of(2.5) }]]),
    });
  });

  it.each([
    '../secret.bin',
    'parts/../../secret.bin',
    '/etc/passwd',
    'C:\\secret.bin',
    '..\\secret.bin',
    '\\\\host\\x',
    '',
    'a\0b',
  ])('may not leave the folder: %j', async (location) => {
    await expectRejection(
      'MODEL_INVALID',
      /tensor 'w' keeps its data in '.*', expected a file within the model's folder/s,
      load(withWeights(external('w', [1], { location }))),
    );
  });

  it.each<[string, number, Record<string, string>, RegExp]>([
    [
      'a missing file',
      2,
      { location: 'gone.bin' },
      /tensor 'w' .*'gone.bin', which cannot be read \(ENOENT.*expected 8 bytes at offset 0/,
    ],
    ['a folder', 2, { location: 'parts' }, /'parts'/],
    [
      'a short file',
      9,
      { location: 'weights.bin' },
      /tensor 'w' .*'weights.bin', which holds 32 bytes, expected 36 bytes at offset 0/,
    ],
    [
      'a range past the end',
      2,
      { location: 'weights.bin', offset: '28' },
      /holds 32 bytes, expected 8 bytes at offset 28/,
    ],
  ])('names tensor, file and bytes for %s', async (_, size, keys, message) => {
    await expectRejection('MODEL_UNREADABLE', message, load(withWeights(external('w', [size], keys))));
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['a length that does not fit', { location: 'weights.bin', length: '12' }, /says it keeps 12 bytes .*expected 8/],
    [
      'a negative offset',
      { location: 'weights.bin', offset: '-4' },
      /external offset '-4', expected a number of bytes/,
    ],
    ['a length that is no number', { location: 'weights.bin', length: '8x' }, /external length '8x'/],
    ['no location', { offset: '0' }, /keeps its data in ''/],
  ])('refuses %s', async (_, keys, message) => {
    await expectRejection('MODEL_INVALID', message, load(withWeights(external('w', [2], keys))));
  });

  it('comes through readExternal where the model is given as bytes, or is refused', () => {
    const bytes = withWeights(external('w', [2], { location: 'weights.bin', offset: '8' }));
    const asked: unknown[] = [];
    const graph = importOnnx(bytes, {
      readExternal: (range, label) => {
        asked.push(range, label);
        return new Uint8Array(FLOATS.buffer, range.offset, range.length);
      },
    });
    expect(asked).toEqual([{ location: 'weights.bin', offset: 8, length: 8 }, "tensor 'w'"]);
    expect(graph.constants.get('w')!.data).toEqual(Float32Array.of(2.5, 3.5));
    expectError('MODEL_UNREADABLE', /^shop: tensor 'w' .*'weights.bin', which is out of reach/, () =>
      importOnnx(bytes, { name: 'shop' }),
    );
  });
});
