import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BraidError, type ErrorCode } from '../../../runtime/errors.js';
import { allocate, bytesOf, bytesPerElement, DATA_TYPES, type DataType } from '../../../runtime/graph/dtype.js';
import { sizeOf, tensor, tensorOf, type Tensor } from '../../../runtime/graph/tensor.js';
import type { TensorSpec } from '../../../src/api.js';
import { fromOpenInferenceType, toOpenInferenceType } from '../../../src/io/json.js';
import {
  decodeInfer,
  describeTensor,
  encodeInfer,
  parseHeaderLength,
  type InferResponse,
  type ModelSpec,
} from '../../../src/server/protocol.js';

const MODEL: ModelSpec = {
  name: 'wnd',
  inputs: [
    { name: 'dense', dtype: 'float32', shape: ['batch', 3] },
    { name: 'ids', dtype: 'int64', shape: ['batch', 2] },
  ],
  outputs: [
    { name: 'score', dtype: 'float32', shape: ['batch', 1] },
    { name: 'half', dtype: 'float16', shape: ['batch'] },
  ],
};

const DENSE = { name: 'dense', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] };
const IDS = { name: 'ids', datatype: 'INT64', shape: [1, 2], data: [4, 5] };
const SCORE = [{ name: 'score' }];

function json(value: unknown): Uint8Array {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
}

function decode(value: unknown, model = MODEL) {
  return decodeInfer(json(value), undefined, model);
}

/** A body of JSON and binary tensors, laid so that the binary section starts `shift` bytes off alignment. */
function binaryBody(value: unknown, parts: readonly Uint8Array[], shift = 0): { body: Uint8Array; header: number } {
  const head = json(value);
  const tail = Buffer.concat(parts);
  const padding = ((8 - (head.byteLength % 8)) % 8) + shift;
  const place = Buffer.allocUnsafeSlow(padding + head.byteLength + tail.byteLength);
  const body = place.subarray(padding);
  body.set(head);
  body.set(tail, head.byteLength);
  return { body, header: head.byteLength };
}

