import { deviceType } from '../../compile/view.js';
import { equal, product, shapeText, type Dim } from '../../graph/dim.js';
import type { Composite, Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';
import { addPads, addUnfold } from './unfold.js';
import { windowsOf } from './windows.js';

interface Weights {
  /** Of the kernel, spatial. */
  readonly kernel: readonly number[];
  readonly groups: number;
  readonly filters: number;
  /** Channels that a filter reads. */
  readonly channels: number;
}

function weightsOf(context: NodeContext): Weights {
  const { shape, dtype } = context.input(1);
  const x = context.input(0);
  if (deviceType(x.dtype) !== 'f32') throw context.unsupported(`no kernel for ${x.dtype}`);
  if (x.dtype !== dtype) throw context.invalid(`inputs of different types ${x.dtype} and ${dtype}`);
  if (shape.length < 3) throw context.invalid(`weights ${shapeText(shape)}, expected [filters, channels, kernel..]`);
  if (shape.some((d) => typeof d !== 'number')) throw context.unsupported(`weights of free shape ${shapeText(shape)}`);
  const [filters, channels, ...kernel] = shape as readonly number[] as [number, number, ...number[]];
  const groups = context.attributes.number('group', 1);
  if (!equal(x.shape[1]!, groups * channels))
    throw context.invalid(
      `${x.shape[1]} channels for ${groups} groups of weights ${shapeText(shape)}, expected ${groups * channels}`,
    );
  if (filters % groups !== 0) throw context.invalid(`${filters} filters do not divide into ${groups} groups`);
  const declared = context.attributes.numbers('kernel_shape');
  if (declared && declared.join() !== kernel.join())
    throw context.invalid(`kernel_shape [${declared.join(', ')}] for weights ${shapeText(shape)}`);
  return { kernel, groups, filters, channels };
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

/**
 * The product of each place's window with the filters: [n, places.., filters]. Channels come last, where the windows of a
 * one-dimensional kernel are rows of a matrix that need no copy.
 */
function multiplied(context: NodeContext, scope: Scope): string {
  const [x, w] = context.node.inputs as [string, string];
  const { kernel, groups, filters, channels } = weightsOf(context);
  const windows = windowsOf(context, kernel);
  const spatial = kernel.length;
  const axes = range(1, spatial);
  const last = scope.transpose(x, [0, ...range(2, spatial), 1]);
  const padded = addPads(scope, last, axes, windows);
  const [n] = scope.shape(x) as [Dim];
  const places = windows.map((p) => p.count);
  const taps = kernel.reduce((a, b) => a * b, 1) * channels;
  const isPlain = windows.every((p) => p.size === 1 && p.stride === 1);
  // [n, places.., channels, kernel..]
  const unfolded = isPlain ? padded : addUnfold(scope, padded, axes, windows);
  if (groups === 1) {
    const inner = isPlain ? [spatial + 1] : [...range(spatial + 2, spatial), spatial + 1];
    const rows = scope.reshape(scope.transpose(unfolded, [0, ...axes, ...inner]), [n, ...places, taps]);
    const matrix = scope.reshape(scope.transpose(w, [...range(2, spatial), 1, 0]), [taps, filters]);
    return scope.add('MatMul', [rows, matrix]);
  }
  // [n, places.., groups, channels, kernel..] with the groups in front of the places: a product each.
  const kernelDims = isPlain ? [] : kernel;
  const split = scope.reshape(unfolded, [n, ...places, groups, channels, ...kernelDims]);
  const order = [0, spatial + 1, ...axes, ...range(spatial + 3, kernelDims.length), spatial + 2];
  const perGroup = filters / groups;
  const area = product(places);
  const rows = scope.reshape(scope.transpose(split, order), [n, groups, area, taps]);
  const grouped = scope.reshape(w, [groups, perGroup, channels, ...kernel]);
  const matrix = scope.reshape(scope.transpose(grouped, [0, ...range(3, spatial), 2, 1]), [groups, taps, perGroup]);
  const joined = scope.transpose(scope.add('MatMul', [rows, matrix]), [0, 2, 1, 3]);
  return scope.reshape(joined, [n, ...places, filters]);
}

/** Conv(X, W, B): a matrix product over the windows, in one dimension or more. */
export const CONV: Composite = {
  type: 'Conv',
  types: ['f32'],
  note: 'a matrix product over the windows',
  opsets: [7, 27],
  expand(context, scope) {
    let result = multiplied(context, scope);
    const bias = context.node.inputs[2];
    if (bias) {
      const { shape } = context.input(2);
      const { filters } = weightsOf(context);
      if (shape.length !== 1 || shape[0] !== filters)
        throw context.invalid(`bias ${shapeText(shape)} for ${filters} filters`);
      result = scope.add('Add', [result, bias]);
    }
    const rank = scope.shape(result).length;
    scope.output(0, scope.transpose(result, [0, rank - 1, ...range(1, rank - 2)]));
  },
};
