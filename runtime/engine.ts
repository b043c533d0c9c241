import type { Model, ModelSummary, RunOptions, TensorInput, TensorSpec } from './api.js';
import type { Backend, Executable } from './backends/backend.js';
import {
  bindSymbols,
  compile,
  concreteShape,
  printPlan,
  type CompileOptions,
  type Plan,
  type PlanValue,
} from './compile/plan.js';
import { BraidError } from './errors.js';
import { allocate, arrayName, holds, type TensorData } from './graph/dtype.js';
import type { Graph } from './graph/graph.js';
import { sizeOf, type Tensor } from './graph/tensor.js';
import { Scheduler, type Target } from './schedule/scheduler.js';

export interface GraphLoadOptions {
  readonly name?: string;
  readonly rows?: CompileOptions['rows'];
  readonly onProgress?: (stage: 'compile' | 'upload' | 'pipelines', done: number, total: number) => void;
}

/** A device and the models on it, in this thread. Knows nothing of files, HTTP or how the device was found. */
export class GraphEngine {
  readonly #backend: Backend;
  readonly #scheduler: Scheduler;
  readonly #models = new Set<GraphModel>();
  readonly #loading = new Set<Promise<Model>>();
  #closed = false;

  constructor(backend: Backend) {
    this.#backend = backend;
    this.#scheduler = new Scheduler(backend);
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
    const named = options.name === undefined ? graph : { ...graph, name: options.name };
    options.onProgress?.('compile', 0, 1);
    const plan = compile(named, {
      maxBindingBytes: this.#backend.maxBindingBytes,
      ...(options.rows === undefined ? {} : { rows: options.rows }),
    });
    options.onProgress?.('compile', 1, 1);
    const executable = await this.#backend.prepare(plan, options.onProgress);
    try {
      this.#checkOpen();
      await this.#warmUp(plan, executable);
      this.#checkOpen();
    } catch (error) {
      executable.release();
      throw error;
    }
    const model = new GraphModel(plan, executable, this.#scheduler, () => this.#models.delete(model));
    this.#models.add(model);
    return model;
  }

  /**
   * Drivers finish compiling a pipeline when it first runs; one row of zeros, which every table has, makes that part of
   * loading. A model with symbols besides the rows has no size to be warmed up at.
   */
  async #warmUp(plan: Plan, executable: Executable): Promise<void> {
    if (plan.otherSymbols.length > 0) return;
    const bindings = new Map(plan.rows === undefined ? [] : [[plan.rows, 1] as const]);
    const inputs = plan.inputs.map(({ dtype, shape }) => allocate(dtype, sizeOf(concreteShape(shape, bindings))));
    try {
      await this.#scheduler.run({ plan, executable }, bindings, inputs);
    } catch (error) {
      // Zeros may be bad data to a model; that is for its queries to find out.
      if (error instanceof BraidError && error.code === 'INDEX_OUT_OF_RANGE') return;
      throw error;
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
  readonly #executable: Executable;
  readonly #scheduler: Scheduler;
  /** One object for all runs: queries of the same target share waves. */
  readonly #target: Target;
  readonly #onDispose: () => void;
  readonly #running = new Set<Promise<unknown>>();
  #disposed: Promise<void> | undefined;

  constructor(plan: Plan, executable: Executable, scheduler: Scheduler, onDispose: () => void) {
    this.#plan = plan;
    this.#executable = executable;
    this.#target = { plan, executable };
    this.#scheduler = scheduler;
    this.#onDispose = onDispose;
    this.inputs = plan.inputs.map(specOf);
    this.outputs = plan.outputs.map(specOf);
  }

  get name(): string {
    return this.#plan.name;
  }

  get notices(): readonly string[] {
    return this.#plan.notices;
  }

  async run(inputs: Readonly<Record<string, TensorInput>>, options: RunOptions = {}): Promise<Record<string, Tensor>> {
    if (this.#disposed) throw new BraidError('CLOSED', `model '${this.name}' is closed`);
    const wanted = this.#wantedOutputs(options.outputs);
    const tensors = this.#checkInputs(inputs);
    const bindings = bindSymbols(
      this.#plan.inputs,
      tensors.map((t) => t.dims),
    );
    const shapes = this.#plan.outputs.map((o) => concreteShape(o.shape, bindings));
    const running = this.#scheduler.run(
      this.#target,
      bindings,
      tensors.map((t) => t.data),
    );
    this.#running.add(running);
    try {
      const outputs = await running;
      return Object.fromEntries(
        wanted.map((i) => {
          const { name, dtype } = this.#plan.outputs[i]!;
          return [name, { dtype, dims: shapes[i]!, data: outputs[i]! }];
        }),
      );
    } finally {
      this.#running.delete(running);
    }
  }

  #wantedOutputs(names: readonly string[] | undefined): number[] {
    const known = this.#plan.outputs.map((o) => o.name);
    return (names ?? known).map((name) => {
      const index = known.indexOf(name);
      if (index < 0)
        throw new BraidError('OUTPUT_UNKNOWN', `model '${this.name}' has no output '${name}'; it has ${list(known)}`);
      return index;
    });
  }

  #checkInputs(given: Readonly<Record<string, TensorInput>>): { dims: readonly number[]; data: TensorData }[] {
    const names = this.#plan.inputs.map((i) => i.name);
    const unknown = Object.keys(given).find((name) => !names.includes(name));
    if (unknown !== undefined)
      throw new BraidError('INPUT_UNKNOWN', `model '${this.name}' has no input '${unknown}'; it has ${list(names)}`);
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
    const most = this.#executable.rowsPerWave(new Map(plan.otherSymbols.map((s) => [s, 1])));
    return Promise.resolve({
      name: plan.name,
      inputs: this.inputs,
      outputs: this.outputs,
      operators: plan.operators,
      plan: printPlan(plan),
      dispatches: this.#executable.dispatches,
      foldedNodes: plan.foldedNodes,
      parameters: plan.parameters,
      memory: this.#executable.memory,
      ...(Number.isFinite(most) ? { rowsPerWave: most } : {}),
      ...(plan.rowAnalysis.parallel ? {} : { rowsMixedBy: plan.rowAnalysis.reason }),
      notices: plan.notices,
    });
  }

  dispose(): Promise<void> {
    this.#disposed ??= Promise.allSettled(this.#running).then(() => {
      this.#executable.release();
      this.#onDispose();
    });
    return this.#disposed;
  }
}

function list(names: readonly string[]): string {
  return names.map((n) => `'${n}'`).join(', ');
}
