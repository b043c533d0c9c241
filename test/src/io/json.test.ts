import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TensorSpec } from '../../../src/api.js';
import { DATA_TYPES, bytesPerElement, type DataType } from '../../../runtime/graph/dtype.js';
import { sizeOf, tensorOf, type Tensor } from '../../../runtime/graph/tensor.js';
import {
  flattenJson,
  fromOpenInferenceType,
  readJson,
  toFlatJson,
  toNestedJson,
  toOpenInferenceType,
  writeJson,
} from '../../../src/io/index.js';
import { anyTensor, bits } from '../../support/arbitrary.js';
import { expectError } from '../../support/errors.js';

const flatten = (data: unknown, dims: readonly number[], dtype: DataType = 'float32') =>
  flattenJson(data, dims, dtype, 'x');

describe('flattenJson', () => {
  it('takes flat and nested data', () => {
    const expected = Float32Array.of(1, 2, 3, 4, 5, 6);
    expect(flatten([1, 2, 3, 4, 5, 6], [2, 3])).toEqual(expected);
    expect(
      flatten(
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
        [2, 3],
      ),
    ).toEqual(expected);
    expect(
      flatten(
        [
          [[1], [2], [3]],
          [[4], [5], [6]],
        ],
        [2, 3, 1],
      ),
    ).toEqual(expected);
  });

  it('takes scalars bare and as an array of one', () => {
    expect(flatten(7, [])).toEqual(Float32Array.of(7));
    expect(flatten([7], [])).toEqual(Float32Array.of(7));
  });

  it('takes empty tensors in every form', () => {
    for (const [data, dims] of [
      [[], [0]],
      [[], [0, 3]],
      [[], [3, 0]],
      [
        [[], []],
        [2, 0],
      ],
    ] as const) {
      expect(flatten(data, dims)).toEqual(new Float32Array(0));
    }
  });

  it.each<[DataType, unknown[], (number | bigint)[]]>([
    ['float32', [0.5, -1e30], [0.5, Math.fround(-1e30)]],
    ['float64', [1e300], [1e300]],
    ['float16', [1, -2, 65504], [0x3c00, 0xc000, 0x7bff]],
    ['bfloat16', [1, -2], [0x3f80, 0xc000]],
    ['int8', [-128, 127], [-128, 127]],
    ['uint8', [0, 255], [0, 255]],
    ['int16', [-32768, 32767], [-32768, 32767]],
    ['uint16', [65535], [65535]],
    ['int32', [-2147483648, 2147483647], [-2147483648, 2147483647]],
    ['uint32', [4294967295], [4294967295]],
    [
      'int64',
      [0, -0, -1, 2147483648, -2147483649, 9007199254740991, '9007199254740993', '-9223372036854775808', '12'],
      [0n, 0n, -1n, 2147483648n, -2147483649n, 9007199254740991n, 9007199254740993n, -(2n ** 63n), 12n],
    ],
    ['uint64', [4294967295, 4294967296, '18446744073709551615'], [4294967295n, 4294967296n, 2n ** 64n - 1n]],
    ['bool', [true, false, 1, 0], [1, 0, 1, 0]],
  ])('fills %s', (dtype, data, elements) => {
    expect([...flatten(data, [data.length], dtype)]).toEqual(elements);
  });

  it.each<[DataType, unknown, RegExp]>([
    ['float32', null, /^input 'x' at \[1, 1\] is null, expected a finite float32$/],
    ['float32', 'NaN', /is "NaN", expected a finite float32/],
    ['float32', true, /is true/],
    ['float32', {}, /is an object/],
    ['float32', Number.POSITIVE_INFINITY, /is Infinity, expected a finite float32/],
    ['float32', 1e39, /is 1e\+39, expected a finite float32/],
    ['float16', 65520, /is 65520, expected a finite float16/],
    ['float16', '1', /is "1", expected a finite float16/],
    ['bfloat16', 3.4e38, /is 3\.4e\+38, expected a finite bfloat16/],
    ['int32', 1.5, /is 1\.5, expected a whole number from -2147483648 to 2147483647/],
    ['int32', 2147483648, /is 2147483648, expected a whole number/],
    ['int32', '1', /is "1"/],
    ['uint8', -1, /is -1, expected a whole number from 0 to 255/],
    ['uint8', false, /is false/],
    ['int64', 0.5, /is 0\.5, expected a whole number from -9223372036854775808 to 9223372036854775807/],
    ['int64', 2 ** 53, /is 9007199254740992, expected a string for int64 beyond 2\^53, where JSON numbers lose digits/],
    ['int64', '9223372036854775808', /is "9223372036854775808", expected a whole number/],
    ['int64', '1.0', /is "1\.0"/],
    ['int64', '', /is ""/],
    ['int64', '9'.repeat(1000), /is "9{40}\.\.\."/],
    ['uint64', -1, /is -1, expected a whole number from 0 to 18446744073709551615/],
    ['uint64', '-1', /is "-1", expected a whole number from 0 to 18446744073709551615/],
    ['bool', 2, /is 2, expected true or false/],
    ['bool', 'true', /is "true"/],
    ['bool', null, /is null/],
  ])('refuses a value that %s cannot hold: %j', (dtype, bad, message) => {
    const good = dtype === 'bool' ? true : 1;
    const nested = [
      [good, good, good],
      [good, bad, good],
    ];
    expectError('INPUT_VALUE', message, () => flatten(nested, [2, 3], dtype));
    expectError('INPUT_VALUE', /input 'x' at \[1, 1\]/, () => flatten(nested.flat(), [2, 3], dtype));
  });

  it('names a scalar without a position', () => {
    expectError('INPUT_VALUE', /^input 'x' is null, expected/, () => flatten(null, []));
  });

  it.each<[string, unknown, number[], RegExp]>([
    ['a ragged row', [[1, 2], [3]], [2, 2], /input 'x' at \[1\] holds 1 elements, expected 2 for shape \[2, 2\]/],
    ['too many rows', [[1], [2], [3]], [2, 1], /input 'x' holds 3 elements, expected 2/],
    ['a bare element among rows', [[1, 2], 3], [2, 2], /input 'x' at \[1\] is 3, expected an array of 2 elements/],
    ['rows that are deeper', [[[1]], [[2]]], [2, 1], /input 'x' at \[0, 0\] is an array, expected a float32/],
    ['an array in flat data', [1, [2]], [2], /input 'x' at \[1\] is an array/],
    [
      'rows for a vector',
      [
        [1, 2],
        [3, 4],
      ],
      [4],
      /input 'x' has shape \[2, 2\], expected \[4\]/,
    ],
    ['no array', 5, [2], /input 'x' is 5, expected an array of shape \[2\]/],
    ['an object', { 0: 1 }, [1], /input 'x' is an object/],
    [
      'partly flat rows',
      [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
      ],
      [2, 2, 2],
      /input 'x' at \[0\] holds 4 elements, expected 2/,
    ],
  ])('refuses %s', (_, data, dims, message) => {
    expectError('INPUT_SHAPE', message, () => flatten(data, dims));
  });

  it('refuses flat data of another size', () => {
    expectError('INPUT_SIZE', /input 'x' holds 5 elements, expected 6 for shape \[2, 3\]/, () =>
      flatten([1, 2, 3, 4, 5], [2, 3]),
    );
    expectError('INPUT_SIZE', /holds 2 elements, expected 1 for shape \[\]/, () => flatten([1, 2], []));
  });

  it('takes no memory for a shape that the data does not have', () => {
    expectError('INPUT_SIZE', /holds 1 elements, expected 1000000000000/, () => flatten([1], [1e6, 1e6]));
    expectError('INPUT_SHAPE', /at \[0, 0\] holds 1 elements, expected 1000000000000/, () =>
      flatten([[[1]]], [1, 1, 1e12]),
    );
  });

  it('refuses endless nesting', () => {
    const deep: unknown = JSON.parse('['.repeat(5000) + ']'.repeat(5000));
    expectError('INPUT_SHAPE', /5000 dimensions, expected at most 32/, () =>
      flatten(deep, Array<number>(5000).fill(1)),
    );
  });

  it('fills a million elements', () => {
    const data = Array.from({ length: 1000 }, (_, r) => Array.from({ length: 1000 }, (_, i) => r * 1000 + i));
    const flat = flatten(data, [1000, 1000], 'int64');
    expect([flat.length, flat[999_999]]).toEqual([1_000_000, 999_999n]);
  });
});

