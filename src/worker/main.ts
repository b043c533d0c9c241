import { parentPort, workerData } from 'node:worker_threads';
import { toBraidError } from '../../runtime/errors.js';
import type { Model } from '../api.js';
import { LocalEngine } from '../local-engine.js';
import type { Answer, Reply, Request, WorkerSettings } from './protocol.js';
import { QueryService } from './service.js';

const port = parentPort!;
const models = new Map<number, Model>();
let nextModel = 0;

function say(reply: Reply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(reply, transfer);
}

async function handle(engine: LocalEngine, request: Exclude<Request, { kind: 'run' }>): Promise<Answer> {
  switch (request.kind) {
    case 'load': {
      const model = await engine.load(request.source, {
        ...request.settings,
        onProgress: (progress) => say({ kind: 'progress', id: request.id, progress }),
      });
      const key = nextModel++;
      models.set(key, model);
      const { name, inputs, outputs, notices } = model;
      return { model: key, name, inputs, outputs, notices };
    }
    case 'summary':
      return models.get(request.model)!.summary();
    case 'loadReport':
      return engine.loadReport();
    case 'dispose': {
      const model = models.get(request.model);
      models.delete(request.model);
      await model?.dispose();
      return undefined;
    }
    case 'close':
      await engine.close();
      return undefined;
    default:
      throw new Error(`unknown request ${JSON.stringify(request satisfies never)}`);
  }
}

async function start(): Promise<void> {
  const engine = await LocalEngine.open(workerData as WorkerSettings);
  const service = new QueryService(models, engine, (answers, transfer) => say({ kind: 'ran', answers }, transfer));
  port.on('message', (request: Request) => {
    if (request.kind === 'run') {
      service.run(request);
      return;
    }
    handle(engine, request).then(
      (value) => {
        say({ kind: 'answer', id: request.id, value });
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
