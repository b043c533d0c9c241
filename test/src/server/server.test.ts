import { request as httpRequest } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { FastifyInstance, InjectOptions } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bytesOf } from '../../../runtime/graph/dtype.js';
import { ModelRepository } from '../../../src/repository/repository.js';
import { createServer, type ServerOptions } from '../../../src/server/server.js';
import { FakeEngine, gate, TABLE_ROWS, type FakeModel } from './fake.js';

const DENSE = { name: 'dense', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] };
const IDS = { name: 'ids', datatype: 'INT64', shape: [1, 2], data: [4, 5] };
const SCORE = [{ name: 'score' }];
const GOOD = { id: 'q1', inputs: [DENSE, IDS], outputs: SCORE };
const INFER = '/v2/models/wnd/infer';

let engine: FakeEngine;
let repository: ModelRepository;
let server: FastifyInstance;

async function start(options: ServerOptions = {}): Promise<void> {
  engine = new FakeEngine();
  repository = new ModelRepository(engine);
  server = createServer(repository, options);
  await repository.add('wnd', '1', { kind: 'zoo', model: 'wnd' });
  await repository.add('wnd', '3', { kind: 'zoo', model: 'wnd' });
  await repository.add('echo', '1', { kind: 'zoo', model: 'echo' });
}

beforeEach(() => start());
afterEach(() => server.close());

function wnd(): FakeModel {
  return engine.models.get('wnd')!;
}

async function get(url: string): Promise<{ status: number; body: unknown }> {
  const response = await server.inject({ method: 'GET', url });
  return { status: response.statusCode, body: response.json() };
}

async function post(
  payload: unknown,
  options: InjectOptions = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await server.inject({ method: 'POST', url: INFER, payload: payload as object, ...options });
  return { status: response.statusCode, body: response.json() };
}

/** JSON, then tensors, and the headers that go with it. */
function binary(value: unknown, parts: readonly Uint8Array[]): { payload: Buffer; headers: Record<string, string> } {
  const head = Buffer.from(JSON.stringify(value));
  return {
    payload: Buffer.concat([head, ...parts]),
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(head.byteLength),
    },
  };
}

async function listen(): Promise<number> {
  await server.listen({ port: 0, host: '127.0.0.1' });
  return (server.server.address() as AddressInfo).port;
}

/** Posts in the chunks given, chunked unless `headers` give a length. */
function send(
  port: number,
  chunks: readonly Buffer[],
  headers: Record<string, string | number>,
): Promise<{ status: number; connection: string | undefined; body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: '127.0.0.1', path: INFER, method: 'POST', headers }, (response) => {
      const received: Buffer[] = [];
      response.on('data', (chunk: Buffer) => received.push(chunk));
      response.on('end', () => {
        resolve({
          status: response.statusCode!,
          connection: response.headers.connection,
          body: JSON.parse(Buffer.concat(received).toString()) as Record<string, unknown>,
        });
      });
    });
    request.on('error', reject);
    for (const chunk of chunks) request.write(chunk);
    request.end();
  });
}

function withIds(...data: number[]): Buffer[] {
  return [Buffer.from(JSON.stringify({ ...GOOD, inputs: [DENSE, { ...IDS, data }] }))];
}

