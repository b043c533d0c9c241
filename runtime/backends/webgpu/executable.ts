import { waveBindings, type Plan } from '../../compile/plan.js';
import { deviceBytes, type Storage } from '../../compile/view.js';
import { BraidError } from '../../errors.js';
import { evaluate, type Bindings } from '../../graph/dim.js';
import { alignUp, REGION_ALIGNMENT } from '../../memory/arena.js';
import { colorStorages } from '../../memory/colors.js';
import type { Executable, ExecutableMemory, Timing, Wave, WaveOutcome } from '../backend.js';
import { clockBytes, readIntervals, type DeviceClock } from './clock.js';
import { Dispatches, type DispatchHost } from './dispatches.js';
import type { SideBySide } from './joins.js';
import { layoutWave, lifetimes, mostRows, type WaveLayout } from '../common/layout.js';
import type { Slot, SharedMemory } from './memory.js';
import type { PipelineCache } from './pipelines.js';
import { groupSteps, type DispatchGroup } from '../common/schedule.js';
import { ERROR_HEADER_BYTES, ERROR_RECORD_BYTES, WaveData, type ReadbackPlace } from '../common/wave-data.js';
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
  /** @throws BraidError DEVICE_LOST once the device failed. */
  checkDevice(): void;
  /** A number for the next wave, from 1; unique on the device until the error records are cleared. */
  nextEpoch(): number;
  /** The device's clock, where it has one. */
  readonly clock: DeviceClock | undefined;
  /** Resolves when one is free. */
  acquireSlot(): Promise<Slot>;
  releaseSlot(slot: Slot): void;
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

  /**
   * Stages a wave and records its upload. Nothing is awaited from here to the submission: parameters, bindings and
   * commands of one wave stay together.
   */
  #begin(
    wave: Wave,
    slot: Slot,
    layout: WaveLayout,
    staged: ArrayBuffer,
    inputs: InputPlaces,
  ): { encoder: GPUCommandEncoder; epoch: number } {
    const epoch = this.#context.nextEpoch();
    const from = inputs.offsets.map((offset) => STAGING_HEADER_BYTES + offset);
    this.#data.stage(wave, staged, epoch, from);
    slot.staging.unmap();
    this.#dispatches.prepare(wave.bindings, layout, (storage) =>
      storage.kind === 'weight'
        ? this.#weights.place(storage).offset
        : this.#offset(layout, inputs, storage) / deviceBytes(storage.type),
    );
    const encoder = this.#context.device.createCommandEncoder();
    const { memory } = this.#context;
    encoder.copyBufferToBuffer(slot.staging, 0, memory.errors, 0, ERROR_HEADER_BYTES);
    if (inputs.bytes > 0)
      encoder.copyBufferToBuffer(slot.staging, STAGING_HEADER_BYTES, memory.inputs, 0, inputs.bytes);
    return { encoder, epoch };
  }

  async submit(
    wave: Wave,
    timing: Timing = 'none',
    onSubmitted: (at: number) => void = () => {},
  ): Promise<WaveOutcome> {
    const { device, clock } = this.#context;
    const layout = this.#reserve(wave.bindings);
    const slot = await this.#context.acquireSlot();
    try {
      const inputs = this.#placeInputs(wave);
      const staged = await slot.map(STAGING_HEADER_BYTES + inputs.bytes);
      const begunAt = performance.now();
      const { encoder, epoch } = this.#begin(wave, slot, layout, staged, inputs);
      const intervals = clock ? Math.min(clock.intervals, this.#dispatches.intervals(timing, wave.bindings)) : 0;
      const dispatchCount = this.#dispatches.encode(encoder, wave.bindings, intervals, (i) => clock!.interval(i));
      const readback = this.#data.readback(wave);
      encoder.copyBufferToBuffer(this.#context.memory.errors, 0, slot.readback, 0, this.#data.errorBytes(wave));
      this.#copyOutputs(encoder, slot, layout, inputs, wave.bindings, readback.places);
      const end = readback.end + clockBytes(intervals);
      if (intervals > 0) clock!.read(encoder, intervals, slot.readback, readback.end);
      device.queue.submit([encoder.finish()]);
      slot.remap();
      const submittedAt = performance.now();
      onSubmitted(submittedAt);

      await slot.readback.mapAsync(GPUMapMode.READ, 0, end);
      const doneAt = performance.now();
      this.#context.checkDevice();
      const mapped = slot.readback.getMappedRange(0, end);
      const results = this.#data.results(wave, mapped, readback.offsets, epoch);
      const times = readIntervals(mapped, readback.end, intervals);
      slot.readback.unmap();
      return {
        results,
        begunAt,
        submittedAt,
        doneAt,
        readbackUs: 1000 * (performance.now() - doneAt),
        uploadBytes: inputs.bytes,
        readbackBytes: end,
        dispatchCount,
        ...(times.length > 0 ? { deviceUs: times.reduce((sum, us) => sum + us, 0) } : {}),
        ...(timing === 'dispatches' && times.length > 0
          ? { dispatches: this.#dispatches.times(times, wave.bindings) }
          : {}),
      };
    } catch (error) {
      if (error instanceof BraidError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new BraidError('DEVICE_LOST', `model '${this.#plan.name}': the device failed: ${reason}`, { cause: error });
    } finally {
      this.#context.releaseSlot(slot);
    }
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

  #copyOutputs(
    encoder: GPUCommandEncoder,
    slot: Slot,
    layout: WaveLayout,
    inputs: InputPlaces,
    bindings: Bindings,
    places: readonly ReadbackPlace[],
  ): void {
    for (const { view, bytes, at } of places) {
      const { storage, offset } = view;
      const source = this.#offset(layout, inputs, storage) + evaluate(offset, bindings) * deviceBytes(storage.type);
      encoder.copyBufferToBuffer(this.#bufferOf(storage), source, slot.readback, at, bytes);
    }
  }

  /** Called when the plan is released. */
  onRelease: () => void = () => {};

  release(): void {
    this.onRelease();
    this.#weights.destroy();
    this.#dispatches.destroy();
  }
}