const SPECS: TensorSpec[] = [
  { name: 'dense', dtype: 'float32', shape: ['batch', 2] },
  { name: 'ids', dtype: 'int64', shape: ['batch'] },
  { name: 'on', dtype: 'bool', shape: [] },
];
const read = (body: unknown, specs: readonly TensorSpec[] | undefined = SPECS) =>
  readJson(typeof body === 'string' ? body : JSON.stringify(body), specs, 'in.json');

describe('readJson', () => {
  it('reads nested arrays by name, with the types of the model', () => {
    expect(
      read({
        dense: [
          [1, 2],
          [3, 4],
        ],
        ids: [5, '9007199254740993'],
        on: true,
      }),
    ).toEqual(
      new Map<string, Tensor>([
        ['dense', { dtype: 'float32', dims: [2, 2], data: Float32Array.of(1, 2, 3, 4) }],
        ['ids', { dtype: 'int64', dims: [2], data: BigInt64Array.of(5n, 9007199254740993n) }],
        ['on', { dtype: 'bool', dims: [], data: Uint8Array.of(1) }],
      ]),
    );
  });

  it('gives an empty batch the sizes that the model fixes', () => {
    expect(read({ dense: [] }).get('dense')!.dims).toEqual([0, 2]);
  });

  it('reads an Open Inference Protocol request, with or without the model', () => {
    const inputs = [
      { name: 'dense', shape: [2, 2], datatype: 'FP32', data: [1, 2, 3, 4], parameters: {} },
      { name: 'ids', shape: [1], datatype: 'INT64', data: [7] },
    ];
    const expected = new Map<string, Tensor>([
      ['dense', { dtype: 'float32', dims: [2, 2], data: Float32Array.of(1, 2, 3, 4) }],
      ['ids', { dtype: 'int64', dims: [1], data: BigInt64Array.of(7n) }],
    ]);
    expect(read({ id: 'q', inputs })).toEqual(expected);
    expect(readJson(JSON.stringify({ inputs }))).toEqual(expected);
  });

  it('takes an input that is called inputs for what it is', () => {
    const specs: TensorSpec[] = [{ name: 'inputs', dtype: 'int32', shape: ['n'] }];
    expect([...read({ inputs: [1, 2] }, specs).get('inputs')!.data]).toEqual([1, 2]);
  });

  it.each<[string, unknown, RegExp]>([
    ['no JSON', '{"dense": ', /^in\.json: is no JSON: /],
    ['a list', [1], /^in\.json: holds an array, expected an object/],
    ['null', 'null', /holds null/],
    ['a nameless input', { inputs: [{ shape: [1] }] }, /inputs\[0\] has no name/],
    [
      'a second input that is no object',
      { inputs: [{ name: 'ids', shape: [1], datatype: 'INT64', data: [1] }, 3] },
      /inputs\[1\] has no name/,
    ],
    ['no shape', { inputs: [{ name: 'ids', datatype: 'INT64', data: [1] }] }, /input 'ids' has the shape undefined/],
    [
      'a negative shape',
      { inputs: [{ name: 'ids', shape: [-1], datatype: 'INT64', data: [1] }] },
      /input 'ids' has the shape \[-1\]/,
    ],
    [
      'an unknown datatype',
      { inputs: [{ name: 'ids', shape: [1], datatype: 'BYTES', data: ['a'] }] },
      /datatype "BYTES", expected one of BOOL/,
    ],
    ['no data', { inputs: [{ name: 'ids', shape: [1], datatype: 'INT64' }] }, /input 'ids' has no data/],
    [
      'a name twice',
      { inputs: [1, 2].map((id) => ({ name: 'ids', shape: [1], datatype: 'INT64', data: [id] })) },
      /names an input twice/,
    ],
  ])('refuses %s', (_, body, message) => {
    expectError('FILE_UNREADABLE', message, () => read(body));
  });

  it('refuses nested arrays where no model gives the types', () => {
    expectError('FILE_UNREADABLE', /gives 'dense' without a datatype/, () => readJson('{"dense": [1]}'));
  });

  it('names inputs that the model lacks, and types it does not declare', () => {
    expectError('INPUT_UNKNOWN', /no input 'dnse', it has 'dense', 'ids', 'on'/, () => read({ dnse: [] }));
    expectError('INPUT_TYPE', /input 'ids' has the datatype INT32, expected INT64/, () =>
      read({ inputs: [{ name: 'ids', shape: [1], datatype: 'INT32', data: [1] }] }),
    );
  });

  it('names the input and the position of bad values', () => {
    expectError('INPUT_VALUE', /input 'dense' at \[1, 0\] is null/, () =>
      read({
        dense: [
          [1, 2],
          [null, 4],
        ],
      }),
    );
    expectError('INPUT_SHAPE', /input 'dense' at \[1\] holds 1 elements, expected 2/, () =>
      read({ dense: [[1, 2], [3]] }),
    );
    // JSON.parse reads a number that is too large as Infinity.
    expectError('INPUT_VALUE', /input 'dense' at \[0, 1\] is Infinity/, () => read('{"dense": [[1, 1e999]]}'));
    expectError('INPUT_VALUE', /input 'ids' at \[0\] is 9007199254740992, expected .* string/, () =>
      read('{"ids": [9007199254740993]}'),
    );
  });
});

