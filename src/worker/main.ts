import { parentPort, workerData } from 'node:worker_threads';
import { toBraidError } from '../../runtime/errors.js';
import type { Model } from '../api.js';
import { LocalEngine } from '../local-engine.js';
import type { Answer, Reply, Request, WorkerSettings } from './protocol.js';
import { fromWire, toWire } from './tensors.js';

const port = parentPort!;
const models = new Map<number, Model>();
let nextModel = 0;

function say(reply: Reply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(reply, transfer);
}

async function handle(engine: LocalEngine, request: Request): Promise<{ value: Answer; transfer?: ArrayBuffer[] }> {
  switch (request.kind) {
    case 'load': {
      const model = await engine.load(request.source, {
        ...(request.name === undefined ? {} : { name: request.name }),
        ...(request.rows === undefined ? {} : { rows: request.rows }),
        ...(request.shared === undefined ? {} : { shared: request.shared }),
        ...(request.products === undefined ? {} : { products: request.products }),
        onProgress: (progress) => say({ kind: 'progress', id: request.id, progress }),
      });
      const key = nextModel++;
      models.set(key, model);
      const { name, inputs, outputs, notices } = model;
      return { value: { model: key, name, inputs, outputs, notices } };
    }
    case 'run': {
      const inputs = Object.fromEntries(request.inputs.map(([name, wire]) => [name, fromWire(wire)]));
      const results = await models.get(request.model)!.run(inputs, request.options);
      const value = Object.entries(results).map(([name, tensor]) => [name, toWire(tensor)] as const);
      // Two outputs never share memory, but a Set costs nothing and a duplicate would throw.
      return { value, transfer: [...new Set(value.map(([, wire]) => wire.buffer as ArrayBuffer))] };
    }
    case 'summary':
      return { value: await models.get(request.model)!.summary() };
    case 'loadReport':
      return { value: await engine.loadReport() };
    case 'dispose': {
      const model = models.get(request.model);
      models.delete(request.model);
      await model?.dispose();
      return { value: undefined };
    }
    case 'close':
      await engine.close();
      return { value: undefined };
    default:
      throw new Error(`unknown request ${JSON.stringify(request satisfies never)}`);
  }
}

async function start(): Promise<void> {
  const engine = await LocalEngine.open(workerData as WorkerSettings);
  port.on('message', (request: Request) => {
    handle(engine, request).then(
      ({ value, transfer }) => {
        say({ kind: 'answer', id: request.id, value }, transfer);
        if (request.kind === 'close') port.close();
      },
      (cause: unknown) => {
        const { code, message } = toBraidError(cause);
        say({ kind: 'error', id: request.id, code, message });
      },
    );
  });
  say({ kind: 'open', device: engine.device });
}

start().catch((cause: unknown) => {
  const { code, message } = toBraidError(cause);
  say({ kind: 'failed', code, message });
  port.close();
});
