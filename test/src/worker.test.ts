import { MessageChannel } from 'node:worker_threads';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BraidError, type Model, type Tensor, type TensorInput } from '../../src/index.js';
import type { MemoryAdopter } from '../../src/lending.js';
import type { LoadedModel, Request, WireAnswer } from '../../src/worker/protocol.js';
import { QueryClient } from '../../src/worker/queries.js';
import { QueryService } from '../../src/worker/service.js';
import { expectRejection } from '../support/errors.js';

/** y = x + 1 and z = `times` copies of x, after some turns of the event loop; a first element of -1 is refused. */
function modelOf(times: number, turns: () => number): Model {
  const run = async (inputs: Readonly<Record<string, TensorInput>>): Promise<Record<string, Tensor>> => {
    const { data, dims } = inputs['x']!;
    const x = data as Float32Array;
    for (let t = turns(); t > 0; t--) await new Promise((resolve) => setImmediate(resolve));
    if (x[0] === -1) throw new BraidError('INDEX_OUT_OF_RANGE', 'a bad value');
    const z = Float32Array.from({ length: x.length * times }, (_, i) => x[i % x.length]!);
    return {
      y: { dtype: 'float32', dims, data: x.map((v) => v + 1) },
      z: { dtype: 'float32', dims: [times, ...dims], data: z },
    };
  };
  const spec = (name: string) => ({ name, dtype: 'float32' as const, shape: ['n'] });
  return { name: 'm', inputs: [spec('x')], outputs: [spec('y'), spec('z')], notices: [], run } as unknown as Model;
}

/** A client and a service at the two ends of a channel, as between threads. */
function connect(
  model: Model,
  adopter: MemoryAdopter = { adopt: () => {}, disown: () => {} },
): { client: QueryClient; loaded: LoadedModel; messages: Request[]; close(): void } {
  const { port1, port2 } = new MessageChannel();
  const service = new QueryService(new Map([[7, model]]), adopter, (answers, transfer) =>
    port2.postMessage(answers, transfer),
  );
  const messages: Request[] = [];
  port2.on('message', (request: Extract<Request, { kind: 'run' }>) => {
    messages.push(request);
    service.run(request);
  });
  const client = new QueryClient((request) => port1.postMessage(request, []));
  port1.on('message', (answers: readonly WireAnswer[]) => client.hear(answers));
  const { name, inputs, outputs, notices } = model;
  return { client, loaded: { model: 7, name, inputs, outputs, notices }, messages, close: () => port1.close() };
}

function tensor(values: Iterable<number>): Tensor {
  const data = Float32Array.from(values);
  return { dtype: 'float32', dims: [data.length], data };
}

