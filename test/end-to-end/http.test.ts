import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FastifyInstance } from 'fastify';
import type { Engine, Tensor } from '../../src/index.js';
import { readTensors, toFlatJson, toOpenInferenceType } from '../../src/io/index.js';
import { bytesOf } from '../../runtime/graph/dtype.js';
import { builtLibrary } from '../support/built.js';
import { zooSharedInputs } from '../../src/zoo/index.js';
import { goldenPath } from '../support/golden.js';
import { repeatShared } from '../support/sharing.js';

const MODELS = ['wnd', 'din', 'dlrm', 'bst'];
/** Models that are served with the inputs of the user shared, too. */
const SHARING = ['din', 'bst'];
const SHARED: Record<string, string[]> = Object.fromEntries(SHARING.map((name) => [name, zooSharedInputs(name)]));
const BATCHES = ['b1', 'b7', 'b64'];

let engine: Engine;
let server: FastifyInstance;
let url: string;

beforeAll(async () => {
  const braid = await builtLibrary();
  engine = await braid.openEngine();
  const repository = new braid.ModelRepository(engine);
  for (const name of MODELS) await repository.add(name, '1', { kind: 'file', path: goldenPath(`${name}.onnx`) });
  for (const name of SHARING) {
    const path = goldenPath(`${name}.onnx`);
    await repository.add(`${name}-shared`, '1', { kind: 'file', path }, { shared: SHARED[name]! });
  }
  server = braid.createServer(repository);
  await server.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(server.server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await server.close();
  await engine.close();
});

async function recorded(model: string, batch: string): Promise<{ inputs: [string, Tensor][]; expected: Float32Array }> {
  const all = await readTensors(goldenPath(`${model}.${batch}.safetensors`));
  const inputs = [...all]
    .filter(([n]) => n.startsWith('in.'))
    .map(([n, t]): [string, Tensor] => [n.slice(3), t])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return { inputs, expected: all.get('out.out')!.data as Float32Array };
}

function firstRow({ dtype, dims, data }: Tensor): Tensor {
  return { dtype, dims: [1, ...dims.slice(1)], data: data.slice(0, data.length / dims[0]!) };
}

function expectClose(found: ArrayLike<number>, expected: Float32Array): void {
  expect(found.length).toBe(expected.length);
  for (const [i, e] of expected.entries())
    expect(Math.abs(found[i]! - e)).toBeLessThanOrEqual(1e-5 + 1e-4 * Math.abs(e));
}

const jsonInput = ([name, t]: [string, Tensor]) => ({
  name,
  shape: t.dims,
  datatype: toOpenInferenceType(t.dtype),
  data: toFlatJson(t),
});

function infer(
  model: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string>,
): Promise<Response> {
  return fetch(`${url}/v2/models/${model}/infer`, { method: 'POST', body, headers });
}

function inferJson(model: string, inputs: unknown): Promise<Response> {
  return infer(model, JSON.stringify({ inputs }), { 'content-type': 'application/json' });
}

function binaryBody(inputs: [string, Tensor][]): { body: Buffer<ArrayBuffer>; headers: Record<string, string> } {
  const json = Buffer.from(
    JSON.stringify({
      inputs: inputs.map(([name, t]) => ({
        name,
        shape: t.dims,
        datatype: toOpenInferenceType(t.dtype),
        parameters: { binary_data_size: t.data.byteLength },
      })),
      outputs: [{ name: 'out', parameters: { binary_data: true } }],
    }),
  );
  const body = Buffer.concat([json, ...inputs.map(([, t]) => bytesOf(t.data))]);
  return {
    body,
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(json.length) },
  };
}

describe.each(MODELS)('%s over HTTP', (model) => {
  it.each(BATCHES)('answers JSON tensors, %s', async (batch) => {
    const { inputs, expected } = await recorded(model, batch);
    const response = await inferJson(model, inputs.map(jsonInput));
    expect(response.status).toBe(200);
    const { outputs } = (await response.json()) as { outputs: { name: string; data: number[] }[] };
    expectClose(outputs[0]!.data, expected);
  });

  it.each(BATCHES)('answers binary tensors, %s', async (batch) => {
    const { inputs, expected } = await recorded(model, batch);
    const { body, headers } = binaryBody(inputs);
    const response = await infer(model, body, headers);
    expect(response.status).toBe(200);
    const length = Number(response.headers.get('inference-header-content-length'));
    const bytes = new Uint8Array(await response.arrayBuffer());
    expectClose(new Float32Array(bytes.slice(length).buffer), expected);
  });
});

