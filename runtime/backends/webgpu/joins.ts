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
  /** The same at many rows, which says how wide it is beside others. */
  readonly width: number;
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
 * All slices get the workgroups of the widest, and those that a part does not need end at once: 0.7 us a thousand on an
 * H100, where a dispatch that is saved is worth 4 to 5 us (docs/performance.md).
 */
const MOST_IDLE_WORKGROUPS = 2048;
/** Most slices that one slice of a wide part is spread over, so that it is about as wide as the narrowest part beside it. */
const MOST_SHARES = 32;

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
  return sets.filter((set) => set.length > 1).map(spread);
}

function fits(set: readonly Candidate[], candidate: Candidate, which: SideBySide): boolean {
  const [widest] = set;
  if (set.length === MOST_PARTS) return false;
  if (workgroupSizeOf(widest!.part.program) !== workgroupSizeOf(candidate.part.program)) return false;
  return which === 'all' || idleWorkgroups(spread([...set, candidate])) <= MOST_IDLE_WORKGROUPS;
}

/** The candidates, wide ones spread over several slices. How wide they are at many rows decides, for programs are compiled at load. */
function spread(set: readonly Candidate[]): Candidate[] {
  const narrowest = Math.min(...set.map(({ width }) => Math.max(1, width)));
  return set.map((candidate) => {
    const wider = Math.max(1, candidate.width / narrowest);
    const shares = Math.min(MOST_SHARES, 2 ** Math.floor(Math.log2(wider)));
    return { ...candidate, part: { ...candidate.part, shares } };
  });
}

function idleWorkgroups(set: readonly Candidate[]): number {
  const x = joinedWidth(set);
  return set.reduce((n, { x: own, part: { slices, shares = 1 } }) => n + (x * shares - own) * slices, 0);
}

/** Workgroups in x of a dispatch of all of them. */
export function joinedWidth(set: readonly Candidate[]): number {
  return Math.max(...set.map(({ x, part: { shares = 1 } }) => Math.ceil(x / shares)));
}

/** Names a set of candidates: the same groups with the same programs share one joined program. */
export function joinKey(set: readonly Candidate[]): string {
  return set.map(({ group, choice }) => `${group}:${choice}`).join(' ');
}

export interface Join {
  readonly program: JoinedProgram;
  readonly groups: readonly number[];
}

/** Joins of those of the set that go together, each with the first that it can: two at least. */
export function joins(set: readonly Candidate[], mostStorage: number): Join[] {
  const found: { readonly taken: Candidate[]; program?: JoinedProgram }[] = [];
  for (const candidate of set) {
    const isTaken = found.some((other) => {
      const program = sideBySide([...other.taken, candidate].map(({ part }) => part));
      if (!program || program.storage.length > mostStorage) return false;
      other.taken.push(candidate);
      other.program = program;
      return true;
    });
    if (!isTaken) found.push({ taken: [candidate] });
  }
  return found.flatMap(({ taken, program }) => (program ? [{ program, groups: taken.map(({ group }) => group) }] : []));
}
