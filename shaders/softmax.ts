import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { linesProgram } from './lines.js';
import type { WebGpuProgram } from './program.js';

/** The exponentials over their sum, their logarithms, or 1 at the first largest element and 0 elsewhere. */
export type SoftmaxKind = 'Softmax' | 'LogSoftmax' | 'Hardmax';

export interface SoftmaxOptions {
  readonly kind: SoftmaxKind;
  readonly rank: number;
  readonly workgroupSize: number;
}

/** Softmax and its kin along one axis; one invocation a line, three passes: maximum, sum of exponentials, result. */
export function softmax({ kind, rank, workgroupSize }: SoftmaxOptions): WebGpuProgram {
  const body = wgsl`
#if ${kind === 'Hardmax'}
    var best = 0u;
    for (var j = 1u; j < length; j++) {
      if (data[in_at + j * in_step] > data[in_at + best * in_step]) { best = j; }
    }
    for (var j = 0u; j < length; j++) { out[out_at + j * out_step] = select(0.0, 1.0, j == best); }
#else
    var largest = data[in_at];
    for (var j = 1u; j < length; j++) { largest = max(largest, data[in_at + j * in_step]); }
    var sum = 0.0;
    for (var j = 0u; j < length; j++) { sum += exp(data[in_at + j * in_step] - largest); }
#if ${kind === 'LogSoftmax'}
    // The largest is taken off first: beside large inputs the logarithm would be rounded away.
    let shift = log(sum);
    for (var j = 0u; j < length; j++) { out[out_at + j * out_step] = data[in_at + j * in_step] - largest - shift; }
#else
    let scale = 1.0 / sum;
    for (var j = 0u; j < length; j++) { out[out_at + j * out_step] = exp(data[in_at + j * in_step] - largest) * scale; }
#endif
#endif`;
  return linesProgram({ key: `${kind}_f32`, element: 'f32', body, rank, workgroupSize });
}
