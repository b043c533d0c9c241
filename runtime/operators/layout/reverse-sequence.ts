import { coordinates, INDEX_HELPERS } from '../../../shaders/indexed.js';
import { add } from '../../graph/dim.js';
import { checkIndices, indexedStep, wordsOf, zeroOf } from '../indexing/step.js';
import { offsetOf, requireIndices, stridesOf, walk } from '../indexing/gather.js';
import type { NodeContext, Operator } from '../operator.js';

function axesOf(context: NodeContext): { time: number; batch: number } {
  const time = context.attributes.number('time_axis', 0);
  const batch = context.attributes.number('batch_axis', 1);
  if (time + batch !== 1) throw context.invalid(`time_axis ${time} and batch_axis ${batch}`);
  return { time, batch };
}

/** ReverseSequence(input, sequence_lens): the first steps of each sequence backwards, the rest as they are. */
export const REVERSE_SEQUENCE: Operator = {
  type: 'ReverseSequence',
  opsets: [10, 27],
  infer(context) {
    requireIndices(context, 1);
    axesOf(context);
    return [context.input(0)];
  },
  reference(context) {
    const [x, lengths] = [context.input(0), context.input(1)];
    const { time, batch } = axesOf(context.shapes);
    const strides = stridesOf(x.dims);
    const data = new Float64Array(x.data.length);
    walk(x.dims, (at, i) => {
      const length = lengths.data[at[batch]!]!;
      if (length < 0 || length > x.dims[time]!)
        throw context.shapes.invalid(`length ${length} of dimension ${x.dims[time]}`);
      const from = at[time]! < length ? length - 1 - at[time]! : at[time]!;
      data[i] = x.data[offsetOf(at, strides) + (from - at[time]!) * strides[time]!]!;
    });
    return [{ ...x, data }];
  },
  rows(row) {
    const { batch } = axesOf(row.context);
    return batch === 0 && row.carriesRows(0) && row.carriesRows(1) ? 'parallel' : 'mixing';
  },
  lower(lowering) {
    const { time, batch } = axesOf(lowering.context);
    const [data, lengths] = [lowering.view(0), lowering.view(1)];
    const size = data.shape[time]!;
    const { code, rowRuns } = checkIndices(lowering, { indices: 1, table: 0, size: add(size, 1), fromZero: true });
    const own = coordinates(data.shape.length);
    const first = own.filter((_, d) => d !== batch).map((c) => `${c} == 0u`);
    lowering.emit(
      indexedStep({
        name: 'ReverseSequence',
        variant: `time${time}`,
        reads: { data, lengths },
        writes: { out: lowering.output(0) },
        integers: { size, code, row_runs: rowRuns },
        helpers: INDEX_HELPERS,
        reportsErrors: true,
        body: ({ at }) => `
    let raw = ${wordsOf(lengths)}(${at('lengths', [own[batch]!])});
    let length = place(raw, p.size + 1u);
    if (length == OUTSIDE || bitcast<i32>(raw.y) < 0) {
      if (${first.join(' && ')}) { report(c${batch} / p.row_runs, p.code, c${batch} % p.row_runs, raw); }
      ${at('out', own)} = ${zeroOf(data)};
    } else {
      let step = select(c${time}, length - 1u - c${time}, c${time} < length);
      ${at('out', own)} = ${at(
        'data',
        own.map((c, d) => (d === time ? 'step' : c)),
      )};
    }`,
      }),
    );
  },
};
