import { linesPerWorkgroup, type LineCut } from '../../shaders/line_groups.js';
import { flatWorkgroupSize, type WebGpuProgram } from '../../shaders/program.js';
import type { DeviceCaps, Step } from '../compile/kernel.js';
import { collapse, nonEmpty, type View } from '../compile/view.js';
import { mul, product, type Dim } from '../graph/dim.js';
import { flatWorkgroups, trafficBytes } from './elementwise/kernel.js';

export interface LinesCall {
  readonly kernel: string;
  readonly view: View;
  readonly output: View;
  readonly axis: number;
  /** Scalar operations an element. */
  readonly operations: number;
  /** The program for lines counted by `rank` dimensions; see shaders/lines.ts. */
  program(rank: number, workgroupSize: number): WebGpuProgram;
  /** The program of dense lines whose lanes share a line, where there is one. */
  together?(rank: number, cut: LineCut): WebGpuProgram;
}

/** Elements that a lane takes before more lanes join, and the most lanes a line has. */
const PER_LANE = 8;
const [FEWEST_LANES, MOST_LANES] = [8, 32];
const [SHORTEST_LINE, LONGEST_LINE] = [9, 1024];

/**
 * How lanes share lines of `length` elements that lie together; undefined where one invocation a line does better. A
 * software adapter pays for the barriers and gains nothing from neighbours that read together.
 */
export function lineCut(length: Dim, caps: DeviceCaps): LineCut | undefined {
  if (caps.software || typeof length !== 'number' || length < SHORTEST_LINE || length > LONGEST_LINE) return undefined;
  let lanes = FEWEST_LANES;
  while (lanes < MOST_LANES && lanes * PER_LANE < length) lanes *= 2;
  return { lanes, perLane: Math.ceil(length / lanes) };
}

/** The step of a kernel that works along one axis, both operands strided. */
export function linesStep({
  kernel,
  view,
  output,
  axis,
  operations,
  program,
  together,
}: LinesCall): Omit<Step, 'node'> {
  const without = <T>(list: readonly T[]): T[] => list.toSpliced(axis, 1);
  const space = collapse({ shape: without(view.shape), strides: [without(view.strides), without(output.strides)] });
  const lines = product(without(view.shape));
  return {
    kernel,
    operands: [
      { view, access: 'read' },
      { view: output, access: 'write' },
    ],
    cost: { operations: mul(product(view.shape), operations), bytes: trafficBytes([view, output]) },
    bound: 'memory',
    detail: `length=${view.shape[axis]}`,
    webgpu(caps) {
      const workgroupSize = flatWorkgroupSize(caps.maxWorkgroupInvocations);
      const rank = Math.max(1, space.shape.length);
      const isDense = view.strides[axis] === 1 && output.strides[axis] === 1;
      const cut = together && isDense ? lineCut(view.shape[axis]!, caps) : undefined;
      return {
        program: cut ? together!(rank, cut) : program(rank, workgroupSize),
        dispatch: {
          parameters: {
            lines,
            length: view.shape[axis]!,
            in_start: { start: view },
            in_step: view.strides[axis]!,
            out_start: { start: output },
            out_step: output.strides[axis]!,
            shape: nonEmpty(space.shape, 1),
            in_strides: nonEmpty(space.strides[0]!, 0),
            out_strides: nonEmpty(space.strides[1]!, 0),
          },
          workgroups: flatWorkgroups(
            lines,
            cut ? linesPerWorkgroup(cut) : workgroupSize,
            caps.maxWorkgroupsPerDimension,
          ),
        },
      };
    },
  };
}
