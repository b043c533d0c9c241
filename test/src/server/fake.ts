import { BraidError } from '../../../runtime/errors.js';
import { numberToHalf } from '../../../runtime/graph/dtype.js';
import { sizeOf, tensor, type Tensor } from '../../../runtime/graph/tensor.js';
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
  TensorSpec,
} from '../../../src/api.js';
import { SharedPool } from '../../../src/lending.js';

/** Ids of the fake model lie below this. */
export const TABLE_ROWS = 1000;

const TWO_INPUTS: readonly TensorSpec[] = [
  { name: 'dense', dtype: 'float32', shape: ['batch', 3] },
  { name: 'ids', dtype: 'int64', shape: ['batch', 2] },
];

const OUTPUTS: readonly TensorSpec[] = [
  { name: 'score', dtype: 'float32', shape: ['batch', 1] },
  { name: 'half', dtype: 'float16', shape: ['batch'] },
  { name: 'big', dtype: 'bool', shape: ['batch'] },
  { name: 'first', dtype: 'int64', shape: ['batch'] },
];

/**
 * A model that keeps the engine's contract: it checks shapes, agreement of rows and id ranges. Per row `score` and
 * `half` are the sum of dense and ids, `big` whether that is above 100, `first` the first id.
 */
export class FakeModel implements Model {
  readonly name: string;
  readonly inputs: readonly TensorSpec[] = TWO_INPUTS;
  readonly outputs: readonly TensorSpec[] = OUTPUTS;
  readonly notices: readonly string[];
  disposed = false;
  /** Inputs of the last run, to see which arrays arrived. */
  last: Readonly<Record<string, TensorInput>> = {};
  /** Runs wait for it. */
  hold: Promise<void> = Promise.resolve();
  running = 0;

  constructor(name: string, notices: readonly string[] = []) {
    this.name = name;
    this.notices = notices;
  }

  async run(inputs: Readonly<Record<string, TensorInput>>, options: RunOptions = {}): Promise<Record<string, Tensor>> {
    if (this.disposed) throw new BraidError('CLOSED', `model '${this.name}' was disposed`);
    this.last = inputs;
    const rows = this.#rows(inputs);
    this.running += 1;
    await this.hold;
    this.running -= 1;
    const dense = inputs.dense!.data as Float32Array;
    const ids = inputs.ids!.data as BigInt64Array;
    const sums = new Float32Array(rows);
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < 3; i++) sums[row]! += dense[row * 3 + i]!;
      for (let i = 0; i < 2; i++) {
        const id = ids[row * 2 + i]!;
        if (id < 0n || id >= TABLE_ROWS) {
          throw new BraidError(
            'INDEX_OUT_OF_RANGE',
            `input 'ids' row ${row} holds ${id}, expected 0 to ${TABLE_ROWS - 1}`,
          );
        }
        sums[row]! += Number(id);
      }
    }
    const all: Record<string, Tensor> = {
      score: tensor('float32', [rows, 1], sums),
      half: tensor('float16', [rows], Uint16Array.from(sums, numberToHalf)),
      big: tensor(
        'bool',
        [rows],
        Uint8Array.from(sums, (sum) => (sum > 100 ? 1 : 0)),
      ),
      first: tensor(
        'int64',
        [rows],
        BigInt64Array.from({ length: rows }, (_, row) => ids[row * 2]!),
      ),
    };
    const wanted = options.outputs ?? Object.keys(all);
    return Object.fromEntries(wanted.map((name) => [name, all[name]!]));
  }

  #rows(inputs: Readonly<Record<string, TensorInput>>): number {
    let rows: number | undefined;
    for (const { name, shape } of this.inputs) {
      const { dims, data } = inputs[name]!;
      if (data.length !== sizeOf(dims)) throw new BraidError('INPUT_SIZE', `input '${name}' is short`);
      if (dims.length !== shape.length || dims[1] !== shape[1] || (rows !== undefined && dims[0] !== rows)) {
        throw new BraidError(
          'INPUT_SHAPE',
          `input '${name}' has shape [${dims.join(', ')}], expected [${rows ?? 'batch'}, ${shape[1]}]`,
        );
      }
      rows = dims[0]!;
    }
    return rows!;
  }

  async summary(): Promise<ModelSummary> {
    return {
      name: this.name,
      inputs: this.inputs,
      outputs: this.outputs,
      operators: { Gather: 2, ReduceSum: 1 },
      plan: ['0 gather_sum ids -> emb (device)', '1 add dense, emb -> score (device)'],
      dispatches: 2,
      placement: 'fake',
      foldedNodes: 3,
      parameters: 12_345,
      precision: { float16: 0, int8: 0, storedBytes: 0, savedBytes: 0, products: 'float32' },
      memory: { weightBytes: 49_380, arenaBytes: 1 << 20, stagingBytes: 4096 },
      rowsPerWave: 4096,
      notices: ['float64 weights were narrowed to float32'],
    };
  }

  async dispose(): Promise<void> {
    this.disposed = true;
  }
}

/** A model of one input with one free dimension: `sum` of `x` per row. */
export class OneInputModel implements Model {
  readonly name: string;
  readonly inputs: readonly TensorSpec[] = [{ name: 'x', dtype: 'float16', shape: ['n', 2] }];
  readonly outputs: readonly TensorSpec[] = [{ name: 'y', dtype: 'float16', shape: ['n', 2] }];
  readonly notices: readonly string[] = [];

  constructor(name: string) {
    this.name = name;
  }

  async run(inputs: Readonly<Record<string, TensorInput>>): Promise<Record<string, Tensor>> {
    const { dims, data } = inputs.x!;
    return { y: tensor('float16', dims, data) };
  }

  summary(): Promise<ModelSummary> {
    return Promise.reject(new BraidError('INTERNAL', 'not used'));
  }

  async dispose(): Promise<void> {}
}

export const FAKE_DEVICE: DeviceInfo = {
  backend: 'webgpu',
  adapter: 'SwiftShader',
  vendor: 'google',
  driver: '5.0.0',
  software: true,
  origin: 'swiftshader (npm)',
  features: ['shader-f16'],
  limits: { maxBufferSize: 1 << 30 },
};

/** Loads fakes at once; a source whose path or name holds `broken` fails as an unreadable file would. */
export class FakeEngine implements Engine {
  readonly device = FAKE_DEVICE;
  readonly loads: { source: ModelSource; options: LoadOptions }[] = [];
  readonly models = new Map<string, FakeModel>();
  closed = false;
  readonly #pool = new SharedPool();
  /** Loads wait for it. */
  hold: Promise<void> = Promise.resolve();

  async load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
    this.loads.push({ source, options });
    await this.hold;
    const name = options.name ?? 'model';
    const where = source.kind === 'file' ? source.path : name;
    if (where.includes('broken')) throw new BraidError('MODEL_UNREADABLE', `${where} is not an ONNX file`);
    options.onProgress?.({ stage: 'compile', done: 1, total: 2 });
    if (where.includes('echo')) return new OneInputModel(name);
    const model = new FakeModel(name, options.precision ? ['weights stored in fewer bits'] : []);
    this.models.set(name, model);
    return model;
  }

  lend(bytes: number): LentMemory {
    return this.#pool.lend(bytes);
  }

  loadReport(): Promise<LoadReport> {
    return Promise.reject(new Error('a fake has no load'));
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

/** A promise and the function that resolves it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
