import type { DeviceCaps } from '../../compile/kernel.js';
import { waveBindings, type Plan } from '../../compile/plan.js';
import { deviceBytes, type Storage } from '../../compile/view.js';
import { BraidError, toBraidError } from '../../errors.js';
import { evaluate, type Bindings } from '../../graph/dim.js';
import { alignUp, REGION_ALIGNMENT } from '../../memory/arena.js';
import type { Lease } from '../../memory/tensors.js';
import type { Executable, ExecutableMemory, Timing, Wave, WaveOutcome } from '../backend.js';
import { deviceLost } from '../common/device-lost.js';
import { layoutWave, lifetimes, mostRows, type WaveLayout } from '../common/layout.js';
import type { DispatchGroup } from '../common/schedule.js';
import {
  ERROR_HEADER_BYTES,
  ERROR_RECORD_BYTES,
  WaveData,
  type Readback,
  writeErrorHeader,
} from '../common/wave-data.js';
import type { CudaContext } from './context.js';
import { WaveInputs, type Sources } from './inputs.js';
import { pinnedBytes, type CudaLane } from './lanes.js';
import { groupLaunches, Launches } from './launches.js';
import { measureProducts, type MeasuredWave } from './measure.js';
import { ProductChoices } from './products.js';
import { repack } from './repack.js';
import { roundedRows } from './rows.js';
import { CudaWeights } from './weights.js';

/** Before the inputs in staging memory: what goes to the head of the error records. */
const STAGING_HEADER_BYTES = REGION_ALIGNMENT;
/** Most rows a wave carries, whatever the memory. */
const MOST_ROWS = 65_536;
/** Kernels count elements of a stretch in 32 bits. */
export const MOST_STRETCH_BYTES = 2 ** 32 - 256;

/** What executables of one backend share. */
export interface CudaHost {
  readonly caps: DeviceCaps;
  /** Bytes of device memory that a plan's waves are cut to. */
  readonly waveBytes: number;
  /** The context now: another one once that before has failed. @throws BraidError DEVICE_UNAVAILABLE. */
  context(): CudaContext;
}

/** What a plan has in a context. */
interface Loaded {
  readonly context: CudaContext;
  readonly weights: CudaWeights;
  readonly groups: readonly DispatchGroup[];
  readonly launches: Launches;
}

async function load(
  { caps }: CudaHost,
  context: CudaContext,
  plan: Plan,
  choices: ProductChoices,
  onProgress: (stage: 'upload' | 'pipelines', done: number, total: number) => void,
): Promise<Loaded> {
  const weights = new CudaWeights(context.device, plan.program.weights, MOST_STRETCH_BYTES, (done, total) =>
    onProgress('upload', done, total),
  );
  try {
    const stretch = (storage: Storage): number => weights.place(storage).buffer;
    const groups = groupLaunches(plan, { ...caps, products: plan.products }, stretch);
    const launches = await Launches.create(
      plan,
      groups,
      { device: context.device, kernels: context.kernels, choices },
      stretch,
      (done, total) => onProgress('pipelines', done, total),
    );
    return { context, weights, groups, launches };
  } catch (error) {
    weights.destroy();
    throw error;
  }
}

export class CudaExecutable implements Executable {
  readonly #host: CudaHost;
  readonly #plan: Plan;
  readonly #data: WaveData;
  readonly #inputs: WaveInputs;
  readonly #lives: ReadonlyMap<Storage, { first: number; last: number }>;
  readonly #colors: ReadonlyMap<Storage, number>;
  readonly #layouts = new Map<string, WaveLayout>();
  readonly #mostRows = new Map<string, number>();
  readonly #choices: ProductChoices;
  #loaded: Loaded;
  #reloading: Promise<void> | undefined;
  #pinnedBytes = 0;

  private constructor(host: CudaHost, plan: Plan, choices: ProductChoices, loaded: Loaded) {
    this.#host = host;
    this.#choices = choices;
    this.#plan = plan;
    this.#loaded = loaded;
    this.#data = new WaveData(plan);
    this.#inputs = new WaveInputs(plan);
    this.#lives = lifetimes(plan, loaded.groups);
    // One stretch holds all temporaries: CUDA does not mind that a kernel reads and writes apart in it.
    this.#colors = new Map([...this.#lives.keys()].map((storage) => [storage, 0]));
  }

