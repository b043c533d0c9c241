import { waveBindings, type Plan } from '../../compile/plan.js';
import { deviceBytes, type Storage } from '../../compile/view.js';
import { evaluate, type Bindings } from '../../graph/dim.js';
import { alignUp, REGION_ALIGNMENT } from '../../memory/arena.js';
import { colorStorages } from '../../memory/colors.js';
import type {
  DispatchTime,
  Executable,
  ExecutableMemory,
  Part,
  PartOutcome,
  QueryResult,
  Timing,
  Wave,
  WaveOutcome,
} from '../backend.js';
import { clockBytes, type DeviceClock } from './clock.js';
import { Dispatches, type DispatchHost } from './dispatches.js';
import type { SideBySide } from './joins.js';
import { layoutWave, lifetimes, mostRows, type WaveLayout } from '../common/layout.js';
import type { Slot, SharedMemory } from './memory.js';
import type { PipelineCache } from './pipelines.js';
import { groupSteps, type DispatchGroup } from '../common/schedule.js';
import { ERROR_HEADER_BYTES, ERROR_RECORD_BYTES, WaveData, type Readback } from '../common/wave-data.js';
import { WeightBuffers } from './weights.js';
import type { DeviceCaps, MeasuredTiles } from '../../compile/kernel.js';

/** Before the inputs in staging memory: what goes to the head of the error buffer. */
const STAGING_HEADER_BYTES = REGION_ALIGNMENT;
/** Where a wave's inputs lie, as they are staged and as they are uploaded: close together, so that one copy takes them. */
interface InputPlaces {
  /** Of each of the program's inputs, in bytes from the first. */
  readonly offsets: readonly number[];
  readonly bytes: number;
}

/** Inputs begin on multiples of this, for kernels that read vectors. */
const INPUT_ALIGNMENT = 16;
/** Most rows a wave carries, whatever the memory. */
const MOST_ROWS = 65_536;

/** A wave with where its data goes. */
export interface PlacedWave {
  readonly wave: Wave;
  readonly layout: WaveLayout;
  readonly inputs: InputPlaces;
  readonly readback: Readback;
  /** Stretches of time that it measures. */
  readonly intervals: number;
  /** Of staging memory. */
  readonly stagedBytes: number;
}

/** What executables of one device share. */
export interface WebGpuContext {
  readonly device: GPUDevice;
  readonly caps: DeviceCaps;
  readonly pipelines: PipelineCache;
  readonly sideBySide: SideBySide;
  readonly tiles: MeasuredTiles | undefined;
  readonly memory: SharedMemory;
  readonly slots: readonly Slot[];
  /** Largest arena that a plan is laid out for. */
  readonly arenaBytes: number;
  /** The device's clock, where it has one. */
  readonly clock: DeviceClock | undefined;
  /** A number for the next wave, from 1; unique on the device until the error records are cleared. */
  nextEpoch(): number;
  submit(parts: readonly WebGpuPart[], onSubmitted?: (at: number) => void): Promise<readonly PartOutcome[]>;
}

/** A wave of a plan on this device. */
export interface WebGpuPart extends Part {
  readonly executable: WebGpuExecutable;
}

export class WebGpuExecutable implements Executable {
  readonly #context: WebGpuContext;
  readonly #plan: Plan;
  readonly #data: WaveData;
  readonly #dispatches: Dispatches;
  readonly #weights: WeightBuffers;
  readonly #colors: ReadonlyMap<Storage, number>;
  readonly #lives: ReadonlyMap<Storage, { first: number; last: number }>;
  readonly #layouts = new Map<string, WaveLayout>();

  private constructor(
    context: WebGpuContext,
    plan: Plan,
    weights: WeightBuffers,
    groups: readonly DispatchGroup[],
    colors: ReadonlyMap<Storage, number>,
    dispatches: Dispatches,
  ) {
    this.#context = context;
    this.#plan = plan;
    this.#data = new WaveData(plan);
    this.#weights = weights;
    this.#colors = colors;
    this.#dispatches = dispatches;
    this.#lives = lifetimes(plan, groups);
  }

