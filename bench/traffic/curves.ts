/**
 * How the rate of queries changes over a run. A curve says the rate relative to its mean at a moment of the run from 0 to
 * 1, in steps fine enough to pass for smooth; its mean is 1, so that curves differ in shape and never in load.
 */
export interface RateCurve {
  readonly name: CurveName;
  /** Relative rate of each step. */
  readonly steps: readonly number[];
}

type Shape = (at: number) => number;

const STEPS = 1000;

/** A bell of height 1. */
function bell(at: number, centre: number, width: number): number {
  return Math.exp(-(((at - centre) / width) ** 2) / 2);
}

const SHAPES = {
  constant: () => 1,
  /** A quiet run with a burst of five times the rate, a tenth of the run long. */
  pulse: (at) => (at >= 0.45 && at < 0.55 ? 5 : 1),
  /** One peak of four times the rate at its ends: an evening. */
  unimodal: (at) => 1 + 3 * bell(at, 0.5, 0.14),
  /** Two peaks, the second higher: a day with its noon and its evening. */
  bimodal: (at) => 1 + 2 * bell(at, 0.3, 0.08) + 3 * bell(at, 0.72, 0.1),
} satisfies Record<string, Shape>;

export type CurveName = keyof typeof SHAPES;

export const curveNames = Object.keys(SHAPES) as readonly CurveName[];

export function rateCurve(name: CurveName): RateCurve {
  const shape: Shape = SHAPES[name];
  const raw = Array.from({ length: STEPS }, (_, i) => shape((i + 0.5) / STEPS));
  const mean = raw.reduce((sum, rate) => sum + rate, 0) / STEPS;
  return { name, steps: raw.map((rate) => rate / mean) };
}

/** Relative rate at a moment of the run. */
export function rateAt({ steps }: RateCurve, at: number): number {
  return steps[Math.min(steps.length - 1, Math.floor(at * steps.length))]!;
}
