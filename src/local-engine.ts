import { GraphEngine } from '../runtime/index.js';
import { joinReports } from '../runtime/schedule/report.js';
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
import { openBackends, type DeviceChoice, type OpenedBackend } from './device/index.js';
import { loadFastest } from './fastest.js';
import { KnownPieces, SharedPool } from './lending.js';
import { readSource, sharedBySource } from './source.js';
import { TraceFile } from './trace.js';

export interface LocalEngineSettings extends DeviceChoice {
  readonly schedule?: ScheduleOptions;
  /** Path of a Chrome trace to write. */
  readonly trace?: string;
}

/** A device, with the models on it. */
interface Device {
  readonly opened: OpenedBackend;
  readonly engine: GraphEngine;
}

/** An engine in this thread. Waiting for the device takes turns of the event loop: a server wants openEngine's worker. */
export class LocalEngine implements Engine {
  readonly device: DeviceInfo;
  /** One, or with the backend `auto` all that are there. */
  readonly #devices: readonly Device[];
  readonly #trace: TraceFile | undefined;
  readonly #pool = new SharedPool();
  readonly #lent = new KnownPieces(this);

  private constructor(devices: readonly Device[], trace: TraceFile | undefined) {
    this.#devices = devices;
    this.#trace = trace;
    this.device = devices[0]!.opened.info;
  }

  static async open({ schedule, trace, ...choice }: LocalEngineSettings): Promise<LocalEngine> {
    const file = trace === undefined ? undefined : new TraceFile(trace);
    const options = { ...(schedule ? { schedule } : {}), ...(file ? { trace: file } : {}) };
    const backends = await openBackends(choice);
    const devices = backends.map((opened) => ({ opened, engine: new GraphEngine(opened.backend, options) }));
    return new LocalEngine(devices, file);
  }

  lend(bytes: number): LentMemory {
    const lent = this.#pool.lend(bytes);
    this.#lent.hear(this.#pool.takeNews());
    return lent;
  }

  /** See Backend.adopt. */
  adopt(memory: SharedArrayBuffer): void {
    for (const { opened } of this.#devices) opened.backend.adopt?.(memory);
  }

  disown(memory: SharedArrayBuffer): void {
    for (const { opened } of this.#devices) opened.backend.disown?.(memory);
  }

  async load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
    const { onProgress, ...settings } = options;
    const shared = settings.shared ?? sharedBySource(source);
    onProgress?.({ stage: 'read', done: 0, total: 1 });
    const graph = await readSource(source);
    onProgress?.({ stage: 'read', done: 1, total: 1 });
    const places = this.#devices.map(({ opened, engine }) => ({
      name: opened.info.backend,
      load: () =>
        engine.load(graph, {
          ...settings,
          ...(shared === undefined ? {} : { shared }),
          ...(onProgress ? { onProgress: (stage, done, total) => onProgress({ stage, done, total }) } : {}),
        }),
    }));
    return places.length === 1 ? places[0]!.load() : loadFastest(places);
  }

  loadReport(): Promise<LoadReport> {
    return Promise.resolve(joinReports(this.#devices.map(({ engine }) => engine.loadReport())));
  }

  async close(): Promise<void> {
    for (const { engine } of this.#devices) await engine.close();
    this.#trace?.close();
    for (const { opened } of this.#devices) opened.release();
  }
}