  static async create(
    host: CudaHost,
    given: Plan,
    onProgress: (stage: 'upload' | 'pipelines', done: number, total: number) => void,
  ): Promise<CudaExecutable> {
    const plan = repack(given, { ...host.caps, products: given.products });
    const choices = new ProductChoices();
    const loaded = await load(host, host.context(), plan, choices, onProgress);
    const executable = new CudaExecutable(host, plan, choices, loaded);
    if (plan.otherSymbols.length === 0 && (plan.rows === undefined || plan.rowAnalysis.parallel))
      executable.rowsPerWave(new Map());
    if (plan.otherSymbols.length === 0 && executable.#rowsAreFree) await executable.#measureProducts();
    return executable;
  }

  /** Compares the library's products with the kernels for them. Where it fails the kernels make them all. */
  async #measureProducts(): Promise<void> {
    const { context, launches } = this.#loaded;
    const most = this.rowsPerWave(new Map());
    const waveOf = (rows: number): MeasuredWave | undefined => {
      if (rows > most) return undefined;
      const bindings = waveBindings(this.#plan, new Map(), rows, rows);
      const layout = this.#layoutAt(bindings);
      const bytes = regionBytes(layout);
      return {
        bindings,
        bytes,
        argumentsAt: (address) => this.#arguments(this.#loaded, bindings, layout, address, { address, bytes }),
      };
    };
    try {
      await measureProducts(context, launches, this.#choices, waveOf);
    } catch (error) {
      this.#choices.refuse(toBraidError(error).message);
    }
  }

  /** The arguments of a wave whose region begins at `input`. */
  #arguments(
    { launches, weights }: Loaded,
    bindings: Bindings,
    layout: WaveLayout,
    input: number,
    errors: { readonly address: number; readonly bytes: number },
  ): Uint32Array {
    const arena = input + alignUp(layout.inputBytes, REGION_ALIGNMENT);
    return launches.arguments(bindings, layout, (storage) => baseIn(layout, weights, storage), [
      ['in', { address: input, bytes: Math.max(16, layout.inputBytes) }],
      ['arena', { address: arena, bytes: Math.max(16, layout.arenaBytes[0] ?? 0) }],
      ['errors', errors],
      ...weights.buffers.map((buffer, i) => [`w${i}`, buffer] as const),
    ]);
  }

  /** What the plan has in the context of now; uploaded again where that is another than before. */
  async #ready(): Promise<Loaded> {
    while (this.#loaded.context !== this.#host.context()) {
      this.#reloading ??= load(this.#host, this.#host.context(), this.#plan, this.#choices, () => {})
        .then((loaded) => void (this.#loaded = loaded))
        .finally(() => (this.#reloading = undefined));
      await this.#reloading;
    }
    return this.#loaded;
  }

  get placement(): string {
    const { groups } = this.#loaded;
    const steps = groups.flatMap((group) => group.steps.map(() => group.program.native !== undefined));
    const own = steps.filter(Boolean).length;
    const kinds = `${own} by kernels written for CUDA, ${steps.length - own} by WGSL translated to it`;
    const { count, refusal } = this.#choices;
    const faster = count > 0 ? `; ${count} by cuBLASLt where that is faster` : '';
    return `cuda: of ${steps.length} steps ${kinds}${refusal === undefined ? faster : `; cuBLASLt fails: ${refusal}`}`;
  }

  get dispatches(): number {
    return this.#loaded.launches.count;
  }

  /** Pinned memory that its largest wave takes. */
  get pinnedBytes(): number {
    return this.#pinnedBytes;
  }

  get memory(): ExecutableMemory {
    const [largest] = [...this.#layouts.values()].sort((a, b) => b.rows - a.rows);
    return {
      weightBytes: this.#loaded.weights.bytes,
      arenaBytes: (largest?.arenaBytes ?? []).reduce((a, b) => a + b, 0),
      stagingBytes: this.#pinnedBytes,
    };
  }

  get #rowsAreFree(): boolean {
    return this.#plan.rows !== undefined && this.#plan.rowAnalysis.parallel;
  }

  rowsPerWave(bindings: Bindings): number {
    if (!this.#rowsAreFree) return Number.POSITIVE_INFINITY;
    const key = this.#plan.otherSymbols.map((s) => bindings.get(s)).join(' ');
    let most = this.#mostRows.get(key);
    if (most === undefined) {
      // A wave has no more queries than rows: see PoolGroup.take.
      const at = (n: number): WaveLayout => this.#layoutAt(waveBindings(this.#plan, bindings, n, n));
      most = mostRows(MOST_ROWS, (n) => regionBytes(at(n)) <= this.#host.waveBytes);
      this.#reserve(at(most), most);
      if (this.#mostRows.size >= 64) this.#mostRows.clear();
      this.#mostRows.set(key, most);
    }
    return most;
  }

  /** Remembers the pinned memory of waves that large. @throws BraidError OVERLOADED for one that never fits. */
  #reserve(layout: WaveLayout, rows: number): void {
    if (regionBytes(layout) > this.#loaded.context.budgetBytes)
      throw new BraidError(
        'OVERLOADED',
        `a wave needs ${regionBytes(layout)} bytes of device memory; the budget is ${this.#loaded.context.budgetBytes} bytes`,
      );
    const records = this.#data.records(rows, rows);
    const readback = ERROR_HEADER_BYTES + (records.rows + records.queries) * ERROR_RECORD_BYTES + layout.outputBytes;
    const staging = STAGING_HEADER_BYTES + layout.inputBytes;
    this.#pinnedBytes = Math.max(this.#pinnedBytes, pinnedBytes(staging) + pinnedBytes(readback + REGION_ALIGNMENT));
  }

  #layoutAt(bindings: Bindings): WaveLayout {
    return layoutWave(this.#plan, this.#lives, this.#colors, bindings);
  }

  /** A layout with room for a wave of these sizes; waves of about as many rows share one. */
  #layoutFor(bindings: Bindings): WaveLayout {
    const { rows, queries, otherSymbols } = this.#plan;
    const countOf = (symbol: string | undefined): number => (symbol === undefined ? 0 : (bindings.get(symbol) ?? 0));
    // Queries may have no rows, and so be more.
    const wanted = Math.max(countOf(rows), countOf(queries));
    const held = this.#rowsAreFree ? roundedRows(wanted, Math.max(wanted, this.rowsPerWave(bindings))) : wanted;
    const key = [...otherSymbols.map((s) => bindings.get(s)), held].join(' ');
    let layout = this.#layouts.get(key);
    if (!layout) {
      layout = this.#layoutAt(this.#rowsAreFree ? waveBindings(this.#plan, bindings, held, held) : bindings);
      if (!this.#rowsAreFree) this.#reserve(layout, wanted);
      // A plan with many different sizes must not collect layouts for ever.
      if (this.#layouts.size >= 128) this.#layouts.clear();
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  async submit(
    given: Wave,
    timing: Timing = 'none',
    onSubmitted: (at: number) => void = () => {},
  ): Promise<WaveOutcome> {
    const layout = this.#layoutFor(given.bindings);
    const loaded = await this.#ready();
    const { context } = loaded;
    const lane = await context.acquireLane();
    try {
      const lease = await context.lease(regionBytes(layout), lane);
      let point = 0;
      let submission: Submission;
      const begunAt = performance.now();
      const gone = this.#inputs.gone(given);
      const wave = this.#inputs.without(given, gone);
      try {
        submission = this.#send(wave, timing, layout, lane, lease, loaded);
        point = submission.point;
      } finally {
        // The region may be given to another lane at once, which then waits for this one on the device.
        context.release(lease, lane, point);
      }
      const submittedAt = performance.now();
      onSubmitted(submittedAt);
      const fault = await submission.ended;
      const doneAt = performance.now();
      for (const [query, error] of this.#inputs.gone(wave)) gone.set(query, error);
      if (fault >= 0) gone.set(...this.#inputs.unreadable(submission.sources, wave, fault));
      return this.#outcome(wave, timing, lane, loaded, { ...submission, gone, begunAt, submittedAt, doneAt });
    } catch (error) {
      if (!(error instanceof BraidError)) context.failed(toBraidError(error).message);
      throw deviceLost(this.#plan.name, error);
    } finally {
      context.releaseLane(lane);
    }
  }

  /** Stages a wave, writes its commands and sends them off. */
  #send(wave: Wave, timing: Timing, layout: WaveLayout, lane: CudaLane, lease: Lease, loaded: Loaded): Submission {
    const { context, weights, launches } = loaded;
    const { program } = this.#plan;
    const { commands } = lane;
    const sizes = this.#data.inputBytes(wave);
    // Inputs lie in staging memory as they will on the device, so that one copy takes them all.
    const starts = program.inputs.map(({ storage }) => layout.offsets.get(storage)!);
    const inputEnd = Math.max(0, ...sizes.map((bytes, i) => starts[i]! + bytes));
    const staging = lane.staging.atLeast(STAGING_HEADER_BYTES + inputEnd);
    const records = this.#data.recordsOf(wave);
    const checks = records.rows + records.queries > 0;
    const errors = lane.enterErrors(records.rows + records.queries);
    writeErrorHeader(staging.buffer, 0, errors.epoch, records);
    const input = context.addressOf(lease);
    const arena = input + alignUp(layout.inputBytes, REGION_ALIGNMENT);
    commands.clear();
    for (const fence of lease.waits) commands.wait(fence.lane, fence.point);
    if (checks) commands.upload(errors.address, staging.address, ERROR_HEADER_BYTES);
    const sources = this.#inputs.encode(
      wave,
      { staging, adopted: context.adopted, offset: STAGING_HEADER_BYTES, device: input, starts, end: inputEnd },
      commands,
    );
    const baseOf = (storage: Storage): number => baseIn(layout, weights, storage);
    const words = this.#arguments(loaded, wave.bindings, layout, input, errors);
    const launchCount = encode(launches, timing, lane, wave.bindings);
    const readback = this.#data.readback(wave);
    const target = lane.readback.atLeast(Math.max(1, readback.end));
    if (checks) commands.download(target.address, errors.address, this.#data.errorBytes(wave));
    for (const { view, bytes, at } of readback.places) {
      const { storage, offset } = view;
      const from = (evaluate(offset, wave.bindings) + baseOf(storage)) * deviceBytes(storage.type);
      const stretches = { input, temp: arena, weight: weights.addressOf(storage) };
      const base = stretches[storage.kind];
      commands.download(target.address + at, base + from, bytes);
    }
    const uploadBytes = inputEnd + (checks ? ERROR_HEADER_BYTES : 0);
    return {
      ...lane.submit(words, sources.arrays),
      sources,
      readback,
      epoch: errors.epoch,
      mapped: target.buffer,
      launches: launchCount,
      uploadBytes,
    };
  }

  #outcome(wave: Wave, timing: Timing, lane: CudaLane, loaded: Loaded, ended: EndedSubmission): WaveOutcome {
    const { readback, mapped, epoch, launches, gone, begunAt, submittedAt, doneAt, uploadBytes } = ended;
    const intervals = timing === 'none' ? 0 : timing === 'wave' ? 1 : launches;
    const times = intervals > 0 ? loaded.context.device.clock(lane.index, intervals) : new Float64Array();
    const results = this.#data
      .results(wave, mapped, readback.offsets, epoch)
      .map((result, q) => (gone.has(q) ? { error: gone.get(q)! } : result));
    return {
      results,
      begunAt,
      submittedAt,
      doneAt,
      readbackUs: 1000 * (performance.now() - doneAt),
      uploadBytes,
      readbackBytes: readback.end,
      dispatchCount: launches,
      ...(intervals > 0 ? { deviceUs: times.reduce((sum, us) => sum + us, 0) } : {}),
      ...(timing === 'dispatches' && intervals > 0 ? { dispatches: loaded.launches.times(times, wave.bindings) } : {}),
    };
  }

  /** Called when the plan is released. */
  onRelease: () => void = () => {};

  release(): void {
    this.onRelease();
    // What was in a context that failed went with it.
    if (this.#loaded.context.failure === undefined) this.#loaded.weights.destroy();
  }
}

/** Where a storage lies in its stretch, in elements. */
function baseIn(layout: WaveLayout, weights: CudaWeights, storage: Storage): number {
  if (storage.kind === 'weight') return weights.place(storage).offset;
  return layout.offsets.get(storage)! / deviceBytes(storage.type);
}

/** Appends the launches to the lane's commands, with the moments that are asked for. Returns how many launches there are. */
function encode(launches: Launches, timing: Timing, { commands }: CudaLane, bindings: Bindings): number {
  if (timing === 'dispatches') return launches.encode(commands, bindings, (i) => commands.clock(i));
  if (timing === 'none') return launches.encode(commands, bindings);
  commands.clock(0);
  const count = launches.encode(commands, bindings);
  commands.clock(1);
  return count;
}

interface Submission {
  readonly point: number;
  readonly ended: Promise<number>;
  readonly sources: Sources;
  readonly readback: Readback;
  readonly epoch: number;
  readonly mapped: ArrayBuffer;
  readonly launches: number;
  readonly uploadBytes: number;
}

interface EndedSubmission extends Submission {
  /** Errors of queries whose inputs were not there to be read. */
  readonly gone: ReadonlyMap<number, BraidError>;
  readonly begunAt: number;
  readonly submittedAt: number;
  readonly doneAt: number;
}

/** What a wave takes of device memory: its inputs, then its temporaries. */
function regionBytes({ inputBytes, arenaBytes }: WaveLayout): number {
  return alignUp(inputBytes, REGION_ALIGNMENT) + Math.max(16, arenaBytes[0] ?? 0) + REGION_ALIGNMENT;
}
