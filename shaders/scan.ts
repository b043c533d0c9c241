import { linesProgram } from './lines.js';
import { elementWgsl, type ElementType, type WebGpuProgram } from './program.js';

export interface ScanOptions {
  readonly name: string;
  readonly element: ElementType;
  /** Expression for the value before the first element. */
  readonly initial: string;
  /** Expression over the running value `acc` and the element `x`. */
  readonly step: string;
  /** Each result leaves its own element out. */
  readonly exclusive: boolean;
  readonly rank: number;
  readonly workgroupSize: number;
}

/** Running results along one axis; one invocation a line. A line walked from its end has a negative step. */
export function scan(options: ScanOptions): WebGpuProgram {
  const { name, element, initial, step, exclusive, rank, workgroupSize } = options;
  const body = `    var acc: ${elementWgsl(element)} = ${initial};
    for (var j = 0u; j < length; j++) {
      let x = data[in_at + j * in_step];
      let next = ${step};
      out[out_at + j * out_step] = ${exclusive ? 'acc' : 'next'};
      acc = next;
    }`;
  const key = `${name}_${element}${exclusive ? '_exclusive' : ''}`;
  return linesProgram({ key, element, body, rank, workgroupSize });
}
