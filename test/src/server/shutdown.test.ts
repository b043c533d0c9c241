import { EventEmitter } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ModelRepository } from '../../../src/repository/repository.js';
import { createServer } from '../../../src/server/server.js';
import { drain, watchSignals } from '../../../src/server/shutdown.js';
import { FakeEngine, gate } from './fake.js';

const QUERY = JSON.stringify({
  inputs: [
    { name: 'dense', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] },
    { name: 'ids', datatype: 'INT64', shape: [1, 2], data: [4, 5] },
  ],
  outputs: [{ name: 'score' }],
});

let engine: FakeEngine;
let server: FastifyInstance;
let port: number;
let agent: Agent;

beforeEach(async () => {
  engine = new FakeEngine();
  const repository = new ModelRepository(engine);
  await repository.add('wnd', '1', { kind: 'zoo', model: 'wnd' });
  server = createServer(repository);
  await server.listen({ port: 0, host: '127.0.0.1' });
  port = (server.server.address() as AddressInfo).port;
  agent = new Agent({ keepAlive: true });
});

afterEach(async () => {
  agent.destroy();
  await server.close();
});

/** Over a connection that is kept alive, as load balancers keep theirs. */
function query(): Promise<{ status: number; connection: string | undefined }> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', path: '/v2/models/wnd/infer', method: 'POST', agent };
    const request = httpRequest({ ...options, headers: { 'content-type': 'application/json' } }, (response) => {
      response.resume();
      response.on('end', () => resolve({ status: response.statusCode!, connection: response.headers.connection }));
    });
    request.on('error', reject);
    request.end(QUERY);
  });
}

test('a slow query in flight is answered, then the server is closed', async () => {
  const { opened, open } = gate();
  const model = engine.models.get('wnd')!;
  model.hold = opened;
  const slow = query();
  await expect.poll(() => model.running).toBe(1);

  let closed = false;
  const draining = drain(server, 10_000).then((answered) => {
    closed = true;
    return answered;
  });
  await expect.poll(() => refused()).toBe(true);
  expect(closed).toBe(false);
  open();
  expect(await slow).toEqual({ status: 200, connection: 'close' });
  // Far below the keep-alive timeout: the connection did not hold the server up.
  expect(await draining).toBe(true);
});

test('idle connections do not hold up the close', async () => {
  expect(await query()).toEqual({ status: 200, connection: 'keep-alive' });
  const begin = Date.now();
  expect(await drain(server, 10_000)).toBe(true);
  expect(Date.now() - begin).toBeLessThan(2000);
});

test('a query that outlasts the timeout is cut', async () => {
  const { opened, open } = gate();
  const model = engine.models.get('wnd')!;
  model.hold = opened;
  const slow = query().catch((error: NodeJS.ErrnoException) => error.code);
  await expect.poll(() => model.running).toBe(1);
  expect(await drain(server, 50)).toBe(false);
  expect(await slow).toBe('ECONNRESET');
  open();
});

test('a request that was still arriving when closing began gets CLOSED', async () => {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString()));
  socket.write('GET /v2 HTTP/1.1\r\nHo');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const draining = drain(server, 10_000);
  await expect.poll(() => refused()).toBe(true);
  socket.write('st: x\r\n\r\n');
  expect(await draining).toBe(true);
  await expect.poll(() => text).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/);
  expect(text).toContain('"code":"CLOSED"');
});

test('the first signal resolves, the second ends the process with 130', async () => {
  const source = new EventEmitter();
  const exits: number[] = [];
  const { stopped, release } = watchSignals({ source, exit: (code) => exits.push(code) });
  let first = false;
  void stopped.then(() => {
    first = true;
  });
  await Promise.resolve();
  expect(first).toBe(false);
  source.emit('SIGTERM');
  await stopped;
  expect(exits).toEqual([]);
  source.emit('SIGINT');
  expect(exits).toEqual([130]);
  release();
  expect(source.listenerCount('SIGINT') + source.listenerCount('SIGTERM')).toBe(0);
});

function refused(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', () => resolve(true));
  });
}
