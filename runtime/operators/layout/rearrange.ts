import { divideExact, equal, mul, type Dim } from '../../graph/dim.js';
import { tensorOf, toFloat64 } from '../../graph/tensor.js';
import type { Composite } from '../composite.js';
import type { NodeContext } from '../operator.js';

/** Sizes of an image batch. */
function image(context: NodeContext): readonly [n: Dim, c: Dim, h: Dim, w: Dim] {
  const { shape } = context.input(0);
  if (shape.length !== 4) throw context.invalid(`expected rank 4, found ${shape.length}`);
  return shape as unknown as readonly [Dim, Dim, Dim, Dim];
}

function divided(context: NodeContext, dim: Dim, by: number): Dim {
  const part = divideExact(dim, by);
  if (part === undefined) throw context.invalid(`dimension ${dim} is no multiple of ${by}`);
  return part;
}

/** DepthToSpace(X, blocksize): channels become blocks of pixels. */
const DEPTH_TO_SPACE: Composite = {
  type: 'DepthToSpace',
  opsets: [7, 27],
  expand(context, scope) {
    const [n, c, h, w] = image(context);
    const b = context.attributes.requiredNumber('blocksize');
    const channels = divided(context, c, b * b);
    const columnsFirst = context.attributes.string('mode', 'DCR') === 'DCR';
    const split = columnsFirst ? [n, b, b, channels, h, w] : [n, channels, b, b, h, w];
    const blocks = scope.reshape(context.node.inputs[0]!, split);
    const moved = scope.transpose(blocks, columnsFirst ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3]);
    scope.output(0, scope.reshape(moved, [n, channels, mul(h, b), mul(w, b)]));
  },
};

/** SpaceToDepth(X, blocksize): blocks of pixels become channels. */
const SPACE_TO_DEPTH: Composite = {
  type: 'SpaceToDepth',
  opsets: [7, 27],
  expand(context, scope) {
    const [n, c, h, w] = image(context);
    const b = context.attributes.requiredNumber('blocksize');
    const [rows, columns] = [divided(context, h, b), divided(context, w, b)];
    const blocks = scope.reshape(context.node.inputs[0]!, [n, c, rows, b, columns, b]);
    scope.output(0, scope.reshape(scope.transpose(blocks, [0, 3, 5, 1, 2, 4]), [n, mul(c, b * b), rows, columns]));
  },
};

/** Compress(X, condition, axis): a gather of the places where a condition known at load holds. */
const COMPRESS: Composite = {
  type: 'Compress',
  note: 'condition known at load',
  opsets: [9, 27],
  expand(context, scope) {
    const condition = context.tensor(1);
    if (!condition)
      throw context.unsupported('the condition is computed from data; the size of the result would depend on it');
    const kept = [...toFloat64(condition)].flatMap((c, i) => (c === 0 ? [] : [i]));
    const indices = scope.constant(tensorOf('int64', [kept.length], kept));
    const [x] = context.node.inputs as [string];
    if (context.attributes.has('axis')) {
      scope.output(0, scope.add('Gather', [x, indices], { axis: context.attributes.requiredNumber('axis') }));
    } else {
      scope.output(0, scope.add('Gather', [scope.add('Reshape', [x, scope.ints(-1)]), indices], { axis: 0 }));
    }
  },
};

/** CenterCropPad(X, shape, axes): cut or padded by zeros to a shape, as much in front as behind. */
const CENTER_CROP_PAD: Composite = {
  type: 'CenterCropPad',
  opsets: [18, 27],
  note: 'shape known at load',
  expand(context, scope) {
    const { dtype, shape } = context.input(0);
    const declared = context.attributes.numbers('axes') ?? shape.map((_, i) => i);
    const axes = declared.map((a) => context.axis(a, shape.length));
    const target = context.requiredElements(1, 'the shape');
    if (target.length !== axes.length) throw context.invalid(`${target.length} sizes for ${axes.length} axes`);
    let [value] = context.node.inputs as [string];
    axes.forEach((axis, i) => {
      const [from, to] = [shape[axis]!, target[i]!];
      if (equal(from, to)) return;
      if (typeof from !== 'number' || typeof to !== 'number')
        throw context.unsupported(`whether ${to} is more than dimension ${from} is not known at load`);
      const before = Math.floor(Math.abs(to - from) / 2);
      value =
        to < from
          ? scope.add('Slice', [value, scope.ints(before), scope.ints(before + to), scope.ints(axis)])
          : scope.add('Pad', [value, scope.ints(before, to - from - before), scope.scalar(dtype, 0), scope.ints(axis)]);
    });
    scope.output(0, value);
  },
};

export const REARRANGING_COMPOSITES: readonly Composite[] = [DEPTH_TO_SPACE, SPACE_TO_DEPTH, COMPRESS, CENTER_CROP_PAD];
