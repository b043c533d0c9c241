/**
 * ONNX Runtime as a system to measure. It is no dependency of Braid: its package is 290 MB, and its install script fetches
 * CUDA libraries from outside npm. What this file needs of its types stands here for the same reason.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TensorData } from '../../src/index.js';
import { writeZoo } from '../../src/zoo/index.js';
import type { Query } from '../common/queries.js';
import type { DeviceRecord } from '../common/records.js';
import type { LoadedModels, PreparedQuery, System } from '../common/systems.js';

const PACKAGE: string = 'onnxruntime-node';
const VERSION = '1.30.0';

export const providers = ['cpu', 'webgpu'] as const;

export type Provider = (typeof providers)[number];

type OrtTensor = object;

interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<unknown>;
  release(): Promise<void>;
}

interface Ort {
  readonly Tensor: new (type: string, data: TensorData, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(path: string, options: { executionProviders: string[]; logSeverityLevel: number }): Promise<OrtSession>;
  };
}

async function importOrt(): Promise<Ort> {
  try {
    return (await import(PACKAGE)) as Ort;
  } catch (error) {
    throw new Error(
      `${PACKAGE} is not installed; get it with\n` +
        `  ONNXRUNTIME_NODE_INSTALL=skip npm install --no-save ${PACKAGE}@${VERSION}`,
      { cause: error },
    );
  }
}

/** ONNX Runtime with one execution provider, on the zoo's own graphs as ONNX files. */
export class OnnxRuntimeSystem implements System {
  readonly name = 'onnxruntime';
  readonly variant: Provider;
  readonly device: DeviceRecord;
  readonly #ort: Ort;

  private constructor(ort: Ort, provider: Provider) {
    this.#ort = ort;
    this.variant = provider;
    const adapter = provider === 'cpu' ? (cpus()[0]?.model ?? 'CPU') : 'the adapter that ONNX Runtime chooses';
    this.device = { adapter, driver: '', origin: `${PACKAGE} ${VERSION}` };
  }

  static async open(provider: Provider): Promise<OnnxRuntimeSystem> {
    return new OnnxRuntimeSystem(await importOrt(), provider);
  }

  async load(models: readonly string[], scale: string): Promise<LoadedModels> {
    const folder = await mkdtemp(join(tmpdir(), 'braid-peers-'));
    const sessions = new Map<string, OrtSession>();
    try {
      for (const model of models) {
        const file = join(folder, `${model}.onnx`);
        await writeZoo(model, scale, file);
        const options = { executionProviders: [this.variant], logSeverityLevel: 3 };
        sessions.set(model, await this.#ort.InferenceSession.create(file, options));
      }
    } finally {
      await rm(folder, { recursive: true });
    }
    return {
      prepare: (query) => this.#prepare(sessions.get(query.model)!, query),
      release: async () => {
        for (const session of sessions.values()) await session.release();
      },
    };
  }

  #prepare(session: OrtSession, { rows, inputs }: Query): PreparedQuery {
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, { dtype, dims, data }]) => [name, new this.#ort.Tensor(dtype, data, dims)]),
    );
    return { rows, run: () => session.run(feeds).then(() => 'answered') };
  }

  async counters(): Promise<undefined> {
    // ONNX Runtime counts nothing that compares.
  }

  async close(): Promise<void> {
    // Sessions are all there is to release.
  }
}
