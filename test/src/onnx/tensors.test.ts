import { create, type MessageInitShape } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { SparseTensorProtoSchema, TensorProto_DataType as Elem, TensorProtoSchema } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { DATA_TYPES } from '../../../runtime/graph/dtype.js';
import { denseFromSparse, tensorFromProto, tensorToProto } from '../../../src/onnx/tensors.js';
import { codeName, dataTypeOf, onnxCode } from '../../../src/onnx/types.js';
import { anyTensor, bits } from '../../support/arbitrary.js';
import { expectError } from '../../support/errors.js';
import { floats } from './models.js';

type TensorInit = MessageInitShape<typeof TensorProtoSchema>;
const decode = (init: TensorInit) => tensorFromProto(create(TensorProtoSchema, init), "tensor 't'");
const sparse = (init: MessageInitShape<typeof SparseTensorProtoSchema>) =>
  denseFromSparse(create(SparseTensorProtoSchema, init), "tensor 's'");
const int64s = (dims: bigint[], ...int64Data: bigint[]): TensorInit => ({ dataType: Elem.INT64, dims, int64Data });

describe('type codes', () => {
  it('go there and back, and to nothing for what a Graph cannot carry', () => {
    for (const dtype of DATA_TYPES) expect(dataTypeOf(onnxCode(dtype))).toBe(dtype);
    const known = new Set(DATA_TYPES.map(onnxCode));
    for (let code = 0; code < 40; code++) expect(dataTypeOf(code) !== undefined).toBe(known.has(code));
    expect(codeName(8)).toBe('STRING');
  });
});

describe('tensorFromProto', () => {
  it('undoes tensorToProto for every type, shape and bit pattern', () => {
    fc.assert(
      fc.property(anyTensor(), fc.string(), (tensor, name) => {
        const proto = tensorToProto(tensor, name);
        expect(proto.name).toBe(name);
        expect(bits(tensorFromProto(proto, 'it'))).toEqual(bits(tensor));
      }),
    );
  });

  it.each([
    ['float32', { dataType: Elem.FLOAT, floatData: [0.5, -1] }, Float32Array.of(0.5, -1)],
    ['float64', { dataType: Elem.DOUBLE, doubleData: [0.1, 1e300] }, Float64Array.of(0.1, 1e300)],
    ['float16', { dataType: Elem.FLOAT16, int32Data: [0x3c00, 0xbc00] }, Uint16Array.of(0x3c00, 0xbc00)],
    ['bfloat16', { dataType: Elem.BFLOAT16, int32Data: [0x3f80, 0xff80] }, Uint16Array.of(0x3f80, 0xff80)],
    ['int8', { dataType: Elem.INT8, int32Data: [-128, 127] }, Int8Array.of(-128, 127)],
    ['int16', { dataType: Elem.INT16, int32Data: [-32768, 5] }, Int16Array.of(-32768, 5)],
    ['int32', { dataType: Elem.INT32, int32Data: [-1, 2 ** 31 - 1] }, Int32Array.of(-1, 2 ** 31 - 1)],
    ['int64', { dataType: Elem.INT64, int64Data: [-1n, 2n ** 62n] }, BigInt64Array.of(-1n, 2n ** 62n)],
    ['uint8', { dataType: Elem.UINT8, int32Data: [0, 255] }, Uint8Array.of(0, 255)],
    ['uint16', { dataType: Elem.UINT16, int32Data: [0, 65535] }, Uint16Array.of(0, 65535)],
    ['uint32', { dataType: Elem.UINT32, uint64Data: [0n, 2n ** 32n - 1n] }, Uint32Array.of(0, 2 ** 32 - 1)],
    ['uint64', { dataType: Elem.UINT64, uint64Data: [0n, 2n ** 64n - 1n] }, BigUint64Array.of(0n, 2n ** 64n - 1n)],
    ['bool', { dataType: Elem.BOOL, int32Data: [1, 0] }, Uint8Array.of(1, 0)],
  ])('reads the typed form of %s', (dtype, fields, data) => {
    expect(decode({ dims: [2n], ...fields })).toEqual({ dtype, dims: [2], data });
  });

  it('reads scalars and empty tensors', () => {
    expect(decode({ dataType: Elem.FLOAT, floatData: [3] })).toEqual({
      dtype: 'float32',
      dims: [],
      data: Float32Array.of(3),
    });
    expect(decode({ dataType: Elem.FLOAT, dims: [2n, 0n] })).toEqual({
      dtype: 'float32',
      dims: [2, 0],
      data: new Float32Array(0),
    });
  });

  it('views raw bytes where they are aligned and copies them where they are not', () => {
    const buffer = new ArrayBuffer(16);
    new DataView(buffer).setFloat32(8, 1.5, true);
    const aligned = decode({ dataType: Elem.FLOAT, dims: [1n], rawData: new Uint8Array(buffer, 8, 4) });
    expect(aligned.data.buffer).toBe(buffer);
    expect([...aligned.data]).toEqual([1.5]);
    new DataView(buffer).setFloat32(1, 2.5, true);
    const shifted = decode({ dataType: Elem.FLOAT, dims: [1n], rawData: new Uint8Array(buffer, 1, 4) });
    expect([...shifted.data]).toEqual([2.5]);
  });

  it('makes bools 0 or 1', () => {
    const tensor = decode({ dataType: Elem.BOOL, dims: [3n], rawData: Uint8Array.of(0, 255, 2) });
    expect([...tensor.data]).toEqual([0, 1, 1]);
  });

  it.each<[string, TensorInit, RegExp]>([
    [
      'too few typed elements',
      { dataType: Elem.FLOAT, dims: [3n], floatData: [1] },
      /tensor 't' holds 1 elements, expected 3 for float32 \[3\]/,
    ],
    [
      'too many typed elements',
      { dataType: Elem.INT64, dims: [1n], int64Data: [1n, 2n] },
      /holds 2 elements, expected 1/,
    ],
    [
      'elements in the field of another type',
      { dataType: Elem.FLOAT, dims: [1n], int64Data: [1n] },
      /holds 0 bytes, expected 4/,
    ],
    [
      'raw bytes of another size',
      { dataType: Elem.FLOAT, dims: [2n], rawData: new Uint8Array(7) },
      /holds 7 bytes, expected 8/,
    ],
    ['no elements', { dataType: Elem.FLOAT, dims: [2n] }, /holds 0 bytes, expected 8/],
    ['a negative size', { dataType: Elem.FLOAT, dims: [-2n] }, /impossible shape \[-2\]/],
    ['an uncountable size', { dataType: Elem.FLOAT, dims: [2n ** 40n, 2n ** 40n] }, /impossible shape/],
  ])('refuses %s', (_, init, message) => {
    expectError('MODEL_INVALID', message, () => decode(init));
  });

  it.each([
    ['strings', { dataType: Elem.STRING, dims: [1n], stringData: [Uint8Array.of(97)] }, /has element type STRING/],
    ['4-bit integers', { dataType: Elem.UINT4, dims: [1n], int32Data: [1] }, /has element type UINT4/],
    ['no type', { dims: [1n] }, /has element type UNDEFINED/],
    ['segments', { dataType: Elem.FLOAT, dims: [1n], segment: { begin: 0n, end: 1n } }, /segments/],
  ])('cannot take %s', (_, init, message) => {
    expectError('MODEL_UNSUPPORTED', message, () => decode(init));
  });

  it('points to the file of external data it cannot reach', () => {
    const init = {
      dataType: Elem.FLOAT,
      dims: [1n],
      dataLocation: 1,
      externalData: [{ key: 'location', value: 'weights.bin' }],
    };
    expectError('MODEL_UNREADABLE', /tensor 't' keeps its data in the file 'weights.bin'/, () => decode(init));
  });
});