  /** Memory for a plan whose layout is known before its first query. @throws BraidError OVERLOADED. */
  #reserveAhead(): void {
    const { otherSymbols, rows, rowAnalysis } = this.#plan;
    if (otherSymbols.length === 0 && (rows === undefined || rowAnalysis.parallel)) this.#reserve(new Map());
  }

  static async create(
    context: WebGpuContext,
    plan: Plan,
    onProgress: (stage: 'upload' | 'pipelines', done: number, total: number) => void,
  ): Promise<WebGpuExecutable> {
    const weights = new WeightBuffers(context.device, plan.program.weights, (done, total) =>
      onProgress('upload', done, total),
    );
    let executable: WebGpuExecutable | undefined;
    try {
      const colors = colorStorages(plan.program.steps);
      const bufferKey = (storage: Storage): string =>
        storage.kind === 'weight'
          ? `w${weights.place(storage).buffer}`
          : storage.kind === 'input'
            ? 'in'
            : `a${colors.get(storage)}`;
      const { device, pipelines, memory, sideBySide } = context;
      const tiles = context.tiles ? { tiles: context.tiles } : {};
      const host: DispatchHost = {
        device,
        pipelines,
        plan,
        sideBySide,
        bufferKey,
        buffer: (key) => {
          if (key === 'in') return memory.inputs;
          if (key === 'errors') return memory.errors;
          const buffers = key.startsWith('w') ? weights.buffers : memory.arenas;
          return buffers[Number(key.slice(1))]!;
        },
        generation: () => memory.generation,
      };
      const target = { ...context.caps, products: plan.products, ...tiles };
      const groups = groupSteps(plan.program.steps, (step) => step.webgpu(target), bufferKey);
      const dispatches = await Dispatches.create(host, groups, (done, total) => onProgress('pipelines', done, total));
      executable = new WebGpuExecutable(context, plan, weights, groups, colors, dispatches);
      executable.#reserveAhead();
      await dispatches.joinUpTo(MOST_ROWS);
      return executable;
    } catch (error) {
      if (executable) executable.release();
      else weights.destroy();
      throw error;
    }
  }

  readonly placement = 'webgpu';

  get name(): string {
    return this.#plan.name;
  }

  get dispatches(): number {
    return this.#dispatches.count;
  }

  get memory(): ExecutableMemory {
    return {
      weightBytes: this.#weights.bytes,
      arenaBytes: this.#context.memory.bytes,
      stagingBytes: this.#context.slots.reduce((n, s) => n + s.bytes, 0),
    };
  }

  rowsPerWave(bindings: Bindings): number {
    if (this.#plan.rows === undefined || !this.#plan.rowAnalysis.parallel) return Number.POSITIVE_INFINITY;
    return this.#reserve(bindings).rows;
  }

  /** The layout for these sizes, made on first use, and the memory it takes. Layouts of a parallel plan serve any rows. */
  #reserve(bindings: Bindings): WaveLayout {
    const { rows, rowAnalysis, otherSymbols } = this.#plan;
    const fixedRows = rows !== undefined && !rowAnalysis.parallel ? bindings.get(rows) : undefined;
    const key = [...otherSymbols.map((s) => bindings.get(s)), fixedRows].join(' ');
    const known = this.#layouts.get(key);
    if (known) return known;
    const layout = this.#layout(bindings, rows !== undefined && fixedRows === undefined);
    this.#takeMemory(layout);
    // A plan with many different sizes must not collect layouts for ever.
    if (this.#layouts.size >= 64) this.#layouts.clear();
    this.#layouts.set(key, layout);
    return layout;
  }

  /** Shared memory only grows, so that a layout takes what it needs once. @throws BraidError OVERLOADED. */
  #takeMemory(layout: WaveLayout): void {
    const { arenaBytes, inputBytes } = layout;
    const { rows: rowRecords, queries: queryRecords } = this.#data.records(layout.rows, layout.rows);
    const errorRecords = rowRecords + queryRecords;
    this.#context.memory.ensure({ arenas: arenaBytes, inputs: inputBytes, errorRecords });
    const readback =
      ERROR_HEADER_BYTES +
      ERROR_RECORD_BYTES * errorRecords +
      layout.outputBytes +
      REGION_ALIGNMENT +
      clockBytes(this.#dispatches.count);
    for (const slot of this.#context.slots) slot.reserve(STAGING_HEADER_BYTES + layout.inputBytes, readback);
  }

  #layout(bindings: Bindings, rowsAreFree: boolean): WaveLayout {
    const at = (sizes: Bindings): WaveLayout => layoutWave(this.#plan, this.#lives, this.#colors, sizes);
    if (!rowsAreFree) return at(bindings);
    // A wave has no more queries than rows: see PoolGroup.take.
    const withRows = (n: number): Bindings => waveBindings(this.#plan, bindings, n, n);
    const most = mostRows(MOST_ROWS, (n) => {
      const { arenaBytes, inputBytes, outputBytes } = at(withRows(n));
      return [...arenaBytes, inputBytes, outputBytes].every((bytes) => bytes <= this.#context.arenaBytes);
    });
    return at(withRows(most));
  }

  /** Where a storage lies in its buffer, in bytes. */
  #offset(layout: WaveLayout, inputs: InputPlaces, storage: Storage): number {
    if (storage.kind !== 'input') return layout.offsets.get(storage)!;
    return inputs.offsets[this.#plan.program.inputs.findIndex((input) => input.storage === storage)]!;
  }

  #bufferOf(storage: Storage): GPUBuffer {
    const { memory } = this.#context;
    if (storage.kind === 'weight') return this.#weights.buffers[this.#weights.place(storage).buffer]!;
    return storage.kind === 'input' ? memory.inputs : memory.arenas[this.#colors.get(storage)!]!;
  }

  /** Where a wave's data goes. @throws BraidError OVERLOADED where its sizes have no room. */
  place(wave: Wave, timing: Timing): PlacedWave {
    const layout = this.#reserve(wave.bindings);
    const inputs = this.#placeInputs(wave);
    const readback = this.#data.readback(wave);
    return {
      wave,
      layout,
      inputs,
      readback,
      intervals: this.#context.clock ? this.#dispatches.intervals(timing, wave.bindings) : 0,
      stagedBytes: STAGING_HEADER_BYTES + inputs.bytes,
    };
  }

  /** Writes what the device needs of a wave into staging memory from byte `at`. Returns the wave's epoch. */
  stage({ wave, inputs }: PlacedWave, staged: ArrayBuffer, at: number): number {
    const epoch = this.#context.nextEpoch();
    const from = inputs.offsets.map((offset) => at + STAGING_HEADER_BYTES + offset);
    this.#data.stage(wave, staged, epoch, from, at);
    return epoch;
  }

  /**
   * Makes parameters and bindings those of a wave. From here to the submission nothing may be awaited, and no other wave of
   * this plan prepared: both would have the parameters of the second.
   */
  prepare({ wave, layout, inputs }: PlacedWave): void {
    this.#dispatches.prepare(wave.bindings, layout, (storage) =>
      storage.kind === 'weight'
        ? this.#weights.place(storage).offset
        : this.#offset(layout, inputs, storage) / deviceBytes(storage.type),
    );
  }

  /**
   * Records a wave that was prepared: upload, dispatches, read-back. What is recorded holds for every wave of these sizes, as
   * long as shared memory does not grow.
   * @param stagedAt byte of the staging memory at which the wave was staged, `readAt` that its results go to.
   * @param interval the timestamps of the n-th stretch of time that the wave measures.
   * @returns the number of dispatches.
   */
  record(
    encoder: GPUCommandEncoder,
    { wave, layout, inputs, readback, intervals }: PlacedWave,
    { staging, readback: results }: Pick<Slot, 'staging' | 'readback'>,
    [stagedAt, readAt]: readonly [number, number],
    interval: (index: number) => GPUComputePassTimestampWrites,
  ): number {
    const { memory } = this.#context;
    encoder.copyBufferToBuffer(staging, stagedAt, memory.errors, 0, ERROR_HEADER_BYTES);
    if (inputs.bytes > 0)
      encoder.copyBufferToBuffer(staging, stagedAt + STAGING_HEADER_BYTES, memory.inputs, 0, inputs.bytes);
    const count = this.#dispatches.encode(encoder, wave.bindings, intervals, interval);
    encoder.copyBufferToBuffer(memory.errors, 0, results, readAt, this.#data.errorBytes(wave));
    for (const { view, bytes, at } of readback.places) {
      const { storage, offset } = view;
      const source =
        this.#offset(layout, inputs, storage) + evaluate(offset, wave.bindings) * deviceBytes(storage.type);
      encoder.copyBufferToBuffer(this.#bufferOf(storage), source, results, readAt + at, bytes);
    }
    return count;
  }

  /** The answers of a wave in what was read back from byte `at`. */
  results({ wave, readback }: PlacedWave, mapped: ArrayBuffer, at: number, epoch: number): readonly QueryResult[] {
    return this.#data.results(wave, mapped, readback.offsets, epoch, at);
  }

  /** What each dispatch had to do, beside the microseconds that it took. */
  times({ wave }: PlacedWave, us: readonly number[]): readonly DispatchTime[] {
    return this.#dispatches.times(us, wave.bindings);
  }

  async submit(wave: Wave, timing: Timing = 'none', onSubmitted?: (at: number) => void): Promise<WaveOutcome> {
    const [outcome] = await this.#context.submit([{ executable: this, wave, timing }], onSubmitted);
    if ('error' in outcome!) throw outcome.error;
    return outcome!;
  }

  #placeInputs(wave: Wave): InputPlaces {
    let bytes = 0;
    const offsets = this.#data.inputBytes(wave).map((size) => {
      const offset = bytes;
      bytes = alignUp(bytes + size, INPUT_ALIGNMENT);
      return offset;
    });
    return { offsets, bytes };
  }

  /** Called when the plan is released. */
  onRelease: () => void = () => {};

  release(): void {
    this.onRelease();
    this.#weights.destroy();
    this.#dispatches.destroy();
  }
}
