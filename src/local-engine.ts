import { GraphEngine, WebGpuBackend } from '../runtime/index.js';
import type { DeviceInfo, Engine, LoadOptions, LoadReport, Model, ModelSource, ScheduleOptions } from './api.js';
import {
  openDevice,
  pacePolling,
  POLL_MS,
  requireAdapter,
  type AdapterChoice,
  type FoundAdapter,
} from './device/index.js';
import { readSource, sharedBySource } from './source.js';
import { TraceFile } from './trace.js';
import { readTiles } from './tuning/files.js';

export interface LocalEngineSettings {
  readonly adapter: AdapterChoice;
  readonly schedule?: ScheduleOptions;
  /** Path of a Chrome trace to write. */
  readonly trace?: string;
}

/** An engine in this thread. Waiting for the device takes turns of the event loop: a server wants openEngine's worker. */
export class LocalEngine implements Engine {
  readonly device: DeviceInfo;
  readonly #engine: GraphEngine;
  readonly #found: FoundAdapter;
  readonly #stopPacing: () => void;
  readonly #trace: TraceFile | undefined;

  private constructor(engine: GraphEngine, found: FoundAdapter, stopPacing: () => void, trace: TraceFile | undefined) {
    this.#engine = engine;
    this.#stopPacing = stopPacing;
    this.#trace = trace;
    this.#found = found;
    this.device = found.info;
  }

  static async open({ adapter, schedule, trace }: LocalEngineSettings): Promise<LocalEngine> {
    const file = trace === undefined ? undefined : new TraceFile(trace);
    const found = await requireAdapter(adapter);
    const device = await openDevice(found.adapter);
    const options = { ...(schedule ? { schedule } : {}), ...(file ? { trace: file } : {}) };
    const stopPacing = pacePolling(found.info.software ? POLL_MS.software : POLL_MS.hardware);
    const tiles = await readTiles(found.info, device.limits);
    const backend = new WebGpuBackend(device, { adapterInfo: found.adapter.info, ...(tiles ? { tiles } : {}) });
    return new LocalEngine(new GraphEngine(backend, options), found, stopPacing, file);
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
    this.#stopPacing();
    this.#trace?.close();
    this.#found.release();
  }
}