describe('queries that cross to the thread of the engine', () => {
  it('are answered once, each from its own memory', async () => {
    const query = fc.record({
      length: fc.oneof(fc.nat(3), fc.nat(3000)),
      bad: fc.nat(4),
      shared: fc.boolean(),
      pause: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(query, { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(fc.nat(4)),
        async (queries, times, turns) => {
          const { client, loaded, messages, close } = connect(modelOf(times, () => turns.next().value!));
          const answers: Promise<void>[] = [];
          for (const [i, { length, bad, shared, pause }] of queries.entries()) {
            const values = Float32Array.from({ length }, (_, k) => (k === 0 && bad === 0 ? -1 : 1000 * i + k));
            const data = shared ? new Float32Array(new SharedArrayBuffer(4 * length)) : values.slice();
            data.set(values);
            const running = client.run(loaded, { x: { dtype: 'float32', dims: [length], data } }, {});
            // What was copied is the caller's again.
            if (!shared) data.fill(-5);
            answers.push(
              running.then(
                ({ y, z }) => {
                  expect(bad === 0 && length > 0).toBe(false);
                  expect(y!.data).toEqual(values.map((v) => v + 1));
                  expect(z!.dims).toEqual([times, length]);
                  expect(z!.data).toEqual(Float32Array.from({ length: times * length }, (_, k) => values[k % length]!));
                  expect(y!.data.buffer).toBeInstanceOf(ArrayBuffer);
                },
                (error: BraidError) => {
                  expect([bad, error.code]).toEqual([0, 'INDEX_OUT_OF_RANGE']);
                },
              ),
            );
            for (let p = 0; p < pause; p++) await new Promise((resolve) => setImmediate(resolve));
          }
          await Promise.all(answers);
          const ids = messages.flatMap((m) => ('queries' in m ? m.queries.map(([id]) => id) : []));
          expect(ids).toEqual(queries.map((_, i) => i));
          close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('share a message where they start together, and memory where they follow each other', async () => {
    const { client, loaded, messages, close } = connect(modelOf(1, () => 1));
    for (let round = 0; round < 3; round++)
      await Promise.all([1, 2, 3].map((v) => client.run(loaded, { x: tensor([v]) }, {})));
    const runs = messages as Extract<Request, { kind: 'run' }>[];
    expect(runs.map((m) => [m.queries.length, m.memory.length])).toEqual([
      [3, 3],
      [3, 0],
      [3, 0],
    ]);
    close();
  });

  it('cross as numbers where they lie in lent memory, which is adopted once and used again', async () => {
    const adopted: SharedArrayBuffer[] = [];
    const adopter = {
      adopt: (m: SharedArrayBuffer) => adopted.push(m),
      disown: (m: SharedArrayBuffer) => adopted.splice(adopted.indexOf(m), 1),
    };
    const { client, loaded, messages, close } = connect(
      modelOf(1, () => 1),
      adopter,
    );
    for (let round = 0; round < 3; round++) {
      const lent = client.lend(40_000);
      expect(lent.bytes.length).toBe(40_000);
      const data = new Float32Array(lent.bytes.buffer, lent.bytes.byteOffset, 10_000).fill(round);
      const { y, z } = await client.run(loaded, { x: { dims: [10_000], data } }, {});
      expect([y!.data[0], y!.data[9999], z!.data[5000]]).toEqual([round + 1, round + 1, round]);
      // Outputs never go where a caller's inputs are.
      expect(data.every((v) => v === round)).toBe(true);
      lent.release();
      lent.release();
    }
    const runs = messages as Extract<Request, { kind: 'run' }>[];
    expect(runs.map(({ memory, queries }) => [memory.length, queries[0]![3], queries[0]![4][0]![4]])).toEqual([
      [1, undefined, 0],
      [0, undefined, 0],
      [0, undefined, 0],
    ]);
    expect(adopted).toEqual([expect.any(SharedArrayBuffer)]);
    close();
  });

  it('are disowned where too much memory is idle', async () => {
    const adopted = new Set<SharedArrayBuffer>();
    const adopter = {
      adopt: (m: SharedArrayBuffer) => adopted.add(m),
      disown: (m: SharedArrayBuffer) => adopted.delete(m),
    };
    const { client, loaded, close } = connect(
      modelOf(1, () => 0),
      adopter,
    );
    const lent = [1, 2, 3].map(() => client.lend(2 ** 27));
    await client.run(loaded, { x: tensor([1]) }, {});
    expect(adopted.size).toBe(4);
    for (const memory of lent) memory.release();
    await client.run(loaded, { x: tensor([1]) }, {});
    // One of 128 MiB is kept, beside the small one.
    expect(adopted.size).toBe(2);
    close();
  });

  it('are refused alone where they cannot be cloned, or are no tensors', async () => {
    const { client, loaded, close } = connect(modelOf(1, () => 0));
    const x = tensor([1, 2]);
    const odd = { ...x, dims: (() => 2) as unknown as number[] };
    const [first, second, third] = await Promise.allSettled(
      [x, odd, x].map((input) => client.run(loaded, { x: input }, {})),
    );
    for (const answered of [first, third])
      expect(answered).toMatchObject({ value: { y: { data: Float32Array.of(2, 3) } } });
    expect(second).toMatchObject({ reason: { message: expect.stringMatching(/could not be cloned/) as string } });
    await expect(client.run(loaded, { x: undefined as unknown as Tensor }, {})).rejects.toThrow(TypeError);
    close();
  });

  it('are all answered where the thread is gone', async () => {
    const { client, loaded, close } = connect(modelOf(1, () => 1000));
    const runs = [1, 2].map((v) => client.run(loaded, { x: tensor([v]) }, {}));
    client.lose(new BraidError('CLOSED', 'gone'));
    for (const run of [...runs, client.run(loaded, { x: tensor([3]) }, {})])
      await expectRejection('CLOSED', /gone/, run);
    close();
  });
});