describe('metadata and health', () => {
  test('server metadata', async () => {
    const { status, body } = await get('/v2');
    expect(status).toBe(200);
    expect(body).toEqual({
      name: 'braid',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      extensions: ['binary_tensor_data'],
    });
  });

  test('the root lists the models and where they are', async () => {
    const { body } = await get('/');
    expect(body).toMatchObject({
      name: 'braid',
      links: { metadata: '/v2', live: '/v2/health/live', ready: '/v2/health/ready' },
      models: [
        { name: 'echo', version: '1', state: 'ready', infer: '/v2/models/echo/versions/1/infer' },
        { name: 'wnd', version: '1' },
        { name: 'wnd', version: '3' },
      ],
    });
  });

  test('model metadata, of the highest version and of one', async () => {
    const expected = {
      name: 'wnd',
      versions: ['1', '3'],
      platform: 'onnx_webgpu',
      inputs: [
        { name: 'dense', datatype: 'FP32', shape: [-1, 3] },
        { name: 'ids', datatype: 'INT64', shape: [-1, 2] },
      ],
      outputs: [
        { name: 'score', datatype: 'FP32', shape: [-1, 1] },
        { name: 'half', datatype: 'FP16', shape: [-1] },
        { name: 'big', datatype: 'BOOL', shape: [-1] },
        { name: 'first', datatype: 'INT64', shape: [-1] },
      ],
    };
    expect(await get('/v2/models/wnd')).toEqual({ status: 200, body: expected });
    expect(await get('/v2/models/wnd/versions/1')).toEqual({ status: 200, body: expected });
  });

  test('model metadata says what loading had to say', async () => {
    await repository.add('small', '1', { kind: 'file', path: 'small.onnx' }, { precision: { tables: 'int8' } });
    const { body } = await get('/v2/models/small');
    expect(body).toMatchObject({ name: 'small', parameters: { notices: ['weights stored in fewer bits'] } });
  });

  test('names the models and versions there are', async () => {
    expect(await get('/v2/models/dlrm')).toEqual({
      status: 404,
      body: { error: "no model 'dlrm': the models are 'echo', 'wnd'", code: 'MODEL_NOT_FOUND' },
    });
    expect(await get('/v2/models/wnd/versions/2/ready')).toEqual({
      status: 404,
      body: { error: "model 'wnd' has no version '2', it has 1, 3", code: 'MODEL_NOT_FOUND' },
    });
  });

  test('ready once all models are loaded', async () => {
    expect(await get('/v2/health/live')).toEqual({ status: 200, body: { live: true } });
    expect(await get('/v2/health/ready')).toEqual({ status: 200, body: { ready: true } });
    const { opened, open } = gate();
    engine.hold = opened;
    const loading = repository.add('din', '1', { kind: 'zoo', model: 'din' });
    expect(await get('/v2/health/live')).toMatchObject({ status: 200 });
    expect(await get('/v2/health/ready')).toEqual({
      status: 503,
      body: { error: "not ready: model 'din' version 1 is loading", code: 'MODEL_NOT_READY' },
    });
    expect(await get('/v2/models/din/ready')).toEqual({
      status: 503,
      body: { error: "model 'din' version 1 is still loading", code: 'MODEL_NOT_READY' },
    });
    open();
    await loading;
    expect(await get('/v2/models/din/ready')).toEqual({ status: 200, body: { name: 'din', ready: true } });
    expect(await get('/v2/health/ready')).toMatchObject({ status: 200 });
  });

  test('a failed model says why; the server is not ready unless failures are allowed', async () => {
    await repository.add('broken', '1', { kind: 'file', path: 'broken.onnx' });
    const failed = {
      status: 503,
      body: {
        error: "model 'broken' version 1 failed to load: broken.onnx is not an ONNX file",
        code: 'MODEL_NOT_READY',
      },
    };
    expect(await get('/v2/models/broken/ready')).toEqual(failed);
    expect(await get('/v2/models/broken')).toEqual(failed);
    expect(await get('/v2/health/ready')).toMatchObject({
      status: 503,
      body: { error: "not ready: model 'broken' version 1 failed to load" },
    });
    expect((await post(GOOD)).status).toBe(200);
    await server.close();
    server = createServer(repository, { allowFailed: true });
    expect(await get('/v2/health/ready')).toMatchObject({ status: 200 });
    expect(await get('/v2/models/broken/ready')).toEqual(failed);
  });

  test('names with odd characters travel percent-encoded', async () => {
    await repository.add('a b/ü', '1', { kind: 'zoo', model: 'wnd' });
    expect(await get(`/v2/models/${encodeURIComponent('a b/ü')}`)).toMatchObject({
      status: 200,
      body: { name: 'a b/ü' },
    });
  });
});

