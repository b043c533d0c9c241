import { stridedOffsets } from './program.js';

/** How lines are shared out: `lanes` invocations a line, each with up to `perLane` of its elements in registers. */
export interface LineCut {
  readonly lanes: number;
  readonly perLane: number;
}

/** Invocations of a workgroup, which takes as many lines as its lanes allow. */
export const LINES_WORKGROUP = 128;

export function linesPerWorkgroup({ lanes }: LineCut): number {
  return LINES_WORKGROUP / lanes;
}

/** Statements that combine what the lanes of a line hold: every lane gets `name`. `memory` is the partial results'. */
export interface Exchange {
  readonly name: string;
  readonly memory: 'first' | 'second';
  /** What this lane brings, an expression. */
  readonly partial: string;
  /** Combines `x` and `y`. */
  readonly combine: (x: string, y: string) => string;
}

export interface LineGroupOptions {
  readonly cut: LineCut;
  readonly rank: number;
  /** Operands with a start and strides of their own lines: `in` gives `in_at`. */
  readonly operands: readonly string[];
  /** Element j of a line, an expression. */
  readonly load: string;
  /** What stands for the elements past the end of a line. */
  readonly neutral: string;
  /** Statements and exchanges between the load and the store; see `each` and `exchange`. */
  readonly statements: string;
  /** Result of element `v` at j, an expression. */
  readonly result: (v: string) => string;
}

function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** `statement` for each element that a lane holds: `v`, whether it is `inside` its line. */
export function each({ perLane }: LineCut, statement: (v: string, inside: string) => string): string {
  return range(perLane)
    .map((e) => `    ${statement(`v${e}`, `inside${e}`)}`)
    .join('\n');
}

/**
 * One barrier: each lane then reads all partial results of its line, a broadcast in workgroup memory. The two memories
 * take turns, so that none is written again before the barrier behind its last read.
 */
export function exchange({ lanes }: LineCut, { name, memory, partial, combine }: Exchange): string {
  return `    ${memory}[thread] = ${partial};
    workgroupBarrier();
    var ${name} = ${memory}[first_lane];
    for (var l = 1u; l < ${lanes}u; l++) { ${name} = ${combine(name, `${memory}[first_lane + l]`)}; }`;
}

/**
 * The entry point of kernels in which some lanes of a workgroup share a line: neighbours read neighbouring elements, and
 * memory is read once and written once.
 */
export function walkLines({ cut, rank, operands, load, neutral, statements, result }: LineGroupOptions): string {
  const { lanes, perLane } = cut;
  const lines = linesPerWorkgroup(cut);
  const elements = range(perLane);
  const offsets = stridedOffsets(
    'i',
    rank,
    'shape',
    [...operands, 'out'].map((o) => ({ variable: `${o}_at`, strides: `${o}_strides`, start: `${o}_start` })),
  );
  return `var<workgroup> first: array<f32, ${LINES_WORKGROUP}>;
var<workgroup> second: array<f32, ${LINES_WORKGROUP}>;
@compute @workgroup_size(${LINES_WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let z = group.z;
  let lines = blocks[z].lines;
  let length = blocks[z].length;
  let lane = thread % ${lanes}u;
  let first_lane = thread - lane;
  let line_groups = (lines + ${lines - 1}u) / ${lines}u;
  for (var g = group.x; g < line_groups; g += groups.x) {
    let line = g * ${lines}u + thread / ${lanes}u;
    // Lanes without a line follow the last one through the barriers and store nothing.
    let i = min(line, lines - 1u);
${offsets}
${elements
  .map(
    (e) => `    let j${e} = lane + ${e * lanes}u;
    let inside${e} = j${e} < length;
    var v${e} = ${neutral};
    if (inside${e}) { let j = j${e}; v${e} = ${load}; }`,
  )
  .join('\n')}
${statements}
    if (line < lines) {
${elements.map((e) => `      if (inside${e}) { let j = j${e}; out[out_at + j] = ${result(`v${e}`)}; }`).join('\n')}
    }
  }
}`;
}
