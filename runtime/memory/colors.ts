import type { Step } from '../compile/kernel.js';
import type { Storage } from '../compile/view.js';

/**
 * Chooses a buffer for every temporary storage. WebGPU forbids a dispatch to bind one buffer for reading and for
 * writing, or twice for writing, whatever the ranges; so a storage may not share a buffer with anything that a step reads
 * to write it, nor with what the same step writes beside it. A greedy colouring in the order of first writes needs few buffers: chains alternate between two.
 */
export function colorStorages(steps: readonly Step[]): Map<Storage, number> {
  const conflicts = new Map<Storage, Set<Storage>>();
  const conflictsOf = (storage: Storage): Set<Storage> => {
    const set = conflicts.get(storage) ?? new Set();
    conflicts.set(storage, set);
    return set;
  };
  for (const { operands } of steps) {
    const temps = operands.filter((o) => o.view.storage.kind === 'temp');
    for (const write of temps.filter((o) => o.access === 'write')) {
      conflictsOf(write.view.storage);
      for (const other of temps) {
        if (other === write) continue;
        conflictsOf(write.view.storage).add(other.view.storage);
        conflictsOf(other.view.storage).add(write.view.storage);
      }
    }
  }
  const colors = new Map<Storage, number>();
  for (const [storage, rivals] of conflicts) {
    const taken = new Set([...rivals].map((r) => colors.get(r)));
    let color = 0;
    while (taken.has(color)) color++;
    colors.set(storage, color);
  }
  return colors;
}
