import { BraidError, toBraidError } from '../../runtime/errors.js';
import type { Engine, LentMemory, LoadOptions, Model, ModelSource } from '../api.js';

export type ModelState = 'loading' | 'ready' | 'failed';

/** One version of one model, as the repository sees it now. */
export interface ModelStatus {
  readonly name: string;
  readonly version: string;
  readonly state: ModelState;
  /** Why loading failed; set where `state` is `failed`. */
  readonly reason?: string;
}

/** How a version is loaded; it is named by the repository. */
export type AddOptions = Omit<LoadOptions, 'name'>;

type Entry =
  | { readonly state: 'loading' }
  | { readonly state: 'ready'; readonly model: Model }
  | { readonly state: 'failed'; readonly error: BraidError };

/** Version names: positive whole numbers without leading zeros, as Triton's version folders. */
export function isVersion(text: string): boolean {
  return /^[1-9]\d{0,14}$/.test(text);
}

/**
 * The models a server answers for, by name and version. Every version has one state; a version that fails to load stays
 * listed with its reason while the others serve. The repository owns the models it loaded, not the engine it was given.
 */
export class ModelRepository {
  readonly #engine: Engine;
  readonly #models = new Map<string, Map<string, Entry>>();
  /** Loads run one after another: they compete for the same device, memory and cores. */
  #lastLoad: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Memory of the engine's for inputs; see Engine.lend. */
  lend(bytes: number): LentMemory {
    return this.#engine.lend(bytes);
  }

  /**
   * Registers a version and queues its load. It is listed as `loading` when this returns.
   * @returns a promise that settles with the outcome; a failed load resolves too, with state `failed`.
   * @throws BraidError REQUEST_INVALID where the version is no positive whole number or is registered already.
   */
  add(name: string, version: string, source: ModelSource, options: AddOptions = {}): Promise<ModelStatus> {
    this.#register(name, version, { state: 'loading' });
    const load = this.#lastLoad.then(async () => {
      this.#replace(name, version, await this.#load(name, source, options));
      return this.status(name, version);
    });
    this.#lastLoad = load;
    return load;
  }

  /** Registers a version that cannot even be tried, so that it is listed with its reason. */
  addFailed(name: string, version: string, error: BraidError): ModelStatus {
    this.#register(name, version, { state: 'failed', error });
    return this.status(name, version);
  }

  /**
   * The loaded model.
   * @param version default: the highest version registered.
   * @throws BraidError MODEL_NOT_FOUND that names the models (or versions) there are; MODEL_NOT_READY with the reason;
   *   CLOSED.
   */
  get(name: string, version?: string): Model {
    if (this.#closing) throw closedError(name);
    const [found, entry] = this.#find(name, version);
    switch (entry.state) {
      case 'ready':
        return entry.model;
      case 'loading':
        throw new BraidError('MODEL_NOT_READY', `model '${name}' version ${found} is still loading`);
      case 'failed':
        throw new BraidError(
          'MODEL_NOT_READY',
          `model '${name}' version ${found} failed to load: ${entry.error.message}${this.#readyVersions(name)}`,
          { cause: entry.error },
        );
    }
  }

  /** The state of a version (default: the highest). @throws BraidError MODEL_NOT_FOUND as `get` does. */
  status(name: string, version?: string): ModelStatus {
    const [found, entry] = this.#find(name, version);
    const status = { name, version: found, state: entry.state };
    return entry.state === 'failed' ? { ...status, reason: entry.error.message } : status;
  }

  /** The versions of a model from low to high. @throws BraidError MODEL_NOT_FOUND as `get` does. */
  versions(name: string): string[] {
    const versions = this.#models.get(name);
    if (!versions) throw this.#unknownModel(name);
    return sortVersions(versions.keys());
  }

  /** Every version of every model, by name, then from low to high. */
  list(): ModelStatus[] {
    return [...this.#models.keys()]
      .sort()
      .flatMap((name) => this.versions(name).map((version) => this.status(name, version)));
  }

  /** Lets the load that runs end, drops those queued, and frees every model. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // `#load` sees #closing once this method has first yielded, so what is queued fails fast with CLOSED.
    await this.#lastLoad;
    const entries = [...this.#models.values()].flatMap((versions) => Array.from(versions.values()));
    await Promise.all(entries.map((entry) => (entry.state === 'ready' ? entry.model.dispose() : undefined)));
  }

  async #load(name: string, source: ModelSource, options: AddOptions): Promise<Entry> {
    if (this.#closing) return { state: 'failed', error: closedError(name) };
    try {
      return { state: 'ready', model: await this.#engine.load(source, { name, ...options }) };
    } catch (error) {
      return { state: 'failed', error: toBraidError(error) };
    }
  }

  #register(name: string, version: string, entry: Entry): void {
    if (this.#closing) throw closedError(name);
    if (!isVersion(version)) {
      throw new BraidError(
        'REQUEST_INVALID',
        `version '${version}' of model '${name}' is not a positive whole number such as '1'`,
      );
    }
    const versions = this.#models.get(name) ?? new Map<string, Entry>();
    if (versions.has(version)) {
      throw new BraidError('REQUEST_INVALID', `model '${name}' version ${version} is registered already`);
    }
    this.#models.set(name, versions.set(version, entry));
  }

  #replace(name: string, version: string, entry: Entry): void {
    this.#models.get(name)?.set(version, entry);
  }

  #find(name: string, version: string | undefined): [version: string, entry: Entry] {
    const versions = this.#models.get(name);
    if (!versions) throw this.#unknownModel(name);
    const wanted = version ?? sortVersions(versions.keys()).at(-1)!;
    const entry = versions.get(wanted);
    if (!entry) {
      throw new BraidError(
        'MODEL_NOT_FOUND',
        `model '${name}' has no version '${wanted}', it has ${sortVersions(versions.keys()).join(', ')}`,
      );
    }
    return [wanted, entry];
  }

  #unknownModel(name: string): BraidError {
    const names = [...this.#models.keys()].sort().map((n) => `'${n}'`);
    const known = names.length === 0 ? 'no model is registered' : `the models are ${names.join(', ')}`;
    return new BraidError('MODEL_NOT_FOUND', `no model '${name}': ${known}`);
  }

  /** Names the versions that do serve, for the message of one that does not. */
  #readyVersions(name: string): string {
    const ready = this.versions(name).filter((v) => this.#models.get(name)?.get(v)?.state === 'ready');
    return ready.length === 0 ? '' : ` (ready: version ${ready.join(', ')})`;
  }
}

function sortVersions(versions: Iterable<string>): string[] {
  return [...versions].sort((a, b) => Number(a) - Number(b));
}

function closedError(name: string): BraidError {
  return new BraidError('CLOSED', `model '${name}': the model repository was closed`);
}
