import { deviceType } from '../../compile/view.js';
import { isFloat } from '../../graph/dtype.js';
import { tensorOf } from '../../graph/tensor.js';
import type { Composite, Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';
import { rangeOf } from '../reduce/reducers.js';
import { addPads, addUnfold } from './unfold.js';
import { windowsOf, type Window } from './windows.js';

function poolWindows(context: NodeContext): Window[] {
  const kernel = context.attributes.numbers('kernel_shape');
  if (!kernel) throw context.invalid("attribute 'kernel_shape' is missing");
  if (context.node.outputs[1]) throw context.unsupported('the output of indices');
  return windowsOf(context, kernel);
}

interface Pooled {
  readonly windows: readonly Window[];
  /** `reduction` over each window, [n, channels, places..]. */
  readonly reduce: (reduction: string, x?: string) => string;
}

function pooled(context: NodeContext, scope: Scope, fill: number): Pooled {
  const windows = poolWindows(context);
  const rank = windows.length;
  const axes = windows.map((_, i) => i + 2);
  return {
    windows,
    reduce(reduction, x = context.node.inputs[0]!) {
      const unfolded = addUnfold(scope, addPads(scope, x, axes, windows, fill), axes, windows);
      const inner = scope.ints(...windows.map((_, i) => i + 2 + rank));
      return scope.add(reduction, [unfolded, inner], { keepdims: 0 });
    },
  };
}

/** MaxPool(X): the largest of each window; what lies around counts for nothing. */
const MAX_POOL: Composite = {
  type: 'MaxPool',
  note: 'without the output of indices',
  opsets: [7, 27],
  expand(context, scope) {
    scope.output(0, pooled(context, scope, rangeOf(context.input(0).dtype)[0]).reduce('ReduceMax'));
  },
};

/** How many elements of each window on an axis count: those of the input, and those of the pads where they are included. */
function countsOf(context: NodeContext, window: Window, includesPads: boolean): number[] {
  const { size, stride, dilation, before, after, beyond, input, count } = window;
  if ([before, after, beyond, input, count].some((d) => typeof d !== 'number'))
    throw context.unsupported(`averages at the edges of dimension ${input}, which is no constant`);
  const [pad, length] = [before as number, input as number];
  const end = includesPads ? length + (after as number) - (beyond as number) : length;
  return Array.from(
    { length: count as number },
    (_, place) =>
      Array.from({ length: size }, (_, k) => place * stride + k * dilation - pad).filter(
        (at) => at < end && at >= (includesPads ? -pad : 0),
      ).length,
  );
}

/** AveragePool(X): the mean of each window, over what lies within the input, and the pads if they are to be counted. */
const AVERAGE_POOL: Composite = {
  type: 'AveragePool',
  types: ['f32'],
  opsets: [7, 27],
  expand(context, scope) {
    const { dtype } = context.input(0);
    if (!isFloat(dtype)) throw context.invalid(`an average of ${dtype}`);
    const { windows, reduce } = pooled(context, scope, 0);
    const includesPads = context.attributes.number('count_include_pad', 0) !== 0;
    const isWhole = windows.every((w) => w.beyond === 0 && (includesPads || (w.before === 0 && w.after === 0)));
    if (isWhole) {
      scope.output(0, reduce('ReduceMean'));
      return;
    }
    const counts = windows
      .map((w) => countsOf(context, w, includesPads))
      .reduce((outer, inner) => outer.flatMap((a) => inner.map((b) => a * b)), [1]);
    const dims = windows.map((w) => w.count as number);
    scope.output(0, scope.add('Div', [reduce('ReduceSum'), scope.constant(tensorOf(dtype, dims, counts))]));
  },
};

/** The p-norm of what `reduce` reduces. */
function norm(context: NodeContext, scope: Scope, reduce: (reduction: string, x: string) => string): string {
  const [x] = context.node.inputs as [string];
  const { dtype } = context.input(0);
  if (deviceType(dtype) !== 'f32') throw context.unsupported(`no kernel for ${dtype}`);
  const p = context.attributes.number('p', 2);
  if (p === 1 || p === 2) return reduce(`ReduceL${p}`, x);
  const power = scope.add('Pow', [scope.add('Abs', [x]), scope.scalar(dtype, p)]);
  return scope.add('Pow', [reduce('ReduceSum', power), scope.scalar(dtype, 1 / p)]);
}

const LP_POOL: Composite = {
  type: 'LpPool',
  types: ['f32'],
  opsets: [7, 27],
  expand: (context, scope) => scope.output(0, norm(context, scope, pooled(context, scope, 0).reduce)),
};

/** GlobalLpPool: each channel of each row over all of its places, which stay as 1. */
const GLOBAL_LP_POOL: Composite = {
  type: 'GlobalLpPool',
  types: ['f32'],
  opsets: [7, 27],
  expand(context, scope) {
    const { shape } = context.input(0);
    if (shape.length < 3) throw context.invalid(`input of rank ${shape.length} has no places`);
    const axes = scope.ints(...shape.slice(2).map((_, i) => i + 2));
    scope.output(
      0,
      norm(context, scope, (reduction, x) => scope.add(reduction, [x, axes])),
    );
  },
};

export const POOLS: readonly Composite[] = [MAX_POOL, AVERAGE_POOL, LP_POOL, GLOBAL_LP_POOL];
