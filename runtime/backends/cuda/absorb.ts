import type { KernelTarget, Step } from '../../compile/kernel.js';
import type { Program } from '../../compile/lower.js';
import type { Storage } from '../../compile/view.js';

/** Steps by the storages that they touch in a way. */
function stepsBy(steps: readonly Step[], access: 'read' | 'write'): Map<Storage, Set<Step>> {
  const by = new Map<Storage, Set<Step>>();
  for (const step of steps) {
    for (const { view, access: own } of step.operands) {
      if (own !== access) continue;
      const touching = by.get(view.storage) ?? new Set();
      by.set(view.storage, touching.add(step));
    }
  }
  return by;
}

/**
 * The steps, where one that alone reads what lookups write does them itself if its kernel can: what they would write never
 * lies in memory.
 */
export function absorbLookups({ steps, outputs }: Program, target: KernelTarget): readonly Step[] {
  const [readers, writers] = [stepsBy(steps, 'read'), stepsBy(steps, 'write')];
  const kept = new Set(outputs.flatMap((output) => (output.kind === 'device' ? [output.view.storage] : [])));
  const gone = new Set<Step>();
  const changed = new Map<Step, Step>();
  for (const step of steps) {
    const storage = step.operands[0]?.view.storage;
    if (!step.absorb || !storage || kept.has(storage) || readers.get(storage)!.size > 1) continue;
    const lookups = [...(writers.get(storage) ?? [])].filter(({ lookup }) => lookup !== undefined);
    if (lookups.length === 0) continue;
    const absorbing = step.absorb(
      lookups.map(({ lookup }) => lookup!),
      target,
    );
    if (!absorbing) continue;
    const { kernel, operands, cost } = absorbing;
    changed.set(step, { ...step, operands, cost, webgpu: () => kernel, cuda: () => kernel });
    for (const lookup of lookups) gone.add(lookup);
  }
  return steps.filter((step) => !gone.has(step)).map((step) => changed.get(step) ?? step);
}