describe('denseFromSparse', () => {
  it('spreads linear and coordinate indices', () => {
    const expected = { dtype: 'float32', dims: [2, 3], data: Float32Array.of(0, 5, 0, 0, 0, 6) };
    expect(sparse({ dims: [2n, 3n], values: floats('', 5, 6), indices: int64s([2n], 1n, 5n) })).toEqual(expected);
    const coordinates = int64s([2n, 2n], 0n, 1n, 1n, 2n);
    expect(sparse({ dims: [2n, 3n], values: floats('', 5, 6), indices: coordinates })).toEqual(expected);
  });

  it('is all zeros without values', () => {
    expect([...sparse({ dims: [2n], values: { dataType: Elem.INT32, dims: [0n] } }).data]).toEqual([0, 0]);
  });

  it.each([
    ['no values', { dims: [2n] }, /has no values/],
    ['no indices', { dims: [2n], values: floats('', 1) }, /has no indices/],
    ['an index outside', { dims: [2n], values: floats('', 1), indices: int64s([1n], 2n) }, /index 2 .*outside 0 to 1/],
    ['a negative index', { dims: [2n], values: floats('', 1), indices: int64s([1n], -1n) }, /index -1/],
    [
      'a coordinate outside its axis',
      { dims: [2n, 3n], values: floats('', 1), indices: int64s([1n, 2n], 0n, 3n) },
      /index 3 .*outside 0 to 2/,
    ],
    [
      'too few indices',
      { dims: [4n], values: floats('', 1, 2), indices: int64s([1n], 0n) },
      /shape \[1\], expected \[2\] or \[2, 1\]/,
    ],
    [
      'indices of another rank',
      { dims: [2n, 3n], values: floats('', 1), indices: int64s([1n, 3n], 0n, 0n, 0n) },
      /expected \[1\] or \[1, 2\]/,
    ],
    ['float indices', { dims: [2n], values: floats('', 1), indices: floats('', 0) }, /are float32, expected int64/],
  ])('refuses %s', (_, init, message) => {
    expectError('MODEL_INVALID', message, () => sparse(init));
  });
});
