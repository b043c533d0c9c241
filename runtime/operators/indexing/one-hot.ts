import { coordinates, INDEX_HELPERS } from '../../../shaders/indexed.js';
import { deviceType } from '../../compile/view.js';
import { toFloat64 } from '../../graph/tensor.js';
import type { Dim } from '../../graph/dim.js';
import type { NodeContext, Operator } from '../operator.js';
import { walk } from './gather.js';
import { indexedStep } from './step.js';

interface Form {
  readonly axis: number;
  readonly depth: Dim;
  readonly shape: readonly Dim[];
}

function formOf(context: NodeContext): Form {
  const indices = context.input(0).shape;
  const [depth] = context.requiredElements(1, 'the depth');
  if (depth === undefined) throw context.invalid('no depth');
  const rank = indices.length + 1;
  const axis = context.axis(context.attributes.number('axis', -1), rank);
  // A depth that comes as a float counts whole places.
  const whole = typeof depth === 'number' ? Math.trunc(depth) : depth;
  return { axis, depth: whole, shape: [...indices.slice(0, axis), whole, ...indices.slice(axis)] };
}

/** An index of any type as the place along the new axis, or OUTSIDE; not finding one is no error here. */
const PLACES: Readonly<Record<string, string>> = {
  i64: 'place(index, p.depth)',
  i32: 'place(words_i32(index), p.depth)',
  u32: 'place(vec2<u32>(index, 0u), p.depth)',
  f32: 'place(words_i32(i32(index)), p.depth)',
};

/** OneHot(indices, depth, values): values[1] at the index, values[0] elsewhere; indices out of range are nowhere. */
export const ONE_HOT: Operator = {
  type: 'OneHot',
  note: 'depth known at load',
  opsets: [9, 27],
  infer: (context) => [{ dtype: context.input(2).dtype, shape: formOf(context).shape }],
  reference(context) {
    const [indices, values] = [context.input(0), context.input(2)];
    const { axis, depth, shape } = formOf(context.shapes) as { axis: number; depth: number; shape: number[] };
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(values.data[0]!);
    const along = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    walk(indices.dims, (_, i) => {
      const raw = Math.trunc(indices.data[i]!);
      const place = raw < 0 ? raw + depth : raw;
      if (place < 0 || place >= depth) return;
      data[(Math.floor(i / along) * depth + place) * along + (i % along)] = values.data[1]!;
    });
    return [{ dtype: values.dtype, dims: shape, data }];
  },
  rows: ({ context }) => (formOf(context).axis === 0 ? 'mixing' : 'parallel'),
  lower(lowering) {
    const { axis, depth, shape } = formOf(lowering.context);
    const [indices, values] = [lowering.view(0), lowering.view(2)];
    const own = coordinates(shape.length);
    const constant = lowering.context.tensor(2);
    const type = deviceType(indices.dtype);
    lowering.emit(
      indexedStep({
        name: 'OneHot',
        variant: `axis${axis}`,
        reads: { ids: indices, values },
        writes: { out: lowering.output(0) },
        integers: { depth },
        helpers: INDEX_HELPERS,
        detail: constant ? `values=${toFloat64(constant).join(',')}` : '',
        body: ({ at }) => `
    let index = ${at(
      'ids',
      own.filter((_, d) => d !== axis),
    )};
    if (${PLACES[type]} == c${axis}) {
      ${at('out', own)} = ${at('values', ['1u'])};
    } else {
      ${at('out', own)} = ${at('values', ['0u'])};
    }`,
      }),
    );
  },
};
