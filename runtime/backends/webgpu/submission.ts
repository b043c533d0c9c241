import { toBraidError } from '../../errors.js';
import { alignUp, REGION_ALIGNMENT } from '../../memory/arena.js';
import type { PartOutcome } from '../backend.js';
import { deviceLost } from '../common/device-lost.js';
import { Ahead, type Recipe } from './ahead.js';
import { clockBytes, readIntervals, type DeviceClock } from './clock.js';
import type { PlacedWave, WebGpuExecutable, WebGpuPart } from './executable.js';
import { Expectation } from './expectation.js';
import type { Slot } from './memory.js';

/** What submissions take from the device they go to. */
export interface SubmissionHost {
  readonly device: GPUDevice;
  readonly clock: DeviceClock | undefined;
  /** @throws BraidError DEVICE_LOST once the device failed. */
  checkDevice(): void;
  /** Resolves when one is free. */
  acquireSlot(): Promise<Slot>;
  releaseSlot(slot: Slot): void;
  /** Of any slot. */
  capacity(): Slot['capacity'];
  /** Of shared memory: changes with its buffers. */
  generation(): number;
  /** Told when results are expected. */
  expect(at: number): void;
}

/** A part that has its places in a submission. */
interface Placed {
  /** Of the parts that were given. */
  readonly index: number;
  readonly part: WebGpuPart;
  readonly wave: PlacedWave;
  /** Bytes of the slot's staging and read-back memory at which it begins. */
  readonly stagedAt: number;
  readonly readAt: number;
  /** Its first stretch of time. */
  readonly firstInterval: number;
  readonly intervals: number;
}

/** Parts that share a slot, and so a command buffer. */
interface Submission {
  readonly parts: Placed[];
  stagedBytes: number;
  readBytes: number;
  intervals: number;
}

/** What the device does for a submission. */
interface Commands {
  readonly buffer: GPUCommandBuffer;
  /** Dispatches of each part. */
  readonly counts: readonly number[];
}

/**
 * Waves of different plans in one command buffer: a slot, an encoder, a submission and a read-back for all of them. Each has
 * its upload, its dispatches and its copies there, in order, so that all may use the same device memory.
 */
export class Submitter {
  readonly #host: SubmissionHost;
  readonly #aheads = new Map<Slot, Ahead<Commands>>();

  readonly #expectation: Expectation;

  constructor(host: SubmissionHost) {
    this.#host = host;
    this.#expectation = new Expectation((at) => host.expect(at));
  }

  /** Lets go of a plan that is released. */
  forget(executable: WebGpuExecutable): void {
    for (const ahead of this.#aheads.values()) ahead.forget(executable);
  }

  /** See Backend.submit. */
  async submit(
    parts: readonly WebGpuPart[],
    onSubmitted: (at: number) => void = () => {},
  ): Promise<readonly PartOutcome[]> {
    const outcomes: PartOutcome[] = [];
    const submissions = this.#place(parts, outcomes);
    await Promise.all(submissions.map((submission) => this.#submit(submission, outcomes, onSubmitted)));
    return outcomes;
  }

  /** Spreads parts over as few submissions as carry them: a slot is as large as a plan's largest wave, and parameters are a plan's. */
  #place(parts: readonly WebGpuPart[], outcomes: PartOutcome[]): Submission[] {
    const submissions: Submission[] = [];
    const { capacity, clock } = this.#host;
    parts.forEach((part, index) => {
      let wave: PlacedWave;
      try {
        wave = part.executable.place(part.wave, part.timing);
      } catch (error) {
        outcomes[index] = { error: toBraidError(error) };
        return;
      }
      const most = capacity();
      const fits = (s: Submission): boolean =>
        s.stagedBytes + wave.stagedBytes <= most.staging &&
        s.readBytes + wave.readback.end + clockBytes(s.intervals + wave.intervals) + REGION_ALIGNMENT <=
          most.readback &&
        s.parts.every(({ part: other }) => other.executable !== part.executable);
      let submission = submissions.at(-1);
      if (!submission || !fits(submission)) {
        submission = { parts: [], stagedBytes: 0, readBytes: 0, intervals: 0 };
        submissions.push(submission);
      }
      const intervals = Math.min(wave.intervals, (clock?.intervals ?? 0) - submission.intervals);
      submission.parts.push({
        index,
        part,
        wave,
        stagedAt: submission.stagedBytes,
        readAt: submission.readBytes,
        firstInterval: submission.intervals,
        intervals,
      });
      submission.stagedBytes = alignUp(submission.stagedBytes + wave.stagedBytes, REGION_ALIGNMENT);
      submission.readBytes = alignUp(submission.readBytes + wave.readback.end, REGION_ALIGNMENT);
      submission.intervals += intervals;
    });
    return submissions;
  }

  #aheadOf(slot: Slot): Ahead<Commands> {
    let ahead = this.#aheads.get(slot);
    if (!ahead) this.#aheads.set(slot, (ahead = new Ahead()));
    return ahead;
  }

  #recipe({ staging, readback }: Slot, parts: readonly Placed[]): Recipe {
    return {
      executables: parts.map(({ part }) => part.executable),
      sizes: parts.map(({ part: { wave } }) => [...wave.bindings.values(), wave.queries.length].join(' ')),
      staging,
      readback,
      generation: this.#host.generation(),
    };
  }

