import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import { each, exchange, walkLines, type LineCut } from './line_groups.js';
import { lineFields, linesProgram } from './lines.js';
import { declareParameters, declareStorage, type WebGpuProgram } from './program.js';

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

/** Softmax or LogSoftmax of dense lines that several lanes share: read once, written once. */
export function softmaxTogether(kind: 'Softmax' | 'LogSoftmax', rank: number, cut: LineCut): WebGpuProgram {
  const fields = lineFields(rank);
  const isLog = kind === 'LogSoftmax';
  // The exponentials of a softmax stay where the elements were.
  const exponential = (v: string, inside: string): string =>
    isLog
      ? `part += select(0.0, exp(${v} - largest), ${inside});`
      : `${v} = select(0.0, exp(${v} - largest), ${inside}); part += ${v};`;
  const source = wgsl`
${declareParameters(fields)}
${declareStorage(1, 'data', 'f32', 'read')}
${declareStorage(2, 'out', 'f32', 'read_write')}
${walkLines({
  cut,
  rank,
  operands: ['in'],
  load: 'data[in_at + j]',
  neutral: '-3.4028234e38',
  statements: `    var most = v0;
${each(cut, (v) => `most = max(most, ${v});`)}
${exchange(cut, { name: 'largest', memory: 'first', partial: 'most', combine: (x, y) => `max(${x}, ${y})` })}
    var part = 0.0;
${each(cut, exponential)}
${exchange(cut, { name: 'sum', memory: 'second', partial: 'part', combine: (x, y) => `${x} + ${y}` })}
    let ${isLog ? 'shift = log(sum)' : 'scale = 1.0 / sum'};`,
  // The largest is taken off first: beside large inputs the logarithm would be rounded away.
  result: (v) => (isLog ? `${v} - largest - shift` : `${v} * scale`),
})}`;
  return { key: `${kind}_f32_r${rank}_l${cut.lanes}x${cut.perLane}`, source, fields, reportsErrors: false };
}
