import { PARAMETER_WINDOW_BYTES, type WebGpuProgram } from '../../../shaders/program.js';
import { waveBindings, type Plan } from '../../compile/plan.js';
import type { Storage } from '../../compile/view.js';
import { evaluate, sum, type Bindings } from '../../graph/dim.js';
import type { DispatchTime, Timing } from '../backend.js';
import { joinedWidth, joinKey, joins, joinSets, type Candidate, type SideBySide } from './joins.js';
import type { WaveLayout } from '../common/layout.js';
import { ParameterBlocks } from '../common/parameters.js';
import type { Pipeline, PipelineCache } from './pipelines.js';
import type { DispatchGroup } from '../common/schedule.js';

/** Sizes that a plan remembers its dispatches for. */
const MOST_SIZES = 256;

/** So many rows that the workgroups of a dispatch are as many as its work. */
const MANY_ROWS = 2 ** 14;

/** What dispatches take from the executable they belong to. */
export interface DispatchHost {
  readonly device: GPUDevice;
  readonly pipelines: PipelineCache;
  readonly plan: Plan;
  /** Names the buffer that holds a storage. */
  bufferKey(storage: Storage): string;
  /** The buffer of that name now. */
  buffer(key: string): GPUBuffer;
  /** Changes when buffers have been replaced. */
  generation(): number;
  readonly sideBySide: SideBySide;
}

/** The storage that a dispatch binds behind its parameters. */
const ERRORS = 'errors';

/** A pipeline with what it binds: the windows of `groups`, then `buffers`. */
interface Bound {
  readonly pipeline: Pipeline;
  readonly groups: readonly number[];
  readonly buffers: readonly string[];
  readonly offsets: readonly number[];
  /** Slices in z. */
  readonly z: number;
  bindGroup?: GPUBindGroup;
}

/** A dispatch at given sizes. */
interface Call {
  readonly bound: Bound;
  /** Of each group that it runs: the program that was chosen. */
  readonly programs: readonly WebGpuProgram[];
  /** Workgroups in x. */
  readonly x: number;
}

function programsOf({ program, steps }: DispatchGroup): WebGpuProgram[] {
  return [program, ...(steps[0]!.dispatch.alternatives ?? []).map((a) => a.program)];
}

/** The dispatches of a plan: pipelines, parameters and bindings, made at load; and recording them at a wave's sizes. */
export class Dispatches {
  readonly #host: DispatchHost;
  readonly #groups: readonly DispatchGroup[];
  /** Of each group: its program's, then its alternatives'. */
  readonly #single: readonly (readonly Bound[])[];
  /** By joinKey. */
  readonly #joined = new Map<string, readonly Bound[]>();
  readonly #parameters: ParameterBlocks;
  readonly #parameterBuffer: GPUBuffer;
  readonly #calls = new Map<string, readonly Call[]>();
  /** Bindings of many rows, where rows are all that a plan does not know. */
  readonly #many: Bindings | undefined;
  #generation = -1;
  #parametersFor = '';

