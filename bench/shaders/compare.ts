import type { Peaks } from './peaks.js';

/** One operation measured. */
export interface Figure {
  readonly name: string;
  readonly program: string;
  readonly us: number;
  readonly gbs: number;
  readonly tflops: number;
  /** Of the bandwidth or of the arithmetic that the device was measured to do at most, whichever is nearer. */
  readonly share: number;
  /** PyTorch's time. */
  readonly torchUs?: number;
}

/** What main.ts writes. */
export interface OperationsRun {
  readonly date: string;
  readonly device: string;
  readonly peaks: Peaks;
  readonly figures: readonly Figure[];
}

export interface Change {
  readonly name: string;
  readonly before: Figure;
  readonly after: Figure;
  /** The time after over the time before. */
  readonly ratio: number;
  readonly kind: 'faster' | 'slower' | 'same';
}

/**
 * Operations of both runs, the most slowed first. A ratio within `tolerance` of 1 is no change.
 * @throws Error where the runs are of different devices, or have no operation in common.
 */
export function compareOperations(before: OperationsRun, after: OperationsRun, tolerance: number): Change[] {
  if (before.device !== after.device)
    throw new Error(`'${before.device}' and '${after.device}' are different devices: their times do not compare`);
  const earlier = new Map(before.figures.map((f) => [f.name, f]));
  const changes = after.figures.flatMap((figure): Change[] => {
    const old = earlier.get(figure.name);
    if (!old) return [];
    const ratio = figure.us / old.us;
    const kind = ratio > 1 + tolerance ? 'slower' : ratio < 1 - tolerance ? 'faster' : 'same';
    return [{ name: figure.name, before: old, after: figure, ratio, kind }];
  });
  if (changes.length === 0) throw new Error('the runs have no operation in common');
  return changes.sort((a, b) => b.ratio - a.ratio);
}
