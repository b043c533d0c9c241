import { SHARE_ENV, Worker } from 'node:worker_threads';
import { BraidError } from '../../runtime/errors.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import type {
  DeviceInfo,
  Engine,
  LentMemory,
  LoadOptions,
  LoadReport,
  Model,
  ModelSource,
  ModelSummary,
  RunOptions,
  TensorInput,
} from '../api.js';
import type { Answer, LoadedModel, Reply, Request, WorkerSettings } from './protocol.js';
import { QueryClient } from './queries.js';

/** Requests that are answered one by one. */
type WithoutId<T> = T extends { readonly id: number } ? Omit<T, 'id'> : never;

interface Waiting {
  resolve(value: Answer): void;
  reject(error: BraidError): void;
  readonly onProgress: LoadOptions['onProgress'] | undefined;
}

/** The engine in a thread of its own, so that Dawn's polling never delays whoever serves requests. */
export class WorkerEngine implements Engine {
  readonly device: DeviceInfo;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #queries: QueryClient;
  readonly #ended: Promise<void>;
  #nextId = 0;
  #gone: BraidError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(worker: Worker, device: DeviceInfo) {
    this.#worker = worker;
    this.device = device;
    this.#queries = new QueryClient((request) => worker.postMessage(request, []));
    worker.on('message', (reply: Reply) => this.#hear(reply));
    this.#ended = new Promise((resolve) => {
      worker.on('error', (error) =>
        this.#lose(new BraidError('DEVICE_LOST', `the engine's thread failed: ${error.message}`, { cause: error })),
      );
      worker.on('exit', () => {
        this.#lose(new BraidError('CLOSED', 'the engine is closed'));
        resolve();
      });
    });
  }

  /** @throws BraidError DEVICE_UNAVAILABLE. */
  static async open(settings: WorkerSettings): Promise<WorkerEngine> {
    // Finding a driver sets variables that the Vulkan loader reads from the process's own environment.
    const worker = new Worker(new URL('./main.js', import.meta.url), {
      workerData: settings,
      env: SHARE_ENV,
      name: 'braid engine',
    });
    const device = await new Promise<DeviceInfo>((resolve, reject) => {
      worker.once('message', (reply: Reply) => {
        if (reply.kind === 'open') resolve(reply.device);
        else if (reply.kind === 'failed') reject(new BraidError(reply.code, reply.message));
      });
      worker.once('error', (error) =>
        reject(new BraidError('INTERNAL', `the engine's thread does not start: ${error.message}`, { cause: error })),
      );
    });
    return new WorkerEngine(worker, device);
  }

  lend(bytes: number): LentMemory {
    return this.#queries.lend(bytes);
  }

  async load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
    if (source.kind === 'graph') {
      throw new BraidError(
        'REQUEST_INVALID',
        "a graph can be loaded where the engine runs in this thread: openEngine({ thread: 'main' })",
      );
    }
    const { onProgress, ...settings } = options;
    const own = source.kind === 'bytes' ? { ...source, bytes: source.bytes.slice() } : source;
    const loaded = await this.#ask<LoadedModel>(
      {
        kind: 'load',
        source: own,
        settings,
      },
      { onProgress, transfer: own.kind === 'bytes' ? [own.bytes.buffer] : [] },
    );
    return new RemoteModel(loaded, {
      run: (inputs, runOptions) => this.#queries.run(loaded, inputs, runOptions),
      summary: () => this.#ask<ModelSummary>({ kind: 'summary', model: loaded.model }),
      dispose: () => this.#ask<undefined>({ kind: 'dispose', model: loaded.model }),
    });
  }

  loadReport(): Promise<LoadReport> {
    return this.#ask<LoadReport>({ kind: 'loadReport' });
  }

  close(): Promise<void> {
    this.#closing ??= this.#gone ? this.#ended : this.#ask<undefined>({ kind: 'close' }).then(() => this.#ended);
    return this.#closing;
  }

  #ask<T extends Answer>(
    request: WithoutId<Request>,
    {
      onProgress,
      transfer = [],
    }: { onProgress?: LoadOptions['onProgress'] | undefined; transfer?: ArrayBuffer[] } = {},
  ): Promise<T> {
    if (this.#gone) return Promise.reject(this.#gone);
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as Waiting['resolve'], reject, onProgress });
      this.#worker.postMessage({ ...request, id }, transfer);
    });
  }

  #hear(reply: Reply): void {
    if (reply.kind === 'open' || reply.kind === 'failed') return;
    if (reply.kind === 'ran') {
      this.#queries.hear(reply.answers);
      return;
    }
    const waiting = this.#waiting.get(reply.id);
    if (!waiting) return;
    if (reply.kind === 'progress') {
      waiting.onProgress?.(reply.progress);
      return;
    }
    this.#waiting.delete(reply.id);
    if (reply.kind === 'answer') waiting.resolve(reply.value);
    else waiting.reject(new BraidError(reply.code, reply.message));
  }

  #lose(error: BraidError): void {
    this.#gone ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#gone);
    this.#waiting.clear();
    this.#queries.lose(this.#gone);
  }
}

interface RemoteCalls {
  run(inputs: Readonly<Record<string, TensorInput>>, options: RunOptions): Promise<Record<string, Tensor>>;
  summary(): Promise<ModelSummary>;
  dispose(): Promise<undefined>;
}

class RemoteModel implements Model {
  readonly name: string;
  readonly inputs: Model['inputs'];
  readonly outputs: Model['outputs'];
  readonly notices: Model['notices'];
  readonly #calls: RemoteCalls;
  #disposed: Promise<void> | undefined;

  constructor({ name, inputs, outputs, notices }: LoadedModel, calls: RemoteCalls) {
    this.name = name;
    this.inputs = inputs;
    this.outputs = outputs;
    this.notices = notices;
    this.#calls = calls;
  }

  async run(inputs: Readonly<Record<string, TensorInput>>, options: RunOptions = {}): Promise<Record<string, Tensor>> {
    if (this.#disposed) throw new BraidError('CLOSED', `model '${this.name}' is closed`);
    return this.#calls.run(inputs, options);
  }

  summary(): Promise<ModelSummary> {
    return this.#calls.summary();
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#calls.dispose().then(() => {});
    return this.#disposed;
  }
}
