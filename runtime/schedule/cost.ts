import type { Bound, Cost } from '../compile/kernel.js';
import { waveBindings, type Plan } from '../compile/plan.js';
import { evaluate, type Bindings } from '../graph/dim.js';

/** What a device does in a microsecond, as first guess; measurements correct it for each plan. */
export interface DeviceRates {
  readonly bytesPerUs: number;
  readonly operationsPerUs: number;
  /** A dispatch that does next to nothing. */
  readonly dispatchUs: number;
}

export const GPU_RATES: DeviceRates = { bytesPerUs: 300_000, operationsPerUs: 8_000_000, dispatchUs: 6 };
export const SOFTWARE_RATES: DeviceRates = { bytesPerUs: 2_000, operationsPerUs: 4_000, dispatchUs: 60 };

/** What one operator has to do and what it is bound by, from its bytes and operations at given sizes. */
export interface OperatorCost {
  readonly kernel: string;
  readonly bytes: number;
  readonly operations: number;
  readonly us: number;
  readonly bound: Bound;
}

/** The time of one operator by the roofline: the slower of its bytes and its operations, or a dispatch if both are small. */
export function operatorCost(kernel: string, cost: Cost, bindings: Bindings, rates: DeviceRates): OperatorCost {
  const bytes = evaluate(cost.bytes, bindings);
  const operations = evaluate(cost.operations, bindings);
  const memoryUs = bytes / rates.bytesPerUs;
  const arithmeticUs = operations / rates.operationsPerUs;
  const us = Math.max(memoryUs, arithmeticUs);
  const bound = us < rates.dispatchUs ? 'latency' : memoryUs >= arithmeticUs ? 'memory' : 'arithmetic';
  return { kernel, bytes, operations, us, bound };
}

/** What is known of the coefficients before anything is measured, beside what one measurement tells: next to nothing. */
const FIRST_GUESS = 1e-6;

/**
 * A line through measured points, y = a + b x with a, b >= 0, by recursive least squares, in units of the first guess so that
 * both coefficients start near 1. Old points are forgotten only where new ones tell the same (directional forgetting: Cao and
 * Schwartz, A directional forgetting algorithm based on the decomposition of the information matrix, Automatica 36, 2000):
 * waves of one size, which say nothing of slope and fixed part apart, leave standing what other sizes said of them.
 */
class FittedLine {
  #fixed = 1;
  #slope = 1;
  readonly #scale: readonly [number, number];
  /** The information matrix, symmetric: [a, b; b, c]. */
  #information: readonly [number, number, number] = [FIRST_GUESS, 0, FIRST_GUESS];
  /** Share of what is known in a direction that stays when a point adds to it. */
  static readonly #KEEP = 0.97;

  constructor(fixed: number, slope: number) {
    this.#scale = [fixed, slope];
  }

  at(x: number): number {
    return this.#fixed * this.#scale[0] + this.#slope * this.#scale[1] * x;
  }

