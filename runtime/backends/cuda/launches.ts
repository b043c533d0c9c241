import { layoutParameters, type WebGpuProgram } from '../../../shaders/program.js';
import type { KernelTarget, Step } from '../../compile/kernel.js';
import type { Plan } from '../../compile/plan.js';
import type { Storage } from '../../compile/view.js';
import { evaluate, sum, type Bindings } from '../../graph/dim.js';
import type { DispatchTime } from '../backend.js';
import type { WaveLayout } from '../common/layout.js';
import { ParameterBlocks } from '../common/parameters.js';
import { groupSteps, type DispatchGroup } from '../common/schedule.js';
import { CommandList, type Launch } from './commands.js';
import type { CudaKernel, KernelCache } from './kernels.js';

/** Bytes of arguments that every driver gives a kernel. */
const MOST_ARGUMENT_BYTES = 4096;
/** Where a buffer lies and its size, 64 bits each. */
const PLACE_BYTES = 16;
/** Sizes that a plan remembers its launches for. */
const MOST_SIZES = 256;

/** What a kernel binds, by name: `in`, `arena`, `errors`, and a weight stretch `wN`. */
export interface Stretch {
  readonly address: number;
  readonly bytes: number;
}

function placesOf({ program, steps }: DispatchGroup): number {
  return steps[0]!.step.operands.length + (program.reportsErrors ? 1 : 0);
}

function argumentBytes(group: DispatchGroup): number {
  return PLACE_BYTES * placesOf(group) + 4 * layoutParameters(group.program.fields).words * group.steps.length;
}

/** Name of the stretch that holds a storage. */
export function stretchOf(storage: Storage, weightStretch: (storage: Storage) => number): string {
  if (storage.kind === 'input') return 'in';
  return storage.kind === 'temp' ? 'arena' : `w${weightStretch(storage)}`;
}

/** The steps of a plan by what shares a launch. Steps of one program over the same stretches are its slices. */
export function groupLaunches(
  plan: Plan,
  target: KernelTarget,
  weightStretch: (storage: Storage) => number,
): DispatchGroup[] {
  const most = ({ fields }: WebGpuProgram, { operands }: Step): number => {
    const places = PLACE_BYTES * (operands.length + 1);
    return Math.max(1, Math.floor((MOST_ARGUMENT_BYTES - places) / (4 * layoutParameters(fields).words)));
  };
  return groupSteps(
    plan.program.steps,
    (step) => step.cuda?.(target) ?? step.webgpu(target),
    (storage) => stretchOf(storage, weightStretch),
    most,
  );
}

/** The launches at some sizes, and as commands. */
interface Calls {
  readonly calls: readonly Call[];
  readonly commands: CommandList;
}

/** A launch at some sizes, and the group it is of. */
interface Call {
  readonly group: number;
  readonly program: WebGpuProgram;
  readonly launch: Launch;
}

/** The launches of a plan: kernels and arguments, made at load; and writing them into a command list at a wave's sizes. */
export class Launches {
  readonly #groups: readonly DispatchGroup[];
  /** Of each group: its program's, then its alternatives'. */
  readonly #kernels: readonly (readonly CudaKernel[])[];
  readonly #parameters: ParameterBlocks;
  /** Where arguments name a stretch, in words, by the stretch's name. */
  readonly #places = new Map<string, number[]>();
  readonly #calls = new Map<string, Calls>();
  #words: Uint32Array = new Uint32Array();
  #wordsFor = '';
  #layoutFor: WaveLayout | undefined;

