import type { Bound } from '../../compile/kernel.js';
import { sideBySide, workgroupSizeOf, type JoinedProgram, type Part } from '../../../shaders/side_by_side.js';

/** A group's dispatch at some sizes, as far as joining it to others goes. */
export interface Candidate {
  /** Index of the group. */
  readonly group: number;
  /** Which of its programs runs: -1 the first, else an alternative. */
  readonly choice: number;
  /** Workgroups in x, of each slice. */
  readonly x: number;
  readonly bound: Bound;
  readonly part: Part;
}

/**
 * Which kernels of different operators share a dispatch where they are ready together. `memory`: those that are not bound
 * by arithmetic. `all`: any, for measuring what that costs. `none`: not one.
 */
export type SideBySide = 'memory' | 'all' | 'none';

/** Uniform bindings, one a part: fewer than every adapter takes, for windows of joined programs add up. */
const MOST_PARTS = 8;
/**
 * All parts get the workgroups of the largest, and those that a part does not need end at once: 0.7 us a thousand on an
 * H100, where a dispatch that is saved is worth 4 to 5 us (docs/performance.md).
 */
const MOST_IDLE_WORKGROUPS = 2048;

/**
 * The candidates of one stage, by what they may share a dispatch with: workgroups of one size, and about as many of them.
 * Kernels bound by arithmetic stay alone: beside one, every workgroup takes its registers and workgroup memory, which costs
 * more than the dispatch.
 */
export function joinSets(candidates: readonly Candidate[], which: SideBySide): Candidate[][] {
  if (which === 'none') return [];
  const sets: Candidate[][] = [];
  const apt = candidates.filter(
    ({ x, bound, part }) =>
      x > 0 && (which === 'all' || bound !== 'arithmetic') && workgroupSizeOf(part.program) !== undefined,
  );
  for (const candidate of [...apt].sort((a, b) => b.x - a.x || a.group - b.group)) {
    const set = sets.find((s) => fits(s, candidate, which));
    if (set) set.push(candidate);
    else sets.push([candidate]);
  }
  return sets.filter((set) => set.length > 1);
}

function fits(set: readonly Candidate[], candidate: Candidate, which: SideBySide): boolean {
  const [widest] = set;
  if (set.length === MOST_PARTS) return false;
  if (workgroupSizeOf(widest!.part.program) !== workgroupSizeOf(candidate.part.program)) return false;
  const idle = [...set, candidate].reduce((n, { x, part }) => n + (widest!.x - x) * part.slices, 0);
  return which === 'all' || idle <= MOST_IDLE_WORKGROUPS;
}

/** Names a set of candidates: the same groups with the same programs share one joined program. */
export function joinKey(set: readonly Candidate[]): string {
  return set.map(({ group, choice }) => `${group}:${choice}`).join(' ');
}

export interface Join {
  readonly program: JoinedProgram;
  readonly groups: readonly number[];
}

/** Joins as many of the set as can be, two at least. */
export function join(set: readonly Candidate[], mostStorage: number): Join | undefined {
  let best: Join | undefined;
  const taken: Candidate[] = [];
  for (const candidate of set) {
    const wider = [...taken, candidate];
    const program = sideBySide(wider.map(({ part }) => part));
    if (!program || program.storage.length > mostStorage) continue;
    taken.push(candidate);
    if (taken.length > 1) best = { program, groups: taken.map(({ group }) => group) };
  }
  return best;
}