  add(x: number, y: number): void {
    // Relative errors count: a small wave's microseconds are worth as much as a large one's.
    const weight = 1 / Math.max(1e-3, y);
    const u = this.#scale[0] * weight;
    const v = this.#scale[1] * x * weight;
    const [a, b, c] = this.#information;
    const [ru, rv] = [a * u + b * v, b * u + c * v];
    const forget = (1 - FittedLine.#KEEP) / (u * ru + v * rv);
    const next = [a - forget * ru * ru + u * u, b - forget * ru * rv + u * v, c - forget * rv * rv + v * v] as const;
    this.#information = next;
    const [na, nb, nc] = next;
    const error = 1 - (this.#fixed * u + this.#slope * v);
    const scale = error / (na * nc - nb * nb);
    this.#fixed += scale * (nc * u - nb * v);
    this.#slope += scale * (na * v - nb * u);
    // Neither can be negative; what one may not go below, the other takes over, so that the point stays on the line.
    if (this.#fixed < 0) [this.#fixed, this.#slope] = [0, v > 0 ? 1 / v : 0];
    if (this.#slope < 0) [this.#fixed, this.#slope] = [1 / u, 0];
  }
}

/** Rows at which a plan is told to be bound by memory or by arithmetic: a few queries. */
const TYPICAL_ROWS = 1024;

/**
 * What a plan's waves cost, on the device and on the host. The shape comes from the plan: bytes and operations of every
 * operator at the wave's sizes. The scale comes from measurements, those made at load first.
 */
export class CostModel {
  readonly #plan: Plan;
  readonly #rates: DeviceRates;
  readonly #device: FittedLine;
  readonly #host: FittedLine;
  /** Roofline microseconds at powers of two of the rows; between them it is a line. */
  readonly #roofs = new Map<string, number>();

  /** What most of a wave's time goes to. */
  readonly bound: Bound;
  /** Waves observed. */
  waves = 0;

  constructor(plan: Plan, dispatches: number, rates: DeviceRates) {
    this.#plan = plan;
    this.#rates = rates;
    this.#device = new FittedLine(rates.dispatchUs * dispatches, 1);
    this.#host = new FittedLine(50 + 3 * dispatches, this.#hostUsPerRow());
    this.bound = this.#boundAt(TYPICAL_ROWS);
  }

  #boundAt(rows: number): Bound {
    const us: Record<Bound, number> = { memory: 0, arithmetic: 0, latency: 0 };
    for (const o of this.operators(this.#sizes(rows))) us[o.bound] += Math.max(o.us, this.#rates.dispatchUs);
    return (Object.keys(us) as Bound[]).reduce((a, b) => (us[b] > us[a] ? b : a));
  }

  #sizes(rows: number): Bindings {
    return waveBindings(this.#plan, new Map(this.#plan.otherSymbols.map((s) => [s, 1])), rows, 1);
  }

  /** First guess: a copy of the inputs at 10 GB/s. */
  #hostUsPerRow(): number {
    const one = this.#sizes(1);
    const elements = this.#plan.inputs.reduce(
      (n, i) => n + i.shape.reduce<number>((m, d) => m * evaluate(d, one), 1),
      0,
    );
    return (elements * 8) / 10_000;
  }

  operators(bindings: Bindings): OperatorCost[] {
    return this.#plan.program.steps.map(({ kernel, cost }) => operatorCost(kernel, cost, bindings, this.#rates));
  }

  #roofAt(bindings: Bindings, rows: number): number {
    const { queries: symbol, otherSymbols } = this.#plan;
    // What queries share costs little beside their rows: its cost follows their number in steps.
    const queries = 2 ** Math.floor(Math.log2((symbol === undefined ? 1 : bindings.get(symbol)) || 1));
    const sizes = waveBindings(this.#plan, bindings, rows, queries);
    const key = [...otherSymbols.map((s) => bindings.get(s)), rows, queries].join(' ');
    let us = this.#roofs.get(key);
    if (us === undefined) {
      us = this.operators(sizes).reduce((sum, o) => sum + o.us, 0);
      if (this.#roofs.size >= 1024) this.#roofs.clear();
      this.#roofs.set(key, us);
    }
    return us;
  }

  #roof(bindings: Bindings, rows: number): number {
    if (rows <= 0) return 0;
    const low = 2 ** Math.floor(Math.log2(rows));
    const [at, next] = [this.#roofAt(bindings, low), this.#roofAt(bindings, 2 * low)];
    return at + ((next - at) * (rows - low)) / low;
  }

  /** Expected microseconds on the device of a wave of `rows` rows, its other sizes as in `bindings`. */
  deviceUs(bindings: Bindings, rows: number): number {
    return this.#device.at(this.#roof(bindings, rows));
  }

  /** Expected microseconds of host time for a wave: its queries' checks, staging, submission, read-back. */
  hostUs(rows: number): number {
    return this.#host.at(rows);
  }

  observe(bindings: Bindings, rows: number, measured: { readonly deviceUs: number; readonly hostUs: number }): void {
    this.waves++;
    if (measured.deviceUs > 0) this.#device.add(this.#roof(bindings, rows), measured.deviceUs);
    if (measured.hostUs > 0) this.#host.add(rows, measured.hostUs);
  }
}
