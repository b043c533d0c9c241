import { mul, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { BRAID_DOMAIN, type Scope } from '../composite.js';
import { offsetOf, stridesOf, walk } from '../indexing/gather.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';
import { windowCount, type Window } from './windows.js';

type Unfolded = Pick<Window, 'size' | 'stride' | 'dilation'> & { readonly axis: number };

function windowsOf(context: NodeContext): Unfolded[] {
  const list = (name: string): readonly number[] => context.attributes.numbers(name) ?? [];
  const [axes, sizes, strides, dilations] = ['axes', 'sizes', 'strides', 'dilations'].map(list) as [
    readonly number[],
    readonly number[],
    readonly number[],
    readonly number[],
  ];
  const rank = context.input(0).shape.length;
  return axes.map((axis, i) => ({
    axis: context.axis(axis, rank),
    size: sizes[i]!,
    stride: strides[i] ?? 1,
    dilation: dilations[i] ?? 1,
  }));
}

function shapeOf(shape: readonly Dim[], windows: readonly Unfolded[]): Dim[] {
  const counted = [...shape];
  for (const window of windows) counted[window.axis] = windowCount(shape[window.axis]!, window);
  return [...counted, ...windows.map((w) => w.size)];
}

/** What a step along each dimension of the result is in the input. */
function stridesOfWindows<T>(strides: readonly T[], windows: readonly Unfolded[], times: (s: T, n: number) => T): T[] {
  const stepped = [...strides];
  for (const { axis, stride } of windows) stepped[axis] = times(strides[axis]!, stride);
  return [...stepped, ...windows.map(({ axis, dilation }) => times(strides[axis]!, dilation))];
}

/**
 * Unfold(X, axes, sizes, strides, dilations): every window on the axes, its elements in new dimensions at the end. A view,
 * however much the windows overlap.
 */
export const UNFOLD: Operator = {
  type: 'Unfold',
  aliases: 'always',
  domain: BRAID_DOMAIN,
  opsets: [1, 1],
  infer(context) {
    const { dtype, shape } = context.input(0);
    return [{ dtype, shape: shapeOf(shape, windowsOf(context)) }];
  },
  reference(context) {
    const x = context.input(0);
    const windows = windowsOf(context.shapes);
    const dims = shapeOf(x.dims, windows) as number[];
    const strides = stridesOfWindows(stridesOf(x.dims), windows, (s, n) => s * n);
    const data = new Float64Array(sizeOf(dims));
    walk(dims, (at, i) => {
      data[i] = x.data[offsetOf(at, strides)]!;
    });
    return [{ dtype: x.dtype, dims, data }];
  },
  rows: (row) => (windowsOf(row.context).some((w) => mixesAlong(row, 0, w.axis) === 'mixing') ? 'mixing' : 'parallel'),
  lower(lowering) {
    const view = lowering.view(0);
    const windows = windowsOf(lowering.context);
    const strides = stridesOfWindows(view.strides, windows, (s, n) => mul(s, n));
    lowering.alias(0, { ...view, shape: shapeOf(view.shape, windows), strides });
  },
};

/** Adds the windows of `value` on these axes to `scope`. */
export function addUnfold(scope: Scope, value: string, axes: readonly number[], windows: readonly Window[]): string {
  return scope.add(
    'Unfold',
    [value],
    {
      axes,
      sizes: windows.map((w) => w.size),
      strides: windows.map((w) => w.stride),
      dilations: windows.map((w) => w.dilation),
    },
    { domain: BRAID_DOMAIN },
  );
}

/** Adds what lies around `value` on these axes, of value `fill`. */
export function addPads(
  scope: Scope,
  value: string,
  axes: readonly number[],
  windows: readonly Window[],
  fill = 0,
): string {
  if (windows.every((w) => w.before === 0 && w.after === 0)) return value;
  const pads = scope.ints(...windows.map((w) => w.before), ...windows.map((w) => w.after));
  const constant = scope.scalar(scope.type(value).dtype, fill);
  return scope.add('Pad', [value, pads, constant, scope.ints(...axes)]);
}
