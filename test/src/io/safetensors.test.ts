import * as fc from 'fast-check';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BraidError } from '../../../runtime/errors.js';
import { tensorOf } from '../../../runtime/graph/tensor.js';
import { readSafetensors, writeSafetensors } from '../../../src/io/index.js';
import { anyTensor, bits } from '../../support/arbitrary.js';
import { expectError } from '../../support/errors.js';
import { GOLDEN_MODELS, goldenPath } from '../../support/golden.js';

/** A file of the header as given and `dataBytes` zeros. */
function file(header: unknown, dataBytes = 0): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

const entry = (dtype: string, shape: unknown, data_offsets: unknown) => ({ dtype, shape, data_offsets });

describe('readSafetensors', () => {
  it.each(GOLDEN_MODELS)('reads what the Python library wrote: %s', async (name) => {
    for (const rows of [1, 7, 64]) {
      const tensors = readSafetensors(await readFile(goldenPath(`${name}.b${rows}.safetensors`)));
      for (const tensor of tensors.values()) expect(tensor.dims[0]).toBe(rows);
      const out = tensors.get('out.out')!;
      expect([out.dtype, out.dims]).toEqual(['float32', [rows, 1]]);
      // The models end in a sigmoid.
      expect(out.data.every((value) => value > 0 && value < 1)).toBe(true);
    }
  });

  it('takes metadata, views aligned elements and copies others', () => {
    const header = { __metadata__: { format: 'pt' }, a: entry('U8', [1], [0, 1]), b: entry('F32', [1], [1, 5]) };
    const bytes = file(header, 5);
    bytes.set(new Uint8Array(Float32Array.of(1.5).buffer), bytes.length - 4);
    const tensors = readSafetensors(bytes);
    expect([...tensors.keys()]).toEqual(['a', 'b']);
    expect(tensors.get('a')!.data.buffer).toBe(bytes.buffer);
    expect([...tensors.get('b')!.data]).toEqual([1.5]);
  });

  it('makes bools 0 or 1', () => {
    const bytes = file({ a: entry('BOOL', [2], [0, 2]) }, 2);
    bytes[bytes.length - 1] = 7;
    expect([...readSafetensors(bytes).get('a')!.data]).toEqual([0, 1]);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['too short', new Uint8Array(7), /7 bytes, too short/],
    ['a huge header', new Uint8Array(16).fill(255), /a header of 18446744073709551615 bytes/],
    [
      'a header cut off',
      file({ a: entry('F32', [1], [0, 4]) }).subarray(0, 20),
      /the header ends at byte \d+, but the file holds 20/,
    ],
    ['a header that is no JSON', file('{"a"'), /the header is no JSON/],
    ['a header that is no UTF-8', Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0x28]), /the header is no JSON/],
    ['a header that is no object', file('[]'), /no JSON object/],
    ['an entry that is no object', file({ a: null }), /tensor 'a' has type undefined/],
    [
      'an unknown type',
      file({ a: entry('F8_E4M3', [1], [0, 1]) }, 1),
      /tensor 'a' has type "F8_E4M3", expected F64, F32/,
    ],
    ['a negative size', file({ a: entry('F32', [-1], [0, 4]) }, 4), /tensor 'a' has the impossible shape \[-1\]/],
    ['a fractional size', file({ a: entry('F32', [0.5], [0, 2]) }, 2), /impossible shape/],
    ['offsets in reverse', file({ a: entry('F32', [1], [4, 0]) }, 4), /tensor 'a' has the impossible offsets \[4,0\]/],
    ['no offsets', file({ a: entry('F32', [1], undefined) }, 4), /impossible offsets undefined/],
    [
      'offsets that do not fit the shape',
      file({ a: entry('F32', [2], [0, 4]) }, 4),
      /tensor 'a' takes 4 bytes, expected 8 for float32 \[2\]/,
    ],
    [
      'data cut off',
      file({ a: entry('F32', [2], [0, 8]) }, 7),
      /tensor 'a' ends at byte 8 of the data, but the file holds 7/,
    ],
    [
      'overlapping tensors',
      file({ a: entry('U8', [4], [0, 4]), b: entry('U8', [4], [2, 6]) }, 6),
      /tensor 'b' starts at byte 2 .*overlaps/,
    ],
    ['a gap', file({ a: entry('U8', [1], [1, 2]) }, 2), /tensor 'a' starts at byte 1 .*gap/],
    ['bytes left over', file({ a: entry('U8', [1], [0, 1]) }, 3), /3 bytes of data, expected 1/],
  ])('refuses %s', (_, bytes, message) => {
    expectError('FILE_UNREADABLE', message, () => readSafetensors(bytes));
    expectError('FILE_UNREADABLE', /^in\.st: /, () => readSafetensors(bytes, 'in.st'));
  });

  it('meets any bytes with a BraidError or tensors', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, plausible) => {
        if (plausible && bytes.length >= 8) bytes.set([bytes.length - 8, 0, 0, 0, 0, 0, 0, 0]);
        try {
          readSafetensors(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(BraidError);
        }
      }),
    );
  });
});

describe('writeSafetensors', () => {
  it('is undone by readSafetensors for any names, types, shapes and bits', () => {
    const named = fc.dictionary(
      fc.string().filter((name) => name !== '__metadata__'),
      anyTensor(),
      { maxKeys: 6 },
    );
    fc.assert(
      fc.property(named, (record) => {
        const tensors = new Map(Object.entries(record));
        const back = readSafetensors(writeSafetensors(tensors));
        expect(back.size).toBe(tensors.size);
        for (const [name, tensor] of tensors) expect(bits(back.get(name)!)).toEqual(bits(tensor));
      }),
    );
  });

  it('aligns each tensor to its type, whatever the order', () => {
    const bytes = writeSafetensors(
      new Map([
        ['byte', tensorOf('uint8', [3], [1, 2, 3])],
        ['half', tensorOf('float16', [1], [0.5])],
        ['long', tensorOf('int64', [2], [1, 2])],
      ]),
      { made: 'here' },
    );
    for (const { data } of readSafetensors(bytes).values()) expect(data.buffer).toBe(bytes.buffer);
    expect(Buffer.from(bytes).toString('latin1')).toContain('"__metadata__":{"made":"here"}');
  });

  it('refuses the name that the format keeps for itself', () => {
    const tensors = new Map([['__metadata__', tensorOf('uint8', [1], [1])]]);
    expectError('INPUT_UNKNOWN', /cannot hold a tensor named __metadata__/, () => writeSafetensors(tensors));
  });
});
