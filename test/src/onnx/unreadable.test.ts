import { create, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ModelProtoSchema } from 'onnx-buf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BraidError } from '../../../runtime/errors.js';
import { importOnnx, importOnnxFile } from '../../../src/onnx/index.js';
import { goldenPath } from '../../support/golden.js';
import { expectError, expectRejection } from '../../support/errors.js';
import { modelBytes, node, value } from './models.js';

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1');

describe('files that are no model', () => {
  it.each([
    ['empty', new Uint8Array(0), /is empty/],
    ['PNG', bytesOf('\x89PNG\r\n\x1a\n\0\0\0\rIHDR'), /looks like a PNG image/],
    ['ZIP', bytesOf('PK\x03\x04\x14\0'), /looks like a ZIP archive/],
    ['gzip', bytesOf('\x1f\x8b\x08\0\0'), /looks like a gzip archive/],
    ['text', bytesOf('{"not": "a model"}'), /looks like text/],
    [
      'LFS pointer',
      bytesOf('version https://git-lfs.github.com/spec/v1\noid sha256:0'),
      /Git LFS pointer.*git lfs pull/,
    ],
    ['zeros', new Uint8Array(100), /truncated or corrupt/],
    ['no graph', toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 8n })), /holds no graph/],
    ['an empty graph', modelBytes({}, { opsetImport: [] }), /no nodes and no operator set/],
  ])('says what it found: %s', (_, bytes, message) => {
    expectError('MODEL_UNREADABLE', message, () => importOnnx(bytes));
    expectError('MODEL_UNREADABLE', /^shop: /, () => importOnnx(bytes, { name: 'shop' }));
  });

  it('refuses a model cut off anywhere', async () => {
    const whole = await readFile(goldenPath('wnd.onnx'));
    const step = 3989;
    for (let length = 1; length < whole.length; length += step) {
      expectError('MODEL_UNREADABLE', /truncated or corrupt|holds no/, () => importOnnx(whole.subarray(0, length)));
    }
  });

  it('meets random bytes with a BraidError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => importOnnx(bytes)).toThrow(BraidError);
      }),
    );
  });

  it('meets a damaged model with a BraidError or a graph, never another error', () => {
    const whole = modelBytes({
      name: 'small',
      input: [value('x', ['n', 2])],
      output: [value('y', ['n', 2])],
      node: [node('Abs', ['x'], ['a']), node('Relu', ['a'], ['y'])],
    });
    const damage = fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 })), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(damage, (changes) => {
        const bytes = new Uint8Array(whole);
        for (const [at, byte] of changes) bytes[at] = byte;
        try {
          importOnnx(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(BraidError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('importOnnxFile', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'braid-onnx-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('names a file that is missing, a folder, or no model', async () => {
    const missing = path.join(folder, 'missing.onnx');
    expect(await expectRejection('MODEL_UNREADABLE', /cannot be read/, importOnnxFile(missing))).toContain(missing);
    await expectRejection('MODEL_UNREADABLE', /cannot be read/, importOnnxFile(folder));
    const text = path.join(folder, 'text.onnx');
    await writeFile(text, 'hello');
    expect(await expectRejection('MODEL_UNREADABLE', /looks like text/, importOnnxFile(text))).toContain(text);
  });
});
