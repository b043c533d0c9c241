import type { Plan } from '../../compile/plan.js';
import { deviceBytes, type Storage } from '../../compile/view.js';
import { evaluate, type Bindings } from '../../graph/dim.js';
import { alignUp, planArena, REGION_ALIGNMENT } from '../../memory/arena.js';
import type { DispatchGroup } from './schedule.js';

/** Where every storage of a wave lies, and what that takes. */
export interface WaveLayout {
  /** Rows that fit; waves of fewer rows use the same places. */
  readonly rows: number;
  /** Byte offsets of temporaries in their arena and of inputs in the inputs' buffer. */
  readonly offsets: ReadonlyMap<Storage, number>;
  readonly arenaBytes: readonly number[];
  readonly inputBytes: number;
  readonly outputBytes: number;
}

/** First and last stage that touches each temporary; results live to the end, where they are read back. */
export function lifetimes(plan: Plan, groups: readonly DispatchGroup[]): Map<Storage, { first: number; last: number }> {
  const lives = new Map<Storage, { first: number; last: number }>();
  for (const { steps, stage } of groups) {
    for (const { step } of steps) {
      for (const { view } of step.operands) {
        if (view.storage.kind !== 'temp') continue;
        const life = lives.get(view.storage) ?? { first: stage, last: stage };
        lives.set(view.storage, { first: Math.min(life.first, stage), last: Math.max(life.last, stage) });
      }
    }
  }
  for (const output of plan.program.outputs) {
    if (output.kind !== 'device') continue;
    const life = lives.get(output.view.storage);
    if (life) life.last = Number.POSITIVE_INFINITY;
  }
  return lives;
}

function bytesOf(storage: Storage, bindings: Bindings): number {
  return evaluate(storage.size, bindings) * deviceBytes(storage.type);
}

/** Lays a wave out for the given sizes. */
export function layoutWave(
  plan: Plan,
  lives: ReadonlyMap<Storage, { first: number; last: number }>,
  colors: ReadonlyMap<Storage, number>,
  bindings: Bindings,
): WaveLayout {
  const offsets = new Map<Storage, number>();
  const colorCount = Math.max(-1, ...colors.values()) + 1;
  const arenaBytes = Array.from({ length: colorCount }, (_, color) => {
    const members = [...lives].filter(([storage]) => colors.get(storage) === color);
    const regions = members.map(([storage, { first, last }]) => ({
      bytes: bytesOf(storage, bindings),
      firstStep: first,
      lastStep: last,
    }));
    const arena = planArena(regions);
    members.forEach(([storage], i) => offsets.set(storage, arena.offsets[i]!));
    return arena.bytes;
  });
  let inputBytes = 0;
  for (const { storage } of plan.program.inputs) {
    offsets.set(storage, inputBytes);
    inputBytes += alignUp(bytesOf(storage, bindings), REGION_ALIGNMENT);
  }
  const outputBytes = plan.program.outputs.reduce(
    (sum, o) => sum + (o.kind === 'device' ? alignUp(bytesOf(o.view.storage, bindings), REGION_ALIGNMENT) : 0),
    0,
  );
  const rows = plan.rows === undefined ? 0 : (bindings.get(plan.rows) ?? 0);
  return { rows, offsets, arenaBytes, inputBytes, outputBytes };
}

/** The largest number of rows up to `most` whose layout `fits`; 1 where even a single row does not. */
export function mostRows(most: number, fits: (rows: number) => boolean): number {
  let low = 1;
  let high = most;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}
