import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DATA_TYPES } from '../../../runtime/graph/dtype.js';
import { tensorOf } from '../../../runtime/graph/tensor.js';
import { readNpy, writeNpy } from '../../../src/io/index.js';
import { anyTensor, bits } from '../../support/arbitrary.js';
import { expectError } from '../../support/errors.js';

/** A file as NumPy writes it. */
function numpy(header: string, data: ArrayBufferLike | number[] = [], version = 1): Uint8Array {
  const lengthBytes = version === 1 ? 2 : 4;
  const text = `${header.padEnd(128 - 9 - lengthBytes)}\n`;
  const preamble = Buffer.alloc(8 + lengthBytes);
  preamble.write('\x93NUMPY', 'latin1');
  preamble[6] = version;
  preamble.writeUIntLE(text.length, 8, lengthBytes);
  return Buffer.concat([preamble, Buffer.from(text, 'latin1'), new Uint8Array(data as ArrayBuffer)]);
}

const header = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;

// np.save(np.arange(6, dtype='<f4').reshape(2, 3) / 4) of NumPy 2.4.
const SAVED =
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAg' +
  'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACAPgAAAD8AAEA/AACAPwAAoD8=';

const at = (i: number, j: number, k: number) => BigInt(i * 100 + j * 10 + k);

describe('readNpy', () => {
  it('reads what NumPy saved', () => {
    expect(readNpy(Buffer.from(SAVED, 'base64'))).toEqual({
      dtype: 'float32',
      dims: [2, 3],
      data: Float32Array.of(0, 0.25, 0.5, 0.75, 1, 1.25),
    });
  });

  it.each<[string, number, string, number[], number[], number[]]>([
    ['|u1', 1, '(2, 2)', [1, 2, 3, 4], [2, 2], [1, 2, 3, 4]],
    ['<u1', 1, '(1,)', [9], [1], [9]],
    ['|i1', 2, '(2,)', [255, 1], [2], [-1, 1]],
    ['|b1', 3, '(3,)', [0, 1, 5], [3], [0, 1, 1]],
    ['<i2', 1, '()', [254, 255], [], [-2]],
    ['<u4', 1, '(0, 3L)', [], [0, 3], []],
  ])('reads %s of version %i and shape %s', (descr, version, shape, data, dims, elements) => {
    const tensor = readNpy(numpy(header(descr, shape), data, version));
    expect([tensor.dims, [...tensor.data]]).toEqual([dims, elements]);
  });

  it('turns Fortran order into C order', () => {
    const fortran: bigint[] = [];
    const c: bigint[] = [];
    for (let k = 0; k < 4; k++) for (let j = 0; j < 3; j++) for (let i = 0; i < 2; i++) fortran.push(at(i, j, k));
    for (let i = 0; i < 2; i++) for (let j = 0; j < 3; j++) for (let k = 0; k < 4; k++) c.push(at(i, j, k));
    const tensor = readNpy(numpy(header('<i8', '(2, 3, 4)', 'True'), BigInt64Array.from(fortran).buffer));
    expect(tensor).toEqual({ dtype: 'int64', dims: [2, 3, 4], data: BigInt64Array.from(c) });
    expect([...readNpy(numpy(header('|u1', '()', 'True'), [3])).data]).toEqual([3]);
    expect(readNpy(numpy(header('|u1', '(2, 0)', 'True'))).dims).toEqual([2, 0]);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['another file', Buffer.from('PK\x03\x04 not an array'), /do not start as a npy file does/],
    ['an empty file', new Uint8Array(0), /0 bytes that do not start/],
    ['version 4', numpy(header('<f4', '()'), [0, 0, 0, 0], 4), /npy version 4, expected 1 to 3/],
    [
      'a header cut off',
      Buffer.from(SAVED, 'base64').subarray(0, 60),
      /the header ends at byte 128, but the file holds 60/,
    ],
    ['a header length cut off', Buffer.from('\x93NUMPY\x02\x00\x10\x00', 'latin1'), /the header is cut off/],
    ['a malformed header', numpy('{}'), /the header \{\} lacks a plain descr/],
    [
      'structured elements',
      numpy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"),
      /lacks a plain descr/,
    ],
    ['big-endian elements', numpy(header('>f4', '(1,)'), [0, 0, 0, 0]), /big-endian .*'>f4'.*astype\('<f4'\)/],
    ['Python objects', numpy(header('|O', '(1,)')), /'\|O' \(a pickled Python object\), expected one of f2/],
    ['strings', numpy(header('<U2', '(1,)')), /'<U2', expected one of/],
    ['complex numbers', numpy(header('<c8', '(1,)')), /'<c8'/],
    ['a type named like a method', numpy(header('<constructor', '(1,)')), /'<constructor'/],
    ['an impossible shape', numpy(header('<f4', '(-1,)')), /impossible shape \(-1,\)/],
    [
      'data cut off',
      Buffer.from(SAVED, 'base64').subarray(0, 150),
      /22 bytes of data, expected 24 for float32 \[2, 3\]/,
    ],
    ['bytes left over', numpy(header('|u1', '(1,)'), [1, 2]), /2 bytes of data, expected 1/],
  ])('refuses %s', (_, bytes, message) => {
    expectError('FILE_UNREADABLE', message, () => readNpy(bytes));
    expectError('FILE_UNREADABLE', /^in\.npy: /, () => readNpy(bytes, 'in.npy'));
  });
});

describe('writeNpy', () => {
  it('is undone by readNpy for every type that NumPy has, shape and bits', () => {
    const dtypes = DATA_TYPES.filter((dtype) => dtype !== 'bfloat16');
    fc.assert(
      fc.property(anyTensor(dtypes), (tensor) => {
        const bytes = writeNpy(tensor);
        expect(bits(readNpy(bytes))).toEqual(bits(tensor));
        expect((bytes.length - tensor.data.byteLength) % 64).toBe(0);
      }),
    );
  });

  it('writes the bytes that NumPy does', () => {
    const tensor = tensorOf('float32', [2, 3], [0, 0.25, 0.5, 0.75, 1, 1.25]);
    expect(Buffer.from(writeNpy(tensor)).toString('base64')).toBe(SAVED);
  });

  it('refuses bfloat16, which NumPy lacks', () => {
    expectError('INPUT_TYPE', /npy has no bfloat16, expected float16/, () => writeNpy(tensorOf('bfloat16', [1], [1])));
  });
});