  #record(slot: Slot, { parts, readBytes, intervals }: Submission): Commands {
    const { device, clock } = this.#host;
    const encoder = device.createCommandEncoder();
    const counts = parts.map(({ part, wave, stagedAt, readAt, firstInterval, intervals: own }) =>
      part.executable.record(encoder, { ...wave, intervals: own }, slot, [stagedAt, readAt], (i) =>
        clock!.interval(firstInterval + i),
      ),
    );
    if (intervals > 0) clock!.read(encoder, intervals, slot.readback, readBytes);
    return { buffer: encoder.finish(), counts };
  }

  async #submit(submission: Submission, outcomes: PartOutcome[], onSubmitted: (at: number) => void): Promise<void> {
    const { parts, stagedBytes, readBytes, intervals } = submission;
    const { device } = this.#host;
    const slot = await this.#host.acquireSlot();
    try {
      const staged = await slot.map(stagedBytes);
      const begunAt = performance.now();
      const epochs = parts.map(({ part, wave, stagedAt }) => part.executable.stage(wave, staged, stagedAt));
      slot.staging.unmap();
      for (const { part, wave } of parts) part.executable.prepare(wave);
      // Waves that measure are few.
      const isPlain = intervals === 0;
      const ahead = this.#aheadOf(slot);
      const commands = (isPlain && ahead.take(this.#recipe(slot, parts))) || this.#record(slot, submission);
      device.queue.submit([commands.buffer]);
      slot.remap();
      const submittedAt = performance.now();
      onSubmitted(submittedAt);
      const ended = this.#expectation.submitted(
        parts.map(({ part }) => part),
        submittedAt,
      );

      const end = readBytes + clockBytes(intervals);
      const finished = slot.readback.mapAsync(GPUMapMode.READ, 0, end);
      finished.catch(() => {});
      if (isPlain) ahead.next(() => this.#record(slot, submission));
      await finished;
      const doneAt = performance.now();
      ended(doneAt);
      this.#host.checkDevice();
      const mapped = slot.readback.getMappedRange(0, end);
      const times = readIntervals(mapped, readBytes, intervals);
      let readAt = doneAt;
      parts.forEach((placed, i) => {
        const { index, part, wave, firstInterval } = placed;
        const own = times.slice(firstInterval, firstInterval + placed.intervals);
        const results = part.executable.results(wave, mapped, placed.readAt, epochs[i]!);
        const readEnd = performance.now();
        outcomes[index] = {
          results,
          begunAt,
          submittedAt,
          doneAt,
          readbackUs: 1000 * (readEnd - readAt),
          uploadBytes: wave.inputs.bytes,
          readbackBytes: wave.readback.end,
          dispatchCount: commands.counts[i]!,
          ...(own.length > 0 ? { deviceUs: own.reduce((sum, us) => sum + us, 0) } : {}),
          ...(part.timing === 'dispatches' && own.length > 0 ? { dispatches: part.executable.times(wave, own) } : {}),
        };
        readAt = readEnd;
      });
      slot.readback.unmap();
    } catch (cause) {
      for (const { index, part } of parts) outcomes[index] ??= { error: deviceLost(part.executable.name, cause) };
    } finally {
      this.#host.releaseSlot(slot);
    }
  }
}