function failure(act: () => unknown): { code: ErrorCode; message: string } {
  try {
    act();
  } catch (error) {
    if (error instanceof BraidError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('expected a BraidError');
}

describe('JSON requests', () => {
  test('flat and nested data give the same tensors', () => {
    const flat = decode({ inputs: [DENSE, { ...IDS, shape: [2, 2], data: [1, 2, 3, 4] }], outputs: SCORE });
    const nested = decode({
      inputs: [
        { ...DENSE, data: [[1, 2, 3]] },
        {
          ...IDS,
          shape: [2, 2],
          data: [
            [1, 2],
            [3, 4],
          ],
        },
      ],
      outputs: SCORE,
    });
    expect(nested.inputs).toEqual(flat.inputs);
    expect(flat.inputs.ids).toEqual(tensor('int64', [2, 2], new BigInt64Array([1n, 2n, 3n, 4n])));
  });

  test('keeps the id, and lists the outputs in the order asked for', () => {
    const request = decode({
      id: 'q7',
      inputs: [DENSE, IDS],
      outputs: [{ name: 'half', parameters: { binary_data: true } }, { name: 'score' }],
    });
    expect(request.id).toBe('q7');
    expect(request.outputs).toEqual([
      { name: 'half', binary: true },
      { name: 'score', binary: false },
    ]);
  });

  test('without outputs asks for all; binary_data_output sets their form, an output overrides it', () => {
    const parameters = { binary_data_output: true };
    const both = [
      { name: 'score', binary: true },
      { name: 'half', binary: true },
    ];
    expect(decode({ inputs: [DENSE, IDS], parameters }).outputs).toEqual(both);
    expect(decode({ inputs: [DENSE, IDS], parameters, outputs: [] }).outputs).toEqual(both);
    expect(
      decode({
        inputs: [DENSE, IDS],
        parameters,
        outputs: [{ name: 'score', parameters: { binary_data: false } }, { name: 'half' }],
      }).outputs,
    ).toEqual([
      { name: 'score', binary: false },
      { name: 'half', binary: true },
    ]);
  });

  test('optional fields may be null, unknown parameters are ignored', () => {
    const request = decode({
      id: null,
      parameters: { priority: 1 },
      inputs: [{ ...DENSE, parameters: null }, IDS],
      outputs: SCORE,
    });
    expect(request.id).toBeUndefined();
    expect(Object.keys(request.inputs)).toEqual(['dense', 'ids']);
  });

  test("a timeout in microseconds, as Triton's, becomes a deadline; 0 is none", () => {
    const asked = (timeout: unknown) =>
      decode({ inputs: [DENSE, IDS], outputs: SCORE, parameters: { timeout } }).deadlineMs;
    expect([asked(2500), asked(0), asked(undefined)]).toEqual([2.5, undefined, undefined]);
    for (const timeout of [-1, 1.5, '5', null]) {
      expect(() => asked(timeout)).toThrow(/parameters\.timeout of the request is .*whole number of microseconds/);
    }
  });

  test('every data type with a JSON form is read', () => {
    for (const dtype of DATA_TYPES.filter((d) => d !== 'float16' && d !== 'bfloat16')) {
      const model: ModelSpec = { name: 'm', inputs: [{ name: 'x', dtype, shape: [2] }], outputs: [] };
      const input = { name: 'x', datatype: toOpenInferenceType(dtype), shape: [2], data: [1, 0] };
      expect(decode({ inputs: [input] }, model).inputs.x).toEqual(tensorOf(dtype, [2], [1, 0]));
    }
  });
});

describe('binary requests', () => {
  const values = new Float32Array([1.5, -2, 3]);
  const ids = new BigInt64Array([4n, 2n ** 60n]);
  const request = {
    inputs: [
      { name: 'ids', datatype: 'INT64', shape: [1, 2], parameters: { binary_data_size: 16 } },
      { name: 'dense', datatype: 'FP32', shape: [1, 3], parameters: { binary_data_size: 12 } },
    ],
    outputs: SCORE,
  };

  test('tensors follow in the order of the JSON and view the body', () => {
    const { body, header } = binaryBody(request, [bytesOf(ids), bytesOf(values)]);
    const { inputs } = decodeInfer(body, header, MODEL);
    expect(inputs.dense).toEqual(tensor('float32', [1, 3], values));
    expect(inputs.ids).toEqual(tensor('int64', [1, 2], ids));
    expect(inputs.dense!.data.buffer).toBe(body.buffer);
    expect(inputs.ids!.data.buffer).toBe(body.buffer);
  });

  test('unaligned tensors are copied and hold the same', () => {
    const { body, header } = binaryBody(request, [bytesOf(ids), bytesOf(values)], 3);
    const { inputs } = decodeInfer(body, header, MODEL);
    expect(inputs.dense).toEqual(tensor('float32', [1, 3], values));
    expect(inputs.ids).toEqual(tensor('int64', [1, 2], ids));
    expect(inputs.ids!.data.buffer).not.toBe(body.buffer);
  });

  test('JSON and binary tensors mix', () => {
    const { body, header } = binaryBody({ inputs: [DENSE, request.inputs[0]], outputs: SCORE }, [bytesOf(ids)]);
    const { inputs } = decodeInfer(body, header, MODEL);
    expect(inputs.dense).toEqual(tensor('float32', [1, 3], new Float32Array([1, 2, 3])));
    expect(inputs.ids).toEqual(tensor('int64', [1, 2], ids));
  });

  test('a header as long as the body means JSON alone', () => {
    const body = json({ inputs: [DENSE, IDS], outputs: SCORE });
    expect(Object.keys(decodeInfer(body, body.byteLength, MODEL).inputs)).toEqual(['dense', 'ids']);
  });

  test('a header of 0 takes the body as the one input and deduces its free dimension', () => {
    const model: ModelSpec = {
      name: 'm',
      inputs: [{ name: 'x', dtype: 'int16', shape: ['n', 3] }],
      outputs: [{ name: 'y', dtype: 'float16', shape: ['n'] }],
    };
    const data = new Int16Array([1, 2, 3, 4, 5, 6]);
    const { inputs, outputs } = decodeInfer(bytesOf(data), 0, model);
    expect(inputs.x).toEqual(tensor('int16', [2, 3], data));
    expect(outputs).toEqual([{ name: 'y', binary: true }]);
    expect(failure(() => decodeInfer(new Uint8Array(10), 0, model))).toEqual({
      code: 'INPUT_SIZE',
      message: "input 'x' is INT16 [n, 3]: expected a multiple of 6 bytes, the body holds 10",
    });
    const fixed = { ...model, inputs: [{ name: 'x', dtype: 'int16', shape: [2, 3] }] as TensorSpec[] };
    expect(decodeInfer(bytesOf(data), 0, fixed).inputs.x!.dims).toEqual([2, 3]);
    expect(failure(() => decodeInfer(new Uint8Array(24), 0, fixed)).message).toContain('expected 12 bytes');
    const free = { ...model, inputs: [{ name: 'x', dtype: 'int16', shape: ['a', 'b'] }] as TensorSpec[] };
    expect(failure(() => decodeInfer(bytesOf(data), 0, free)).message).toContain('2 free dimensions, at most 1');
    expect(failure(() => decodeInfer(bytesOf(data), 0, MODEL)).message).toContain("'wnd' has 2");
  });
});

describe('bad requests', () => {
  const cases: [title: string, body: unknown, code: ErrorCode, message: string | RegExp][] = [
    ['broken JSON', '{"inputs": [', 'REQUEST_INVALID', /^the body is not JSON: /],
    ['NaN', '{"inputs":[{"name":"dense","data":[NaN]}]}', 'REQUEST_INVALID', /JSON has no NaN or Infinity, .* binary/],
    ['-Infinity', '{"inputs":[{"data":[-Infinity]}]}', 'REQUEST_INVALID', /JSON has no NaN or Infinity/],
    ['an array', [], 'REQUEST_INVALID', 'the body is [], expected a JSON object with "inputs"'],
    ['null', 'null', 'REQUEST_INVALID', 'the body is null, expected a JSON object with "inputs"'],
    ['nothing', '', 'REQUEST_INVALID', 'the body is empty, expected a JSON object with "inputs"'],
    ['no inputs', {}, 'REQUEST_INVALID', '"inputs" is missing, expected an array of tensors'],
    ['inputs by name', { inputs: {} }, 'REQUEST_INVALID', '"inputs" is an object, expected an array of tensors'],
    ['an input that is no object', { inputs: [3] }, 'REQUEST_INVALID', 'inputs[0] is 3, expected a tensor object'],
    [
      'an input without name',
      { inputs: [{ data: [] }] },
      'REQUEST_INVALID',
      'inputs[0] has name missing, expected a string',
    ],
    [
      'an unknown input',
      { inputs: [{ ...DENSE, name: 'dence' }, IDS] },
      'INPUT_UNKNOWN',
      "model 'wnd' has no input 'dence', its inputs are 'dense', 'ids'",
    ],
    ['a prototype name', { inputs: [{ ...DENSE, name: '__proto__' }] }, 'INPUT_UNKNOWN', /no input '__proto__'/],
    ['an input given twice', { inputs: [DENSE, IDS, DENSE] }, 'REQUEST_INVALID', "input 'dense' is given twice"],
    ['a missing input', { inputs: [DENSE] }, 'INPUT_MISSING', "model 'wnd' needs 'ids' too, given were 'dense'"],
    ['no input at all', { inputs: [] }, 'INPUT_MISSING', "model 'wnd' needs 'dense', 'ids' too, none was given"],
    [
      'another data type',
      { inputs: [{ ...DENSE, datatype: 'FP64' }, IDS] },
      'INPUT_TYPE',
      `input 'dense' has datatype "FP64", the model expects "FP32"`,
    ],
    ['an unheard-of data type', { inputs: [{ ...DENSE, datatype: 'BYTES' }, IDS] }, 'INPUT_TYPE', /"BYTES".*"FP32"/],
    ['no data type', { inputs: [{ ...DENSE, datatype: undefined }, IDS] }, 'INPUT_TYPE', /datatype missing/],
    [
      'a negative dimension',
      { inputs: [{ ...DENSE, shape: [-1, 3] }, IDS] },
      'INPUT_SHAPE',
      "input 'dense' has shape [-1,3], expected an array of whole numbers, 0 or more",
    ],
    ['a fractional dimension', { inputs: [{ ...DENSE, shape: [1.5] }, IDS] }, 'INPUT_SHAPE', /shape \[1\.5\]/],
    ['no shape', { inputs: [{ ...DENSE, shape: undefined }, IDS] }, 'INPUT_SHAPE', /shape missing/],
    ['too few elements', { inputs: [{ ...DENSE, data: [1, 2] }, IDS] }, 'INPUT_SIZE', /'dense' holds 2 .* expected 3/],
    ['ragged rows', { inputs: [{ ...DENSE, shape: [2, 3], data: [[1, 2, 3], [4]] }, IDS] }, 'INPUT_SHAPE', /'dense'/],
    [
      'a null element',
      { inputs: [{ ...DENSE, data: [1, null, 3] }, IDS] },
      'INPUT_VALUE',
      /'dense' at \[0, 1\] is null/,
    ],
    ['a string element', { inputs: [{ ...DENSE, data: [1, '2', 3] }, IDS] }, 'INPUT_VALUE', /'dense'.*"2"/],
    [
      'a fraction as an id',
      { inputs: [DENSE, { ...IDS, data: [4, 5.5] }] },
      'INPUT_VALUE',
      /'ids'.*5\.5.*whole number/,
    ],
    [
      'an id that JSON rounded',
      { inputs: [DENSE, { ...IDS, data: [4, 2 ** 53] }] },
      'INPUT_VALUE',
      /'ids'.*9007199254740992.*string/,
    ],
    ['data that is a number', { inputs: [{ ...DENSE, data: 7 }, IDS] }, 'INPUT_SHAPE', /'dense' is 7/],
    [
      'neither data nor bytes',
      { inputs: [{ ...DENSE, data: undefined }, IDS] },
      'REQUEST_INVALID',
      `input 'dense' has neither "data" nor parameters.binary_data_size`,
    ],
    [
      'data and bytes',
      { inputs: [{ ...DENSE, parameters: { binary_data_size: 12 } }, IDS] },
      'REQUEST_INVALID',
      `input 'dense' has both "data" and parameters.binary_data_size, expected one of them`,
    ],
    [
      'bytes without the header',
      { inputs: [{ ...DENSE, data: undefined, parameters: { binary_data_size: 12 } }, IDS] },
      'REQUEST_INVALID',
      /'dense'.*without the header Inference-Header-Content-Length/,
    ],
    [
      'parameters as a list',
      { inputs: [{ ...DENSE, parameters: [] }, IDS] },
      'REQUEST_INVALID',
      /"parameters" of input 'dense'/,
    ],
    [
      'shared memory',
      { inputs: [{ ...DENSE, parameters: { shared_memory_region: 'r' } }, IDS] },
      'REQUEST_INVALID',
      "parameters.shared_memory_region of input 'dense' is not supported",
    ],
    ['outputs by name', { inputs: [DENSE, IDS], outputs: 'score' }, 'REQUEST_INVALID', /"outputs" is "score"/],
    [
      'an output as a string',
      { inputs: [DENSE, IDS], outputs: ['score'] },
      'REQUEST_INVALID',
      /outputs\[0\] is "score"/,
    ],
    [
      'an unknown output',
      { inputs: [DENSE, IDS], outputs: [{ name: 'logit' }] },
      'OUTPUT_UNKNOWN',
      "model 'wnd' has no output 'logit', its outputs are 'score', 'half'",
    ],
    [
      'an output twice',
      { inputs: [DENSE, IDS], outputs: [...SCORE, ...SCORE] },
      'REQUEST_INVALID',
      "output 'score' is asked for twice",
    ],
    [
      'binary_data that is no flag',
      { inputs: [DENSE, IDS], outputs: [{ name: 'score', parameters: { binary_data: 1 } }] },
      'REQUEST_INVALID',
      "parameters.binary_data of output 'score' is 1, expected true or false",
    ],
    [
      'classification',
      { inputs: [DENSE, IDS], outputs: [{ name: 'score', parameters: { classification: 3 } }] },
      'REQUEST_INVALID',
      "parameters.classification of output 'score' is not supported",
    ],
    [
      'a 16-bit float as JSON',
      { inputs: [DENSE, IDS] },
      'REQUEST_INVALID',
      "output 'half' is FP16, which has no JSON form: ask for it with binary_data true",
    ],
    ['an id that is no string', { id: 7, inputs: [DENSE, IDS], outputs: SCORE }, 'REQUEST_INVALID', /"id" is 7/],
  ];
  test.each(cases)('%s', (_title, body, code, message) => {
    const error = failure(() => decode(body));
    expect(error.code).toBe(code);
    if (typeof message === 'string') expect(error.message).toBe(message);
    else expect(error.message).toMatch(message);
  });

  test('nesting of any depth is refused, not followed', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000);
    expect(failure(() => decode(`{"inputs":${deep}}`)).code).toBe('REQUEST_INVALID');
    expect(failure(() => decode(`{"inputs":[{"name":"dense","datatype":"FP32","shape":${deep}}]}`)).code).toBe(
      'INPUT_SHAPE',
    );
    expect(
      failure(() => decode(`{"inputs":[{"name":"dense","datatype":"FP32","shape":[1,3],"data":${deep}}]}`)).code,
    ).toBe('INPUT_SHAPE');
  });

  test('a 16-bit float input as JSON', () => {
    const model: ModelSpec = { name: 'm', inputs: [{ name: 'x', dtype: 'bfloat16', shape: [1] }], outputs: [] };
    const body = { inputs: [{ name: 'x', datatype: 'BF16', shape: [1], data: [1] }] };
    expect(failure(() => decode(body, model)).message).toBe(
      "input 'x' is BF16, which has no JSON form: send it as binary data",
    );
  });

  const binary = (size: unknown, bytes: number) => {
    const input = { name: 'dense', datatype: 'FP32', shape: [1, 3], parameters: { binary_data_size: size } };
    const { body, header } = binaryBody({ inputs: [IDS, input], outputs: SCORE }, [new Uint8Array(bytes)]);
    return failure(() => decodeInfer(body, header, MODEL));
  };

  test.each([
    ['another size than the shape needs', 8, 8, 'INPUT_SIZE', /'dense'.*8, but FP32 \[1, 3\] takes 12 bytes/],
    ['fewer bytes than declared', 12, 10, 'INPUT_SIZE', /'dense'.*12, but only 10 bytes/],
    ['a negative size', -4, 0, 'REQUEST_INVALID', /binary_data_size -4, expected a number of bytes/],
    ['a size that is no number', '12', 12, 'REQUEST_INVALID', /binary_data_size "12"/],
    ['bytes left over', 12, 15, 'REQUEST_INVALID', /^3 bytes are left .* declare 12 .* holds 15/],
  ] as const)('%s', (_title, size, bytes, code, message) => {
    const error = binary(size, bytes);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  test('a header longer than the body, or cut inside the JSON', () => {
    const body = json({ inputs: [DENSE, IDS], outputs: SCORE });
    expect(failure(() => decodeInfer(body, body.byteLength + 1, MODEL)).message).toContain(
      `is ${body.byteLength + 1}, but the body holds only ${body.byteLength} bytes`,
    );
    expect(failure(() => decodeInfer(body, 10, MODEL)).message).toMatch(/^the body is not JSON/);
    expect(failure(() => decodeInfer(new Uint8Array([0xff, 0xfe, 1]), 2, MODEL)).message).toContain('is not UTF-8');
  });

  test('a BOOL byte that is neither 0 nor 1', () => {
    const model: ModelSpec = { name: 'm', inputs: [{ name: 'x', dtype: 'bool', shape: [3] }], outputs: [] };
    expect(failure(() => decodeInfer(new Uint8Array([0, 1, 2]), 0, model))).toEqual({
      code: 'INPUT_VALUE',
      message: "input 'x' holds byte 2 at element 2, a BOOL is 0 or 1",
    });
  });

  test.each(['abc', '-1', '1.5', '', '12, 12', '99999999999999999999'])('header length %j', (value) => {
    expect(failure(() => parseHeaderLength(value))).toEqual({
      code: 'REQUEST_INVALID',
      message: `header Inference-Header-Content-Length is '${value}', expected a number of bytes, 0 or more`,
    });
  });

  test('header length that is a number, or absent', () => {
    expect(parseHeaderLength('120')).toBe(120);
    expect(parseHeaderLength(undefined)).toBeUndefined();
  });
});

describe('responses', () => {
  const outputs = {
    score: tensor('float32', [2, 1], new Float32Array([0.5, -1])),
    half: tensor('float16', [2], new Uint16Array([0x3c00, 0x4000])),
  };
  const base: InferResponse = { modelName: 'wnd', modelVersion: '3', requested: [], outputs };

  test('JSON alone', () => {
    const { body, headerLength } = encodeInfer({ ...base, id: 'q', requested: [{ name: 'score', binary: false }] });
    expect(headerLength).toBeUndefined();
    expect(JSON.parse(body as string)).toEqual({
      model_name: 'wnd',
      model_version: '3',
      id: 'q',
      outputs: [{ name: 'score', datatype: 'FP32', shape: [2, 1], data: [0.5, -1] }],
    });
    expect(JSON.parse(encodeInfer(base).body as string)).not.toHaveProperty('id');
  });

  test('binary tensors follow the JSON, from an aligned offset', () => {
    const { body, headerLength } = encodeInfer({
      ...base,
      requested: [
        { name: 'half', binary: true },
        { name: 'score', binary: false },
      ],
    });
    expect(headerLength! % 8).toBe(0);
    const bytes = body as Buffer;
    expect(JSON.parse(bytes.subarray(0, headerLength).toString())).toMatchObject({
      outputs: [
        { name: 'half', datatype: 'FP16', shape: [2], parameters: { binary_data_size: 4 } },
        { name: 'score', data: [0.5, -1] },
      ],
    });
    expect([...bytes.subarray(headerLength)]).toEqual([0x00, 0x3c, 0x00, 0x40]);
  });

  test('values that JSON numbers cannot hold become strings', () => {
    const { body } = encodeInfer({
      ...base,
      requested: [
        { name: 'a', binary: false },
        { name: 'b', binary: false },
      ],
      outputs: {
        a: tensor('int64', [2], new BigInt64Array([7n, 2n ** 53n + 1n])),
        b: tensor('float32', [2], new Float32Array([Number.NaN, Number.NEGATIVE_INFINITY])),
      },
    });
    expect(JSON.parse(body as string)).toMatchObject({
      outputs: [{ data: [7, '9007199254740993'] }, { data: ['NaN', '-Infinity'] }],
    });
  });

  test('an output that the engine did not return is our defect', () => {
    expect(failure(() => encodeInfer({ ...base, requested: [{ name: 'logit', binary: false }] })).code).toBe(
      'INTERNAL',
    );
  });

  test('metadata writes symbolic dimensions as -1', () => {
    expect(describeTensor(MODEL.inputs[1]!)).toEqual({ name: 'ids', datatype: 'INT64', shape: [-1, 2] });
  });
});

describe('properties', () => {
  const dims = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 });
  const anyTensor: fc.Arbitrary<Tensor> = fc.tuple(fc.constantFrom(...DATA_TYPES), dims).chain(([dtype, shape]) => {
    const bytes = sizeOf(shape) * bytesPerElement(dtype);
    const byte = dtype === 'bool' ? fc.integer({ min: 0, max: 1 }) : fc.integer({ min: 0, max: 255 });
    return fc.array(byte, { minLength: bytes, maxLength: bytes }).map((content) => {
      const data = allocate(dtype, sizeOf(shape));
      bytesOf(data).set(content);
      return tensor(dtype, shape, data);
    });
  });

  test('a binary response read back as a request gives the same bytes, at any alignment', () => {
    fc.assert(
      fc.property(fc.array(anyTensor, { minLength: 1, maxLength: 4 }), fc.nat({ max: 7 }), (tensors, shift) => {
        const named = Object.fromEntries(tensors.map((t, i) => [`t${i}`, t]));
        const requested = Object.keys(named).map((name) => ({ name, binary: true }));
        const { body, headerLength } = encodeInfer({ modelName: 'm', modelVersion: '1', requested, outputs: named });
        const bytes = body as Buffer;
        const { outputs } = JSON.parse(bytes.subarray(0, headerLength).toString()) as {
          outputs: { name: string; datatype: string; shape: number[] }[];
        };
        const model: ModelSpec = {
          name: 'm',
          inputs: outputs.map(({ name, datatype, shape }) => ({
            name,
            dtype: fromOpenInferenceType(datatype) as DataType,
            shape,
          })),
          outputs: [],
        };
        const request = binaryBody({ inputs: outputs }, [bytes.subarray(headerLength)], shift);
        const decoded = decodeInfer(request.body, request.header, model).inputs;
        for (const [name, t] of Object.entries(named)) {
          expect(decoded[name]!.dtype).toBe(t.dtype);
          expect(decoded[name]!.dims).toEqual(t.dims);
          expect(Buffer.from(bytesOf(decoded[name]!.data)).equals(bytesOf(t.data))).toBe(true);
        }
      }),
    );
  });

  test('any bytes are answered with a BraidError, never another', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => json(text)),
          fc.json().map((text) => json(`{"inputs":[${text}]}`)),
        ),
        fc.option(fc.nat({ max: 40 }), { nil: undefined }),
        (body, header) => {
          expect(failure(() => decodeInfer(body, header, MODEL)).code).toMatch(/^(REQUEST|INPUT|OUTPUT)_/);
        },
      ),
    );
  });
});