describe('Open Inference Protocol types', () => {
  it('go there and back', () => {
    for (const dtype of DATA_TYPES) expect(fromOpenInferenceType(toOpenInferenceType(dtype))).toBe(dtype);
    expect(toOpenInferenceType('float32')).toBe('FP32');
    expect(fromOpenInferenceType('BYTES')).toBeUndefined();
  });
});

const HALVES: ReadonlySet<DataType> = new Set(['float16', 'bfloat16']);

/** Whether JSON can carry the tensor there and back: finite, and without the sign of zero that JSON drops. */
function survivesJson(tensor: Tensor): boolean {
  return (
    toFlatJson(tensor).every((value) => typeof value !== 'string' || !/NaN|Infinity/.test(value)) &&
    !hasMinusZero(tensor)
  );
}

function hasMinusZero({ dtype, data }: Tensor): boolean {
  const words: readonly (number | bigint)[] = [...data];
  return words.some((value) => Object.is(value, -0) || (HALVES.has(dtype) && value === 0x8000));
}

describe('toFlatJson and toNestedJson', () => {
  it('say what JSON numbers cannot', () => {
    const floats = tensorOf('float32', [4], [1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    expect(toFlatJson(floats)).toEqual([1.5, 'NaN', 'Infinity', '-Infinity']);
    const data = BigInt64Array.of(1n, -9007199254740991n, 9007199254740992n, -(2n ** 63n));
    expect(toFlatJson({ dtype: 'int64', dims: [4], data })).toEqual([
      1,
      -9007199254740991,
      '9007199254740992',
      '-9223372036854775808',
    ]);
    expect(toFlatJson(tensorOf('bool', [2], [1, 0]))).toEqual([true, false]);
    expect(toFlatJson(tensorOf('float16', [2], [0.5, -2]))).toEqual([0.5, -2]);
  });

  it('nest by dims', () => {
    expect(toNestedJson(tensorOf('int32', [2, 1, 2], [1, 2, 3, 4]))).toEqual([[[1, 2]], [[3, 4]]]);
    expect(toNestedJson(tensorOf('int32', [], [1]))).toBe(1);
    expect(toNestedJson(tensorOf('int32', [2, 0], []))).toEqual([[], []]);
    expect(toNestedJson(tensorOf('int32', [0, 2], []))).toEqual([]);
  });

  it('are undone by flattenJson through text, for all that JSON can carry', () => {
    fc.assert(
      fc.property(anyTensor().filter(survivesJson), (tensor) => {
        const { dtype, dims } = tensor;
        for (const json of [toFlatJson(tensor), toNestedJson(tensor)]) {
          const data = flattenJson(JSON.parse(JSON.stringify(json)), dims, dtype, 'x');
          expect(bits({ dtype, dims, data })).toEqual(bits(tensor));
          expect(data.byteLength).toBe(sizeOf(dims) * bytesPerElement(dtype));
        }
      }),
    );
  });

  it('make up the text of writeJson', () => {
    const tensors = new Map([
      ['a', tensorOf('float32', [1, 2], [1, Number.NaN])],
      ['b', tensorOf('bool', [], [1])],
    ]);
    expect(writeJson(tensors)).toBe('{"a":[[1,"NaN"]],"b":true}');
  });
});
