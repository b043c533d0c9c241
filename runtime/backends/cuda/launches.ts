import { layoutParameters, type WebGpuProgram } from '../../../shaders/program.js';
import type { KernelTarget, Step } from '../../compile/kernel.js';
import type { Plan } from '../../compile/plan.js';
import type { Storage } from '../../compile/view.js';
import { evaluate, sum, type Bindings } from '../../graph/dim.js';
import type { DispatchTime } from '../backend.js';
import type { WaveLayout } from '../common/layout.js';
import { ParameterBlocks } from '../common/parameters.js';
import { groupSteps, type DispatchGroup } from '../common/schedule.js';
import type { NativeDevice } from './addon.js';
import { CommandList } from './commands.js';
import type { CudaKernel, KernelCache } from './kernels.js';
import { loadProduct, rowsOf, type LoadedProduct, type ProductChoices } from './products.js';

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
  /** Name of the program, or of what makes it in its place. */
  readonly key: string;
  write(commands: CommandList): void;
}

/** What launches are made with. */
export interface LaunchMakers {
  readonly device: NativeDevice;
  readonly kernels: KernelCache;
  readonly choices: ProductChoices;
}

/** The launches of a plan: kernels and arguments, made at load; and writing them into a command list at a wave's sizes. */
export class Launches {
  readonly #groups: readonly DispatchGroup[];
  /** Of each group: its program's, then its alternatives'. */
  readonly #kernels: readonly (readonly CudaKernel[])[];
  /** Of each group that a library may make. */
  readonly #products: readonly (LoadedProduct | undefined)[];
  readonly #choices: ProductChoices;
  readonly #parameters: ParameterBlocks;
  /** Where arguments name a stretch, in words, by the stretch's name. */
  readonly #places = new Map<string, number[]>();
  readonly #calls = new Map<string, Calls>();
  #words: Uint32Array = new Uint32Array();
  #wordsFor = '';
  #layoutFor: WaveLayout | undefined;

  private constructor(
    plan: Plan,
    groups: readonly DispatchGroup[],
    kernels: readonly (readonly CudaKernel[])[],
    { device, choices }: LaunchMakers,
  ) {
    this.#groups = groups;
    this.#kernels = kernels;
    this.#products = groups.map((group) => loadProduct(device, group, PLACE_BYTES));
    this.#choices = choices;
    this.#parameters = new ParameterBlocks(
      groups,
      [plan.rows, plan.queries].filter((s) => s !== undefined),
      (group) => PLACE_BYTES * placesOf(group),
    );
  }

  static async create(
    plan: Plan,
    groups: readonly DispatchGroup[],
    makers: LaunchMakers,
    weightStretch: (storage: Storage) => number,
    onProgress: (done: number, total: number) => void,
  ): Promise<Launches> {
    let done = 0;
    const made = await Promise.all(
      groups.map(async ({ program, steps }) => {
        const programs = [program, ...(steps[0]!.dispatch.alternatives ?? []).map((a) => a.program)];
        const compiled = await Promise.all(programs.map((p) => makers.kernels.get(p, steps.length)));
        onProgress(++done, groups.length);
        return compiled;
      }),
    );
    const launches = new Launches(plan, groups, made, makers);
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
      for (const call of calls.calls) call.write(calls.commands);
      if (this.#calls.size >= MOST_SIZES) this.#calls.clear();
      this.#calls.set(key, calls);
    }
    return calls;
  }

  #callOf(g: number, bindings: Bindings): Call[] {
    const product = this.#products[g];
    const byLibrary = product && this.#choices.prefersLibrary(g, rowsOf(product, bindings).m);
    return (byLibrary ? this.#productOf(g, bindings) : undefined) ?? this.#launchOf(g, bindings);
  }

  /** The launch as the library makes it. */
  #productOf(g: number, bindings: Bindings): Call[] | undefined {
    const product = this.#products[g];
    if (!product) return undefined;
    const { m, chosenFor } = rowsOf(product, bindings);
    if (m === 0) return [];
    const offset = this.#parameters.offsets[g]!;
    const call = { product: product.index, m, chosenFor, offset, bytes: argumentBytes(this.#groups[g]!) };
    return [{ group: g, key: product.key, write: (commands) => commands.product(call) }];
  }

  #launchOf(g: number, bindings: Bindings): Call[] {
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
    const { key } = steps[0]!.dispatch.alternatives?.[choice]?.program ?? program;
    return [{ group: g, key, write: (commands) => commands.launch(launch) }];
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
    calls.forEach((call, i) => {
      between(i);
      call.write(commands);
    });
    between(calls.length);
    return calls.length;
  }

  /** Launches that a library may make. */
  get products(): readonly number[] {
    return this.#products.flatMap((product, g) => (product ? [g] : []));
  }

  /** Rows of such a launch's product. */
  rowsOfProduct(g: number, bindings: Bindings): number {
    return rowsOf(this.#products[g]!, bindings).m;
  }

  /** Appends one such launch, by the kernel or by the library. */
  encodeProduct(commands: CommandList, g: number, bindings: Bindings, by: 'kernel' | 'library'): void {
    const calls = by === 'library' ? this.#productOf(g, bindings)! : this.#launchOf(g, bindings);
    for (const call of calls) call.write(commands);
  }

  /** Forgets what was written before choices were made. */
  forget(): void {
    this.#calls.clear();
  }

  /** What each launch had to do, beside the microseconds that it took. */
  times(us: ArrayLike<number>, bindings: Bindings): DispatchTime[] {
    return this.#callsFor(bindings).calls.map(({ group, key }, i): DispatchTime => {
      const steps = this.#groups[group]!.steps.map(({ step }) => step);
      return {
        program: key,
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
