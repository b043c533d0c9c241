import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FastifyInstance } from 'fastify';
import type { Engine, Tensor } from '../../src/index.js';
import { readTensors, toFlatJson, toOpenInferenceType } from '../../src/io/index.js';
import { bytesOf } from '../../runtime/graph/dtype.js';
import { builtLibrary } from '../support/built.js';
import { goldenPath } from '../support/golden.js';

const MODELS = ['wnd', 'din', 'dlrm', 'bst'];
const BATCHES = ['b1', 'b7', 'b64'];

let engine: Engine;
let server: FastifyInstance;
let url: string;

beforeAll(async () => {
  const braid = await builtLibrary();
  engine = await braid.openEngine();
  const repository = new braid.ModelRepository(engine);
  for (const name of MODELS) await repository.add(name, '1', { kind: 'file', path: goldenPath(`${name}.onnx`) });
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
