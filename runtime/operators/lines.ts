import { flatWorkgroupSize, type WebGpuProgram } from '../../shaders/program.js';
import type { Step } from '../compile/kernel.js';
import { collapse, nonEmpty, type View } from '../compile/view.js';
import { mul, product } from '../graph/dim.js';
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
}

/** The step of a kernel that works along one axis, a line an invocation, both operands strided. */
export function linesStep({ kernel, view, output, axis, operations, program }: LinesCall): Omit<Step, 'node'> {
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
      return {
        program: program(Math.max(1, space.shape.length), workgroupSize),
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
          workgroups: flatWorkgroups(lines, workgroupSize, caps.maxWorkgroupsPerDimension),
        },
      };
    },
  };
}
