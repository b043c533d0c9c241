import {
  measureAccuracy,
  precisionNotices,
  precisionSummary,
  takeSample,
  type Accuracy,
  type Sample,
} from './accuracy.js';
import type { Model, ModelSummary, PrecisionSummary, RunOptions, TensorInput, TensorSpec } from './api.js';
import type { Backend, Executable } from './backends/backend.js';
import {
  bindSymbols,
  compile,
  concreteShape,
  printPlan,
  waveBindings,
  type ModelSettings,
  type Plan,
  type PlanValue,
} from './compile/plan.js';
import type { Bindings } from './graph/dim.js';
import type { ProductPrecision } from './compile/kernel.js';
import { FULL_PRECISION } from './compile/precision.js';
import { BraidError, toBraidError } from './errors.js';
import { allocate, arrayName, holds, type TensorData } from './graph/dtype.js';
import type { Graph } from './graph/graph.js';
import { sizeOf, type Tensor } from './graph/tensor.js';
import { setOwn } from './record.js';
import { CostModel, GPU_RATES, SOFTWARE_RATES } from './schedule/cost.js';
import type { ScheduleOptions } from './schedule/policy.js';
import type { Target } from './schedule/query.js';
import type { LoadReport } from './schedule/report.js';
import { Scheduler } from './schedule/scheduler.js';
import type { TraceSink } from './schedule/trace.js';

export interface GraphEngineOptions {
  readonly schedule?: ScheduleOptions;
  /** Takes what the scheduler does. Dispatches then run one by one, which costs speed. */
  readonly trace?: TraceSink;
}

export interface GraphLoadOptions extends ModelSettings {
  readonly name?: string;
  readonly onProgress?: (stage: 'compile' | 'upload' | 'pipelines', done: number, total: number) => void;
}

/** Waves that calibrate a plan on a GPU; the first warms up. A few milliseconds in all. */
const CALIBRATION_ROWS = [1, 256, 2048, 256, 2048];

/** A device and the models on it, in this thread. Knows nothing of files, HTTP or how the device was found. */
export class GraphEngine {
  readonly #backend: Backend;
  readonly #scheduler: Scheduler;
  readonly #models = new Set<GraphModel>();
  readonly #loading = new Set<Promise<Model>>();
  #closed = false;

  constructor(backend: Backend, options: GraphEngineOptions = {}) {
    this.#backend = backend;
    this.#scheduler = new Scheduler(backend, options.schedule, options.trace);
  }

  /** What the load monitor knows. */
  loadReport(): LoadReport {
    return this.#scheduler.report();
  }

  /** Compiles a graph and makes it ready. @throws BraidError MODEL_UNSUPPORTED, MODEL_INVALID, OVERLOADED, CLOSED. */
  async load(graph: Graph, options: GraphLoadOptions = {}): Promise<Model> {
    const loading = this.#load(graph, options);
    this.#loading.add(loading);
    try {
      return await loading;
    } finally {
      this.#loading.delete(loading);
    }
  }