  private constructor(
    host: DispatchHost,
    groups: readonly DispatchGroup[],
    pipelines: readonly (readonly Pipeline[])[],
  ) {
    this.#host = host;
    this.#groups = groups;
    const { plan, device } = host;
    if (plan.otherSymbols.length === 0) this.#many = waveBindings(plan, new Map(), MANY_ROWS, MANY_ROWS);
    this.#parameters = new ParameterBlocks(
      groups,
      [plan.rows, plan.queries].filter((s) => s !== undefined),
    );
    this.#single = groups.map((group, i) =>
      pipelines[i]!.map((pipeline) => ({
        pipeline,
        groups: [i],
        buffers: this.#buffersOf(group),
        offsets: [this.#parameters.offsets[i]!],
        z: group.steps.length,
      })),
    );
    this.#parameterBuffer = device.createBuffer({
      label: `${plan.name} parameters`,
      size: this.#parameters.bytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
  }

  static async create(
    host: DispatchHost,
    groups: readonly DispatchGroup[],
    onProgress: (done: number, total: number) => void,
  ): Promise<Dispatches> {
    let done = 0;
    const pipelines = await Promise.all(
      groups.map(async (group) => {
        const { operands } = group.steps[0]!.step;
        const errors = group.program.reportsErrors ? (['read_write'] as const) : [];
        const storage = [...operands.map((o) => (o.access === 'read' ? 'read' : 'read_write')), ...errors] as const;
        const shape = { parameters: 1, storage };
        const made = await Promise.all(programsOf(group).map((program) => host.pipelines.get(program, shape)));
        onProgress(++done, groups.length);
        return made;
      }),
    );
    return new Dispatches(host, groups, pipelines);
  }

  #buffersOf({ program, steps }: DispatchGroup): string[] {
    const operands = steps[0]!.step.operands.map((o) => this.#host.bufferKey(o.view.storage));
    return program.reportsErrors ? [...operands, ERRORS] : operands;
  }

  /** Most dispatches of a wave. */
  get count(): number {
    return this.#groups.length;
  }

  /**
   * Compiles what kernels that may share a dispatch are joined to, at any number of rows up to `mostRows`. Programs change
   * with the rows in steps; powers of two find those that matter, and where a set was not found it runs one by one.
   */
  async joinUpTo(mostRows: number): Promise<void> {
    const { plan, device, pipelines, sideBySide } = this.#host;
    if (sideBySide === 'none' || plan.otherSymbols.length > 0) return;
    const sizes = plan.rows === undefined ? [1] : Array.from({ length: 1 + Math.log2(mostRows) }, (_, i) => 2 ** i);
    const sets = new Map<string, readonly Candidate[]>();
    for (const rows of sizes)
      for (const set of this.#joinSets(waveBindings(plan, new Map(), rows, rows))) sets.set(joinKey(set), set);
    const most = device.limits.maxStorageBuffersPerShaderStage;
    await Promise.all(
      [...sets].map(async ([key, set]) => {
        const shares = new Map(set.map(({ group, part }) => [group, part.shares ?? 1]));
        const made = joins(set, most).map(async ({ program, groups }): Promise<Bound> => {
          const shape = { parameters: groups.length, storage: program.storage.map(({ access }) => access) };
          return {
            pipeline: await pipelines.get(program, shape),
            groups,
            buffers: program.storage.map(({ buffer }) => this.#bufferNames[buffer]!),
            offsets: groups.map((g) => this.#parameters.offsets[g]!),
            z: groups.reduce((n, g) => n + this.#groups[g]!.steps.length * shares.get(g)!, 0),
          };
        });
        this.#joined.set(key, await Promise.all(made));
      }),
    );
    this.#calls.clear();
  }

  /** Names of buffers by number, as joined programs tell them apart. */
  readonly #bufferNames: string[] = [];

  #bufferNumber(name: string): number {
    const known = this.#bufferNames.indexOf(name);
    return known >= 0 ? known : this.#bufferNames.push(name) - 1;
  }

  /** The alternative that suits these sizes, or -1. Steps of a group are alike; what suits the first suits them all. */
  #choose(group: number, bindings: Bindings): number {
    return this.#groups[group]!.steps[0]!.dispatch.alternatives?.findIndex((a) => a.suits(bindings)) ?? -1;
  }

  #candidate(group: number, bindings: Bindings): Candidate {
    const found = this.#groups[group]!;
    const choice = this.#choose(group, bindings);
    const widest = (sizes: Bindings): number =>
      Math.max(...found.steps.map((s) => (s.dispatch.alternatives?.[choice] ?? s.dispatch).workgroups(sizes)));
    const many = this.#many ?? bindings;
    const buffers = this.#buffersOf(found).map((name) => this.#bufferNumber(name));
    const program = programsOf(found)[choice + 1]!;
    const { bound } = found.steps[0]!.step;
    const part = { program, slices: found.steps.length, buffers };
    return { group, choice, x: widest(bindings), width: widest(many), bound, part };
  }

  #stages(bindings: Bindings): Candidate[][] {
    const stages: Candidate[][] = [];
    this.#groups.forEach(({ stage }, group) => {
      const candidate = this.#candidate(group, bindings);
      if (group > 0 && this.#groups[group - 1]!.stage === stage) stages.at(-1)!.push(candidate);
      else stages.push([candidate]);
    });
    return stages;
  }

  #joinSets(bindings: Bindings): Candidate[][] {
    return this.#stages(bindings).flatMap((stage) => (stage.length > 1 ? joinSets(stage, this.#host.sideBySide) : []));
  }

  /** Pipelines and workgroups of every dispatch at these sizes; sizes repeat from wave to wave. */
  #callsFor(bindings: Bindings): readonly Call[] {
    const key = [...bindings.values()].join(' ');
    let calls = this.#calls.get(key);
    if (!calls) {
      calls = this.#stages(bindings).flatMap((stage) => this.#callsOf(stage));
      if (this.#calls.size >= MOST_SIZES) this.#calls.clear();
      this.#calls.set(key, calls);
    }
    return calls;
  }

  #callsOf(stage: readonly Candidate[]): Call[] {
    const calls: Call[] = [];
    let left = stage.filter(({ x }) => x > 0);
    const sets = this.#joined.size > 0 && left.length > 1 ? joinSets(left, this.#host.sideBySide) : [];
    for (const set of sets) {
      for (const bound of this.#joined.get(joinKey(set)) ?? []) {
        const parts = set.filter(({ group }) => bound.groups.includes(group));
        left = left.filter(({ group }) => !bound.groups.includes(group));
        calls.push({ bound, programs: parts.map(({ part }) => part.program), x: joinedWidth(parts) });
      }
    }
    for (const { group, choice, x, part } of left)
      calls.push({ bound: this.#single[group]![choice + 1]!, programs: [part.program], x });
    return calls;
  }

  /** Bindings follow the shared buffers: made at load, and again only after another plan made those grow. */
  #bind(): void {
    const generation = this.#host.generation();
    if (this.#generation === generation) return;
    this.#generation = generation;
    for (const bounds of this.#single) {
      // Alternatives take the same operands.
      const [first, ...others] = bounds;
      first!.bindGroup = this.#bindGroup(first!);
      for (const other of others) other.bindGroup = first!.bindGroup;
    }
    for (const bound of [...this.#joined.values()].flat()) bound.bindGroup = this.#bindGroup(bound);
  }

  /** Offsets are part of the binding, so that none has to be given at every dispatch. */
  #bindGroup({ pipeline, offsets, buffers }: Bound): GPUBindGroup {
    const windows = offsets.map((offset) => ({ buffer: this.#parameterBuffer, offset, size: PARAMETER_WINDOW_BYTES }));
    const storage = buffers.map((key) => ({ buffer: this.#host.buffer(key) }));
    return this.#host.device.createBindGroup({
      label: this.#host.plan.name,
      layout: pipeline.layout,
      entries: [...windows, ...storage].map((resource, binding) => ({ binding, resource })),
    });
  }

  /** Makes bindings and parameters fit these sizes. From here to the submission nothing may be awaited. */
  prepare(bindings: Bindings, layout: WaveLayout, baseOf: (storage: Storage) => number): void {
    this.#bind();
    const { plan, device } = this.#host;
    const key = [...bindings.values(), layout.rows, plan.rowAnalysis.parallel].join(' ');
    if (key === this.#parametersFor) return;
    this.#parametersFor = key;
    device.queue.writeBuffer(this.#parameterBuffer, 0, this.#parameters.words(bindings, layout, baseOf));
  }

  /** Stretches of time that are measured: none, the whole wave, or one a dispatch. */
  intervals(timing: Timing, bindings: Bindings): number {
    return timing === 'none' ? 0 : timing === 'wave' ? 1 : this.#callsFor(bindings).length;
  }

  /**
   * Records the dispatches: in one pass, or in a pass each where each is timed. Returns how many there are.
   * @param interval the timestamps of the n-th of `intervals`.
   */
  encode(
    encoder: GPUCommandEncoder,
    bindings: Bindings,
    intervals: number,
    interval: (index: number) => GPUComputePassTimestampWrites,
  ): number {
    const calls = this.#callsFor(bindings);
    const timed = (i: number): GPUComputePassDescriptor => ({ timestampWrites: interval(i) });
    if (intervals <= 1) {
      const pass = encoder.beginComputePass(intervals === 0 ? undefined : timed(0));
      for (const call of calls) dispatch(pass, call);
      pass.end();
      return calls.length;
    }
    calls.forEach((call, i) => {
      const pass = encoder.beginComputePass(i < intervals ? timed(i) : undefined);
      dispatch(pass, call);
      pass.end();
    });
    return calls.length;
  }

  /** What each dispatch had to do, beside the microseconds that it took. */
  times(us: readonly number[], bindings: Bindings): DispatchTime[] {
    const calls = this.#callsFor(bindings);
    return us.map((durationUs, i): DispatchTime => {
      const { bound, programs } = calls[i]!;
      const steps = bound.groups.flatMap((g) => this.#groups[g]!.steps.map(({ step }) => step));
      return {
        program: programs.map((p) => p.key).join(' | '),
        steps: steps.length,
        detail: bound.groups.map((g) => this.#groups[g]!.steps[0]!.step.detail).join(' | '),
        bound: steps[0]!.bound,
        operations: evaluate(sum(steps.map((s) => s.cost.operations)), bindings),
        bytes: evaluate(sum(steps.map((s) => s.cost.bytes)), bindings),
        durationUs,
      };
    });
  }

  destroy(): void {
    this.#parameterBuffer.destroy();
  }
}

function dispatch(pass: GPUComputePassEncoder, { bound, x }: Call): void {
  pass.setPipeline(bound.pipeline.pipeline);
  pass.setBindGroup(0, bound.bindGroup!);
  pass.dispatchWorkgroups(x, 1, bound.z);
}