describe.each(SHARING)('%s with the inputs of the user shared', (model) => {
  it('shows them with one row', async () => {
    const response = await fetch(`${url}/v2/models/${model}-shared`);
    const { inputs } = (await response.json()) as { inputs: { name: string; shape: number[] }[] };
    for (const { name, shape } of inputs)
      expect([name, shape[0]]).toEqual([name, SHARED[model]!.includes(name) ? 1 : -1]);
  });

  it('answers one user and many candidates, in JSON and in binary', async () => {
    const { inputs } = await recorded(model, 'b7');
    const once = inputs.map(([name, t]): [string, Tensor] => [name, SHARED[model]!.includes(name) ? firstRow(t) : t]);
    const repeated = Object.entries(repeatShared(Object.fromEntries(once), SHARED[model]!, 7));
    const plain = await inferJson(model, repeated.map(jsonInput));
    const expected = Float32Array.from(((await plain.json()) as { outputs: { data: number[] }[] }).outputs[0]!.data);
    const json = await inferJson(`${model}-shared`, once.map(jsonInput));
    expect(json.status).toBe(200);
    expectClose(((await json.json()) as { outputs: { data: number[] }[] }).outputs[0]!.data, expected);
    const { body, headers } = binaryBody(once);
    const binary = await infer(`${model}-shared`, body, headers);
    const length = Number(binary.headers.get('inference-header-content-length'));
    expectClose(new Float32Array((await binary.arrayBuffer()).slice(length)), expected);
  });

  it('refuses a row for each candidate', async () => {
    const { inputs } = await recorded(model, 'b7');
    const response = await inferJson(`${model}-shared`, inputs.map(jsonInput));
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: string }).error).toMatch(
      /input '\w+': found shape \[7, \d+\], expected \[1, \d+\]: all rows of a query share this input/,
    );
  });
});

describe('bad data beside good', () => {
  it('refuses an id outside its table and answers the queries that share its wave', async () => {
    const { inputs, expected } = await recorded('dlrm', 'b7');
    const bad = structuredClone(inputs.map(jsonInput)) as { name: string; data: (number | string)[] }[];
    bad[1]!.data[26 * 3 + 5] = 300;
    const responses = await Promise.all(
      Array.from({ length: 9 }, (_, i) => inferJson('dlrm', i === 4 ? bad : inputs.map(jsonInput))),
    );
    expect(responses.map((r) => r.status)).toEqual([200, 200, 200, 200, 400, 200, 200, 200, 200]);
    const refused = (await responses[4]!.json()) as { error: string; code: string };
    expect(refused.code).toBe('INDEX_OUT_OF_RANGE');
    expect(refused.error).toMatch(/'sparse': row 3, position 5: found id 300, expected -300 to 299/);
    for (const response of responses.filter((r) => r.ok)) {
      expectClose(((await response.json()) as { outputs: { data: number[] }[] }).outputs[0]!.data, expected);
    }
  });

  it.each([
    ['a wrong name', (i: Record<string, unknown>[]) => (i[0]!['name'] = 'denze'), /'denze'/],
    ['a wrong type', (i: Record<string, unknown>[]) => (i[0]!['datatype'] = 'INT64'), /'dense'.*INT64.*FP32/],
    [
      'a wrong width',
      (i: Record<string, unknown>[]) => Object.assign(i[0]!, { shape: [1, 12], data: Array(12).fill(0) }),
      /'dense'.*\[1, 12\].*13/,
    ],
    ['a missing input', (i: unknown[]) => i.pop(), /'sparse'/],
    [
      'batches that differ',
      (i: Record<string, unknown>[]) => Object.assign(i[0]!, { shape: [2, 13], data: Array(26).fill(0) }),
      /'sparse'.*\[1, 26\].*batch = 2 from input 'dense'/,
    ],
  ])('refuses %s', async (_, spoil, message) => {
    const { inputs } = await recorded('dlrm', 'b1');
    const body = inputs.map(jsonInput) as Record<string, unknown>[];
    spoil(body);
    const response = await inferJson('dlrm', body);
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: string }).error).toMatch(message);
  });
});