describe('infer', () => {
  test('JSON in, JSON out', async () => {
    expect(await post(GOOD)).toEqual({
      status: 200,
      body: {
        model_name: 'wnd',
        model_version: '3',
        id: 'q1',
        outputs: [{ name: 'score', datatype: 'FP32', shape: [1, 1], data: [15] }],
      },
    });
  });

  test('a version of its own', async () => {
    const { body } = await post(GOOD, { url: '/v2/models/wnd/versions/1/infer' });
    expect(body.model_version).toBe('1');
  });

  test('several rows and outputs, in the order asked for', async () => {
    const { body } = await post({
      inputs: [
        {
          ...DENSE,
          shape: [2, 3],
          data: [
            [1, 2, 3],
            [50, 50, 50],
          ],
        },
        {
          ...IDS,
          shape: [2, 2],
          data: [
            [4, 5],
            [6, 7],
          ],
        },
      ],
      outputs: [{ name: 'first' }, { name: 'big' }],
    });
    expect(body.outputs).toEqual([
      { name: 'first', datatype: 'INT64', shape: [2], data: [4, 6] },
      { name: 'big', datatype: 'BOOL', shape: [2], data: [false, true] },
    ]);
  });

  test('binary in and out; JSON inputs and outputs beside them', async () => {
    const ids = new BigInt64Array([4n, 5n]);
    const { payload, headers } = binary(
      {
        id: 'b',
        inputs: [DENSE, { name: 'ids', datatype: 'INT64', shape: [1, 2], parameters: { binary_data_size: 16 } }],
        parameters: { binary_data_output: true },
        outputs: [{ name: 'half' }, { name: 'big', parameters: { binary_data: false } }, { name: 'first' }],
      },
      [bytesOf(ids)],
    );
    const response = await server.inject({ method: 'POST', url: INFER, payload, headers });
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('application/octet-stream');
    expect(response.headers['content-length']).toBe(String(response.rawPayload.byteLength));
    const length = Number(response.headers['inference-header-content-length']);
    const json = JSON.parse(response.rawPayload.subarray(0, length).toString()) as object;
    expect(json).toEqual({
      model_name: 'wnd',
      model_version: '3',
      id: 'b',
      outputs: [
        { name: 'half', datatype: 'FP16', shape: [1], parameters: { binary_data_size: 2 } },
        { name: 'big', datatype: 'BOOL', shape: [1], data: [false] },
        { name: 'first', datatype: 'INT64', shape: [1], parameters: { binary_data_size: 8 } },
      ],
    });
    const tail = response.rawPayload.subarray(length);
    expect(tail.byteLength).toBe(10);
    expect(tail.readUInt16LE(0)).toBe(0x4b80);
    expect(tail.readBigInt64LE(2)).toBe(4n);
  });

  test('binary data with content-type application/json', async () => {
    const { payload, headers } = binary(
      { inputs: [{ ...DENSE, data: undefined, parameters: { binary_data_size: 12 } }, IDS], outputs: SCORE },
      [bytesOf(new Float32Array([1, 2, 3]))],
    );
    const { status, body } = await post(payload, { headers: { ...headers, 'content-type': 'application/json' } });
    expect(status).toBe(200);
    expect(body.outputs).toMatchObject([{ data: [15] }]);
  });

  test('a JSON body may come as application/octet-stream, or without a type', async () => {
    const payload = JSON.stringify(GOOD);
    expect((await post(payload, { headers: { 'content-type': 'application/octet-stream' } })).status).toBe(200);
    expect((await post(Buffer.from(payload), { headers: {} })).status).toBe(200);
  });

  test('a raw body for a model of one input', async () => {
    const halves = new Uint16Array([0x3c00, 0x4000, 0x4200, 0x4400]);
    const response = await server.inject({
      method: 'POST',
      url: '/v2/models/echo/infer',
      payload: Buffer.from(bytesOf(halves)),
      headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': '0' },
    });
    expect(response.statusCode).toBe(200);
    const length = Number(response.headers['inference-header-content-length']);
    expect(JSON.parse(response.rawPayload.subarray(0, length).toString())).toMatchObject({
      outputs: [{ name: 'y', datatype: 'FP16', shape: [2, 2], parameters: { binary_data_size: 8 } }],
    });
    expect(response.rawPayload.subarray(length)).toEqual(Buffer.from(bytesOf(halves)));
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'inputs are views of one buffer with a JSON header of any length (%i)',
    async (extra) => {
      const parameters = { binary_data_size: 16 };
      const { payload, headers } = binary(
        {
          id: 'x'.repeat(extra),
          inputs: [
            { name: 'ids', datatype: 'INT64', shape: [1, 2], parameters },
            { name: 'dense', datatype: 'FP32', shape: [1, 3], parameters: { binary_data_size: 12 } },
          ],
          outputs: SCORE,
        },
        [bytesOf(new BigInt64Array([4n, 5n])), bytesOf(new Float32Array([1, 2, 3]))],
      );
      expect((await post(payload, { headers })).status).toBe(200);
      expect(wnd().last.ids!.data.buffer).toBe(wnd().last.dense!.data.buffer);
    },
  );

  test('gives back X-Request-Id, or makes one', async () => {
    const given = await server.inject({ url: '/v2', headers: { 'x-request-id': 'abc-1' } });
    expect(given.headers['x-request-id']).toBe('abc-1');
    const made = await server.inject({ url: '/v2' });
    expect(made.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    const unfit = await server.inject({ url: '/v2', headers: { 'x-request-id': 'x'.repeat(200) } });
    expect(unfit.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('bad requests', () => {
  test.each([
    ['malformed JSON', '{"inputs":', /^the body is not JSON/, 'REQUEST_INVALID'],
    ['NaN', '{"inputs":[{"name":"dense","data":[NaN]}]}', /JSON has no NaN/, 'REQUEST_INVALID'],
    ['an unknown input', { inputs: [{ ...DENSE, name: 'x' }] }, /no input 'x'/, 'INPUT_UNKNOWN'],
    ['a missing input', { inputs: [DENSE] }, /needs 'ids'/, 'INPUT_MISSING'],
    ['another data type', { inputs: [{ ...DENSE, datatype: 'INT8' }, IDS] }, /"INT8".*"FP32"/, 'INPUT_TYPE'],
    ['another number of elements', { inputs: [{ ...DENSE, data: [1] }, IDS] }, /'dense'/, 'INPUT_SIZE'],
    [
      'a shape that the model does not have',
      { inputs: [{ ...DENSE, shape: [1, 2], data: [1, 2] }, IDS], outputs: SCORE },
      /'dense' has shape \[1, 2\], expected \[batch, 3\]/,
      'INPUT_SHAPE',
    ],
    [
      'rows that disagree',
      { inputs: [DENSE, { ...IDS, shape: [2, 2], data: [1, 2, 3, 4] }], outputs: SCORE },
      /'ids' has shape \[2, 2\], expected \[1, 2\]/,
      'INPUT_SHAPE',
    ],
    [
      'an id outside its table',
      { inputs: [DENSE, { ...IDS, data: [4, 1000] }], outputs: SCORE },
      /1000/,
      'INDEX_OUT_OF_RANGE',
    ],
    ['an unknown output', { ...GOOD, outputs: [{ name: 'y' }] }, /no output 'y'/, 'OUTPUT_UNKNOWN'],
    ['a 16-bit float asked for as JSON', { inputs: [DENSE, IDS] }, /'half' is FP16/, 'REQUEST_INVALID'],
  ] as const)('%s', async (_title, payload, message, code) => {
    const { status, body } = await post(payload, { headers: { 'content-type': 'application/json' } });
    expect(status).toBe(400);
    expect(body).toEqual({ error: expect.stringMatching(message), code });
  });

  test('no body', async () => {
    const { status, body } = await post(undefined);
    expect(status).toBe(400);
    expect(body.error).toBe('the body is empty, expected a JSON object with "inputs"');
  });

  test.each(['abc', '-5', '1e3', '100000'])('Inference-Header-Content-Length %s', async (value) => {
    const { status, body } = await post(JSON.stringify(GOOD), {
      headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': value },
    });
    expect(status).toBe(400);
    expect(body).toEqual({
      error: expect.stringContaining(
        `header Inference-Header-Content-Length is ${value === '100000' ? value : `'${value}'`}`,
      ),
      code: 'REQUEST_INVALID',
    });
  });

  test('bytes after the last tensor', async () => {
    const { payload, headers } = binary(GOOD, [new Uint8Array(5)]);
    expect(await post(payload, { headers })).toEqual({
      status: 400,
      body: { error: expect.stringMatching(/^5 bytes are left after the last binary tensor/), code: 'REQUEST_INVALID' },
    });
  });

  test.each(['text/csv', 'application/x-www-form-urlencoded', 'nonsense'])('content-type %s', async (type) => {
    const { status, body } = await post(JSON.stringify(GOOD), { headers: { 'content-type': type } });
    expect(status).toBe(415);
    expect(body).toEqual({
      error: expect.stringMatching(`content-type '${type}' is not supported, expected application/json`),
      code: 'REQUEST_INVALID',
    });
  });

  test('a compressed body', async () => {
    const { status, body } = await post(GOOD, { headers: { 'content-encoding': 'gzip' } });
    expect(status).toBe(415);
    expect(body.error).toBe("content-encoding 'gzip' is not supported, expected an uncompressed body");
  });

  test('unknown routes and methods', async () => {
    expect(await get('/v1/models')).toEqual({
      status: 404,
      body: { error: 'no route GET /v1/models, GET / lists the routes', code: 'REQUEST_INVALID' },
    });
    expect(await get(INFER)).toMatchObject({ status: 404 });
    expect(await post('a,b', { url: '/nowhere', headers: { 'content-type': 'text/csv' } })).toMatchObject({
      status: 404,
    });
    expect(await get('/v2/models/%zz')).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID' } });
  });

  test('an error that is not ours is 500 INTERNAL, without its stack', async () => {
    wnd().run = () => Promise.reject(new TypeError('boom'));
    expect(await post(GOOD)).toEqual({ status: 500, body: { error: 'boom', code: 'INTERNAL' } });
  });
});

describe('over a socket', () => {
  const json = { 'content-type': 'application/json' };

  test('a chunked body', async () => {
    const port = await listen();
    const body = Buffer.from(JSON.stringify(GOOD));
    const { status } = await send(port, [body.subarray(0, 10), body.subarray(10)], json);
    expect(status).toBe(200);
  });

  test('a body over the limit, by Content-Length and chunked', async () => {
    await server.close();
    await start({ maxBodyBytes: 100 });
    const port = await listen();
    const body = Buffer.alloc(200, ' ');
    expect(await send(port, [body], { ...json, 'content-length': 200 })).toEqual({
      status: 413,
      connection: 'close',
      body: {
        error: "the body holds 200 bytes, expected at most 100 (the server's --max-body)",
        code: 'REQUEST_INVALID',
      },
    });
    expect(await send(port, [body.subarray(0, 90), body.subarray(90)], json)).toMatchObject({
      status: 413,
      body: { error: "the body holds more than 100 bytes, expected at most 100 (the server's --max-body)" },
    });
    expect((await send(port, [Buffer.alloc(100, ' ')], json)).status).toBe(400);
  });

  test('two queries at once, of which one is bad, do not disturb each other', async () => {
    const port = await listen();
    const { opened, open } = gate();
    wnd().hold = opened;
    const good = send(port, withIds(4, 5), json);
    const bad = send(port, withIds(4, TABLE_ROWS), json);
    await expect.poll(() => wnd().running).toBe(2);
    open();
    expect(await bad).toMatchObject({ status: 400, body: { code: 'INDEX_OUT_OF_RANGE' } });
    expect(await good).toMatchObject({ status: 200, body: { outputs: [{ data: [15] }] } });
  });

  test('a client that goes away in the middle of its body leaves the server well', async () => {
    const port = await listen();
    const socket = connect(port, '127.0.0.1');
    socket.write(
      `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"in`,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    expect((await send(port, [Buffer.from(JSON.stringify(GOOD))], json)).status).toBe(200);
  });

  test('bytes that are no HTTP get the same form of error', async () => {
    const port = await listen();
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('close', () => resolve(text));
      socket.write('hello\r\n\r\n');
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(JSON.parse(answer.slice(answer.indexOf('{')))).toEqual({
      error: expect.stringContaining('this is not an HTTP request'),
      code: 'REQUEST_INVALID',
    });
  });
});
