import { Random } from '../../src/zoo/random.js';
import type { RateCurve } from './curves.js';

export interface ArrivalOptions {
  /** Mean over the run, a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly seed: number;
}

/**
 * Moments, ascending and in seconds from the start, at which queries of a non-homogeneous Poisson process arrive. A process
 * of rate 1 in the curve's own time, which runs as fast as queries are due, is carried over to the clock step by step.
 */
export function arrivals(curve: RateCurve, { rate, seconds, seed }: ArrivalOptions): readonly number[] {
  const random = new Random(seed, 'arrivals');
  const gap = (): number => -Math.log(1 - random.unit());
  const stepSeconds = seconds / curve.steps.length;
  const times: number[] = [];
  let expected = 0;
  let next = gap();
  for (const [i, relative] of curve.steps.entries()) {
    const inStep = rate * relative * stepSeconds;
    for (; next < expected + inStep; next += gap()) times.push((i + (next - expected) / inStep) * stepSeconds);
    expected += inStep;
  }
  return times;
}
