import { GraphEngine } from '../runtime/index.js';
import type {
  DeviceInfo,
  Engine,
  LentMemory,
  LoadOptions,
  LoadReport,
  Model,
  ModelSource,
  ScheduleOptions,
} from './api.js';
import { openBackend, type DeviceChoice, type OpenedBackend } from './device/index.js';
import { SharedPool } from './lending.js';
import { readSource, sharedBySource } from './source.js';
import { TraceFile } from './trace.js';

export interface LocalEngineSettings extends DeviceChoice {
  readonly schedule?: ScheduleOptions;
  /** Path of a Chrome trace to write. */
  readonly trace?: string;
}

/** An engine in this thread. Waiting for the device takes turns of the event loop: a server wants openEngine's worker. */
export class LocalEngine implements Engine {
  readonly device: DeviceInfo;
  readonly #engine: GraphEngine;
  readonly #opened: OpenedBackend;
  readonly #trace: TraceFile | undefined;
  readonly #pool = new SharedPool();
  /** Lent memory by its number. */
  readonly #lent = new Map<number, SharedArrayBuffer>();

  private constructor(engine: GraphEngine, opened: OpenedBackend, trace: TraceFile | undefined) {
    this.#engine = engine;
    this.#trace = trace;
    this.#opened = opened;
    this.device = opened.info;
  }

  static async open({ schedule, trace, ...choice }: LocalEngineSettings): Promise<LocalEngine> {
    const file = trace === undefined ? undefined : new TraceFile(trace);
    const opened = await openBackend(choice);
    const options = { ...(schedule ? { schedule } : {}), ...(file ? { trace: file } : {}) };
    return new LocalEngine(new GraphEngine(opened.backend, options), opened, file);
  }

  lend(bytes: number): LentMemory {
    const lent = this.#pool.lend(bytes);
    const { memory, forget } = this.#pool.takeNews();
    for (const index of forget) {
      this.disown(this.#lent.get(index)!);
      this.#lent.delete(index);
    }
    for (const [index, buffer] of memory) {
      this.#lent.set(index, buffer);
      this.adopt(buffer);
    }
    return lent;
  }

  /** See Backend.adopt. */
  adopt(memory: SharedArrayBuffer): void {
    this.#opened.backend.adopt?.(memory);
  }

  disown(memory: SharedArrayBuffer): void {
    this.#opened.backend.disown?.(memory);
  }

  async load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
    const { onProgress, ...settings } = options;
    const shared = settings.shared ?? sharedBySource(source);
    onProgress?.({ stage: 'read', done: 0, total: 1 });
    const graph = await readSource(source);
    onProgress?.({ stage: 'read', done: 1, total: 1 });
    return this.#engine.load(graph, {
      ...settings,
      ...(shared === undefined ? {} : { shared }),
      ...(onProgress ? { onProgress: (stage, done, total) => onProgress({ stage, done, total }) } : {}),
    });
  }

  loadReport(): Promise<LoadReport> {
    return Promise.resolve(this.#engine.loadReport());
  }

  async close(): Promise<void> {
    await this.#engine.close();
    this.#trace?.close();
    this.#opened.release();
  }
}