  private constructor(plan: Plan, groups: readonly DispatchGroup[], kernels: readonly (readonly CudaKernel[])[]) {
    this.#groups = groups;
    this.#kernels = kernels;
    this.#parameters = new ParameterBlocks(
      groups,
      [plan.rows, plan.queries].filter((s) => s !== undefined),
      (group) => PLACE_BYTES * placesOf(group),
    );
  }

  static async create(
    plan: Plan,
    groups: readonly DispatchGroup[],
    kernels: KernelCache,
    weightStretch: (storage: Storage) => number,
    onProgress: (done: number, total: number) => void,
  ): Promise<Launches> {
    let done = 0;
    const made = await Promise.all(
      groups.map(async ({ program, steps }) => {
        const programs = [program, ...(steps[0]!.dispatch.alternatives ?? []).map((a) => a.program)];
        const compiled = await Promise.all(programs.map((p) => kernels.get(p, steps.length)));
        onProgress(++done, groups.length);
        return compiled;
      }),
    );
    const launches = new Launches(plan, groups, made);
    groups.forEach((group, g) => {
      const names = group.steps[0]!.step.operands.map(({ view }) => stretchOf(view.storage, weightStretch));
      if (group.program.reportsErrors) names.push('errors');
      names.forEach((name, i) => {
        const at = (launches.#parameters.offsets[g]! + PLACE_BYTES * i) / 4;
        launches.#places.set(name, [...(launches.#places.get(name) ?? []), at]);
      });
    });
    return launches;
  }

  /** Most launches of a wave. */
  get count(): number {
    return this.#groups.length;
  }

  #callsFor(bindings: Bindings): Calls {
    const key = [...bindings.values()].join(' ');
    let calls = this.#calls.get(key);
    if (!calls) {
      calls = { calls: this.#groups.flatMap((_, g) => this.#callOf(g, bindings)), commands: new CommandList() };
      for (const { launch } of calls.calls) calls.commands.launch(launch);
      if (this.#calls.size >= MOST_SIZES) this.#calls.clear();
      this.#calls.set(key, calls);
    }
    return calls;
  }

  #callOf(g: number, bindings: Bindings): Call[] {
    const group = this.#groups[g]!;
    const { steps, program } = group;
    // Steps of a group are alike; what suits the first suits them all.
    const choice = steps[0]!.dispatch.alternatives?.findIndex((a) => a.suits(bindings)) ?? -1;
    const gridX = Math.max(
      ...steps.map(({ dispatch }) => (dispatch.alternatives?.[choice] ?? dispatch).workgroups(bindings)),
    );
    if (gridX === 0) return [];
    const { index, threads, sharedBytes } = this.#kernels[g]![choice + 1]!;
    const launch = {
      kernel: index,
      gridX,
      gridZ: steps.length,
      threads,
      sharedBytes,
      offset: this.#parameters.offsets[g]!,
      bytes: argumentBytes(group),
    };
    return [{ group: g, program: steps[0]!.dispatch.alternatives?.[choice]?.program ?? program, launch }];
  }

  /** The arguments of all launches at these sizes; good until the next call. */
  arguments(
    bindings: Bindings,
    layout: WaveLayout,
    baseOf: (storage: Storage) => number,
    stretches: Iterable<readonly [name: string, stretch: Stretch]>,
  ): Uint32Array {
    const key = [...bindings.values()].join(' ');
    if (layout !== this.#layoutFor || key !== this.#wordsFor) {
      this.#words = this.#parameters.words(bindings, layout, baseOf);
      [this.#layoutFor, this.#wordsFor] = [layout, key];
    }
    const words = this.#words;
    for (const [name, { address, bytes }] of stretches) {
      for (const at of this.#places.get(name) ?? []) {
        words[at] = address;
        words[at + 1] = Math.floor(address / 2 ** 32);
        words[at + 2] = bytes;
        words[at + 3] = Math.floor(bytes / 2 ** 32);
      }
    }
    return words;
  }

  /** Appends the launches. `between`, where given, is called in front of each and behind the last. Returns how many there are. */
  encode(commands: CommandList, bindings: Bindings, between?: (index: number) => void): number {
    const { calls, commands: launches } = this.#callsFor(bindings);
    if (!between) {
      commands.append(launches);
      return calls.length;
    }
    calls.forEach(({ launch }, i) => {
      between(i);
      commands.launch(launch);
    });
    between(calls.length);
    return calls.length;
  }

  /** What each launch had to do, beside the microseconds that it took. */
  times(us: ArrayLike<number>, bindings: Bindings): DispatchTime[] {
    return this.#callsFor(bindings).calls.map(({ group, program }, i): DispatchTime => {
      const steps = this.#groups[group]!.steps.map(({ step }) => step);
      return {
        program: program.key,
        steps: steps.length,
        detail: steps[0]!.detail,
        bound: steps[0]!.bound,
        operations: evaluate(sum(steps.map((s) => s.cost.operations)), bindings),
        bytes: evaluate(sum(steps.map((s) => s.cost.bytes)), bindings),
        durationUs: us[i]!,
      };
    });
  }
}
