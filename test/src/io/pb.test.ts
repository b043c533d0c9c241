import * as fc from 'fast-check';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TensorProto_DataType as Elem, TensorProtoSchema } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { BraidError } from '../../../runtime/errors.js';
import { tensorOf } from '../../../runtime/graph/tensor.js';
import { readTensorPb, writeTensorPb } from '../../../src/io/index.js';
import { anyTensor, bits } from '../../support/arbitrary.js';
import { expectError } from '../../support/errors.js';
import { sharedFolder, whyAbsent } from '../../support/shared.js';

const nodeTests = sharedFolder('onnx-node');

describe('tensors as .pb', () => {
  it('come back as they were written', () => {
    fc.assert(
      fc.property(anyTensor(), fc.string(), (tensor, name) => {
        const back = readTensorPb(writeTensorPb(tensor, name));
        expect([back.name, bits(back.tensor)]).toEqual([name, bits(tensor)]);
      }),
    );
  });

  it('keep float64', () => {
    expect(readTensorPb(writeTensorPb(tensorOf('float64', [1], [0.1]))).tensor.data).toEqual(Float64Array.of(0.1));
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(0), /tensor '' has element type UNDEFINED/],
    ['text', Buffer.from('not a tensor at all'), /is no serialized TensorProto/],
    [
      'a file cut off',
      writeTensorPb(tensorOf('float32', [2], [1, 2]), 't').subarray(0, 12),
      /is no serialized TensorProto/,
    ],
    [
      'strings',
      toBinary(TensorProtoSchema, create(TensorProtoSchema, { name: 't', dataType: Elem.STRING })),
      /tensor 't' has element type STRING/,
    ],
    [
      'another number of elements',
      toBinary(
        TensorProtoSchema,
        create(TensorProtoSchema, { name: 't', dataType: Elem.FLOAT, dims: [3n], floatData: [1] }),
      ),
      /tensor 't' holds 1 elements, expected 3/,
    ],
  ])('are refused where they hold %s', (_, bytes, message) => {
    expectError('FILE_UNREADABLE', message, () => readTensorPb(bytes));
    expectError('FILE_UNREADABLE', /^in\.pb: /, () => readTensorPb(bytes, 'in.pb'));
  });

  it.skipIf(!nodeTests)(
    `of ONNX's node tests are read, but for types that Braid lacks${whyAbsent('onnx-node')}`,
    () => {
      let read = 0;
      for (const file of readdirSync(nodeTests!, { recursive: true }) as string[]) {
        if (!file.endsWith('.pb')) continue;
        const bytes = readFileSync(path.join(nodeTests!, file));
        try {
          const { tensor } = readTensorPb(bytes, file);
          expect(tensor.dims).toEqual(fromBinary(TensorProtoSchema, bytes).dims.map(Number));
          read++;
        } catch (error) {
          if (!(error instanceof BraidError)) throw error;
          expect([error.code, error.message]).toEqual([
            'FILE_UNREADABLE',
            expect.stringMatching(/has element type (U?INT4|STRING|UNDEFINED)/),
          ]);
        }
      }
      expect(read).toBeGreaterThan(1900);
    },
  );
});