  async #load(graph: Graph, options: GraphLoadOptions): Promise<Model> {
    this.#checkOpen();
    const { name, onProgress, ...settings } = options;
    const named = name === undefined ? graph : { ...graph, name };
    const { maxBindingBytes, caps } = this.#backend;
    onProgress?.('compile', 0, 1);
    const { products, notices } = this.#productsFor(settings.products);
    const compiled = compile(named, { ...settings, products, maxBindingBytes, caps });
    const plan = { ...compiled, notices: [...compiled.notices, ...notices] };
    onProgress?.('compile', 1, 1);
    // Before the model's own memory is taken: both need not fit at once.
    const sample =
      plan.precision.isLossy || plan.products !== 'float32'
        ? await this.#sample(
            compile(named, { ...settings, maxBindingBytes, caps, precision: FULL_PRECISION, products: 'float32' }),
          )
        : undefined;
    const executable = await this.#backend.prepare(plan, onProgress);
    const rates = this.#backend.caps.software ? SOFTWARE_RATES : GPU_RATES;
    const target: Target = { plan, executable, cost: new CostModel(plan, executable.dispatches, rates) };
    let accuracy: Accuracy | undefined;
    try {
      this.#checkOpen();
      await this.#calibrate(target);
      this.#checkOpen();
      accuracy = sample && 'rows' in sample ? await measureAccuracy(sample, plan, executable) : undefined;
      this.#checkOpen();
    } catch (error) {
      executable.release();
      throw error;
    }
    const unknown = sample && 'reason' in sample ? sample.reason : undefined;
    const model = new GraphModel(target, this.#scheduler, precisionSummary(plan, accuracy, unknown), () => {
      this.#models.delete(model);
      this.#scheduler.targets.delete(target);
    });
    this.#models.add(model);
    this.#scheduler.targets.add(target);
    return model;
  }

  /** What a plan in float32 answers to random rows, or why that is not known. Its memory is free again after. */
  async #sample(plan: Plan): Promise<Sample | { readonly reason: string }> {
    let executable: Executable | undefined;
    try {
      executable = await this.#backend.prepare(plan);
      return await takeSample(plan, executable, this.#backend.caps.software ? 64 : 256);
    } catch (error) {
      const { code, message } = toBraidError(error);
      // Too large as float32 for the device, or ids that only its users know: no reason not to serve it.
      if (code === 'OVERLOADED' || code === 'MODEL_UNSUPPORTED' || code === 'INDEX_OUT_OF_RANGE')
        return { reason: message };
      throw error;
    } finally {
      executable?.release();
    }
  }

  /** Products that the device can do. */
  #productsFor(wanted: ProductPrecision = 'float32'): { products: ProductPrecision; notices: string[] } {
    const { multipliesHalves, tf32 } = this.#backend.caps;
    const can = { float32: true, float16: multipliesHalves || tf32 !== undefined, tf32: tf32 !== undefined };
    if (can[wanted]) return { products: wanted, notices: [] };
    const notice = `products of ${wanted} were asked for; this device has none, and computes them in float32`;
    return { products: 'float32', notices: [notice] };
  }

  /**
   * Drivers finish compiling a pipeline when it first runs; rows of zeros, which every table has, make that part of
   * loading and show the cost model what waves of few and of many rows take. A model with symbols besides the rows has
   * no size to be run at.
   */
  async #calibrate(target: Target): Promise<void> {
    const { plan, executable } = target;
    if (plan.otherSymbols.length > 0) return;
    const most = plan.concatenable ? executable.rowsPerWave(new Map()) : 1;
    const sizes = this.#backend.caps.software ? [1] : CALIBRATION_ROWS.map((rows) => Math.min(rows, most));
    for (const [i, rows] of sizes.entries()) {
      const bindings = waveBindings(plan, new Map(), rows, 1);
      const inputs = plan.inputs.map(({ dtype, shape }) => allocate(dtype, sizeOf(concreteShape(shape, bindings))));
      // The first wave pays for what is done once.
      await this.#scheduler.calibrate(target, bindings, { rows, firstRow: 0, inputs }, i > 0);
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new BraidError('CLOSED', 'the engine is closed');
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // A load under way sees that the engine is closed once the device has done its part.
    await Promise.allSettled(this.#loading);
    await Promise.all([...this.#models].map((m) => m.dispose()));
    this.#backend.close();
  }
}

function specOf({ name, dtype, shape }: PlanValue): TensorSpec {
  return { name, dtype, shape: shape.map((d) => (typeof d === 'number' ? d : String(d))) };
}

class GraphModel implements Model {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly #plan: Plan;
  readonly #target: Target;
  readonly #scheduler: Scheduler;
  readonly #onDispose: () => void;
  readonly #precision: PrecisionSummary;
  readonly notices: readonly string[];
  readonly #inputNames: readonly string[];
  readonly #allOutputs: readonly number[];
  /** Queries without an answer, and whom to tell when there are none. */
  #running = 0;
  #onIdle: (() => void) | undefined;
  #disposed: Promise<void> | undefined;

  constructor(target: Target, scheduler: Scheduler, precision: PrecisionSummary, onDispose: () => void) {
    this.#plan = target.plan;
    this.#target = target;
    this.#scheduler = scheduler;
    this.#precision = precision;
    this.notices = [...target.plan.notices, ...precisionNotices(precision)];
    this.#onDispose = onDispose;
    this.inputs = this.#plan.inputs.map(specOf);
    this.outputs = this.#plan.outputs.map(specOf);
    this.#inputNames = this.#plan.inputs.map((i) => i.name);
    this.#allOutputs = this.#plan.outputs.map((_, i) => i);
  }

  get name(): string {
    return this.#plan.name;
  }

  run(inputs: Readonly<Record<string, TensorInput>>, options: RunOptions = {}): Promise<Record<string, Tensor>> {
    return new Promise((resolve, reject) => {
      if (this.#disposed) throw new BraidError('CLOSED', `model '${this.name}' is closed`);
      const wanted = options.outputs ? this.#wantedOutputs(options.outputs) : this.#allOutputs;
      const tensors = this.#checkInputs(inputs);
      const bindings = bindSymbols(
        this.#plan.inputs,
        tensors.map((t) => t.dims),
      );
      const data = tensors.map((t) => t.data);
      this.#scheduler.begin(this.#target, bindings, data, options, (result) => {
        this.#running--;
        if ('error' in result) reject(result.error);
        else resolve(this.#answer(wanted, bindings, result.outputs));
        if (this.#running === 0) this.#onIdle?.();
      });
      this.#running++;
    });
  }

  #answer(wanted: readonly number[], bindings: Bindings, outputs: readonly TensorData[]): Record<string, Tensor> {
    const answer: Record<string, Tensor> = {};
    for (const i of wanted) {
      const { name, dtype, shape } = this.#plan.outputs[i]!;
      setOwn(answer, name, { dtype, dims: concreteShape(shape, bindings), data: outputs[i]! });
    }
    return answer;
  }

  #wantedOutputs(names: readonly string[]): number[] {
    const known = this.#plan.outputs.map((o) => o.name);
    return names.map((name) => {
      const index = known.indexOf(name);
      if (index < 0)
        throw new BraidError('OUTPUT_UNKNOWN', `model '${this.name}' has no output '${name}'; it has ${list(known)}`);
      return index;
    });
  }

  #checkInputs(given: Readonly<Record<string, TensorInput>>): { dims: readonly number[]; data: TensorData }[] {
    const names = this.#inputNames;
    for (const name of Object.keys(given)) {
      if (!names.includes(name))
        throw new BraidError('INPUT_UNKNOWN', `model '${this.name}' has no input '${name}'; it has ${list(names)}`);
    }
    return this.#plan.inputs.map(({ name, dtype }) => {
      if (!Object.hasOwn(given, name)) {
        throw new BraidError('INPUT_MISSING', `input '${name}' is missing; model '${this.name}' needs ${list(names)}`);
      }
      const value = given[name]!;
      if ('dtype' in value && value.dtype !== dtype)
        throw new BraidError('INPUT_TYPE', `input '${name}': found ${value.dtype}, expected ${dtype}`);
      if (!holds(dtype, value.data)) {
        const found =
          (value.data as { constructor?: { name: string } } | undefined)?.constructor?.name ?? String(value.data);
        throw new BraidError(
          'INPUT_TYPE',
          `input '${name}': found ${found}, expected ${arrayName(dtype)} for ${dtype}`,
        );
      }
      const expected = sizeOf(value.dims);
      if (value.data.length !== expected) {
        throw new BraidError(
          'INPUT_SIZE',
          `input '${name}': found ${value.data.length} elements, expected ${expected} for shape [${value.dims.join(', ')}]`,
        );
      }
      return value;
    });
  }

  summary(): Promise<ModelSummary> {
    const plan = this.#plan;
    const most = this.#target.executable.rowsPerWave(new Map(plan.otherSymbols.map((s) => [s, 1])));
    return Promise.resolve({
      name: plan.name,
      inputs: this.inputs,
      outputs: this.outputs,
      operators: plan.operators,
      plan: printPlan(plan),
      dispatches: this.#target.executable.dispatches,
      placement: this.#target.executable.placement,
      foldedNodes: plan.foldedNodes,
      parameters: plan.parameters,
      precision: this.#precision,
      memory: this.#target.executable.memory,
      ...(Number.isFinite(most) ? { rowsPerWave: most } : {}),
      ...(plan.rowAnalysis.parallel ? {} : { rowsMixedBy: plan.rowAnalysis.reason }),
      notices: this.notices,
    });
  }

  #whenIdle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#onIdle = resolve));
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#whenIdle().then(() => {
      this.#target.executable.release();
      this.#onDispose();
    });
    return this.#disposed;
  }
}

function list(names: readonly string[]): string {
  return names.map((n) => `'${n}'`).join(', ');
}
