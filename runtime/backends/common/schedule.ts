import type { Dispatch, Step, StepKernel } from '../../compile/kernel.js';
import type { Storage } from '../../compile/view.js';
import { layoutParameters, type WebGpuProgram } from '../../../shaders/program.js';

/** Steps that run as one dispatch: the same program over the same buffers, one parameter block each. */
export interface DispatchGroup {
  readonly program: WebGpuProgram;
  readonly steps: readonly { readonly step: Step; readonly dispatch: Dispatch }[];
  /** Groups of one stage are ready together: none reads what another of them writes. */
  readonly stage: number;
}

/** Depth of every step in the graph of dependences: one more than the deepest step that wrote what it reads. */
function levelsOf(steps: readonly Step[]): number[] {
  const writtenAt = new Map<Storage, number>();
  return steps.map(({ operands }) => {
    const level =
      1 + Math.max(0, ...operands.filter((o) => o.access === 'read').map((o) => writtenAt.get(o.view.storage) ?? 0));
    for (const { access, view } of operands) {
      if (access === 'write') writtenAt.set(view.storage, Math.max(level, writtenAt.get(view.storage) ?? 0));
    }
    return level;
  });
}

/**
 * Merges steps that are ready together into few dispatches. On Vulkan a dispatch that writes a buffer used before waits
 * for everything before it, so independent steps run side by side only inside one dispatch: those of the same program
 * over the same buffers become its z slices.
 * @param kernelOf the kernel that the device takes for a step.
 * @param bufferKey names the buffer that holds a storage.
 * @param mostBlocks how many parameter blocks, and so steps, a dispatch of the program takes.
 */
export function groupSteps(
  steps: readonly Step[],
  kernelOf: (step: Step) => StepKernel,
  bufferKey: (storage: Storage) => string,
  mostBlocks: (program: WebGpuProgram, step: Step) => number = ({ fields }) => layoutParameters(fields).blocks,
): DispatchGroup[] {
  const levels = levelsOf(steps);
  const groups = new Map<
    string,
    { stage: number; order: number; program: WebGpuProgram; steps: { step: Step; dispatch: Dispatch }[] }
  >();
  steps.forEach((step, order) => {
    const { program, dispatch } = kernelOf(step);
    const buffers = step.operands.map((o) => bufferKey(o.view.storage)).join(',');
    const programs = [program, ...(dispatch.alternatives ?? []).map((a) => a.program)].map((p) => p.key).join('|');
    const base = `${levels[order]} ${programs} ${buffers}`;
    const blocks = mostBlocks(program, step);
    for (let split = 0; ; split++) {
      const key = `${base} ${split}`;
      const group = groups.get(key) ?? { stage: levels[order]!, order, program, steps: [] };
      if (group.steps.length >= blocks) continue;
      group.steps.push({ step, dispatch });
      groups.set(key, group);
      break;
    }
  });
  return [...groups.values()].sort((a, b) => a.stage - b.stage || a.order - b.order);
}
