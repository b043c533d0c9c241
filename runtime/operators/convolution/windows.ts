import { add, ceilDivide, compare, floorDivide, maximum, mul, shapeText, sub, type Dim } from '../../graph/dim.js';
import type { NodeContext } from '../operator.js';

/** The windows of one spatial axis. */
export interface Window {
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  /** Elements added before and after the axis, so that every window lies within. */
  readonly before: Dim;
  readonly after: Dim;
  /** Of `after`, what only rounding the number of windows up asks for. */
  readonly beyond: Dim;
  readonly input: Dim;
  readonly count: Dim;
}

/** How far a window reaches from its first element to its last. */
function reach(size: number, dilation: number): number {
  return dilation * (size - 1) + 1;
}

/** How many windows fit into `length` elements. */
export function windowCount(length: Dim, window: Pick<Window, 'size' | 'stride' | 'dilation'>, roundsUp = false): Dim {
  const span = sub(length, reach(window.size, window.dilation));
  return add((roundsUp ? ceilDivide : floorDivide)(span, window.stride), 1);
}

/** The windows of every axis after the first two, from the attributes that convolutions and pools share. */
export function windowsOf(context: NodeContext, kernel: readonly number[]): Window[] {
  const { attributes } = context;
  const { shape } = context.input(0);
  const rank = kernel.length;
  if (shape.length !== rank + 2)
    throw context.invalid(`a kernel of ${rank} dimensions for ${shapeText(shape)}, expected rank ${rank + 2}`);
  const list = (name: string, length: number, fill: number): readonly number[] => {
    const values = attributes.numbers(name) ?? Array.from({ length }, () => fill);
    if (values.length !== length)
      throw context.invalid(`attribute '${name}' has ${values.length} numbers, expected ${length}`);
    return values;
  };
  const [strides, dilations, pads] = [list('strides', rank, 1), list('dilations', rank, 1), list('pads', 2 * rank, 0)];
  if ([...strides, ...dilations, ...kernel].some((v) => v < 1))
    throw context.invalid('sizes, strides and dilations of a kernel have to be at least 1');
  const auto = attributes.string('auto_pad', 'NOTSET');
  const roundsUp = attributes.number('ceil_mode', 0) !== 0;
  return kernel.map((size, i): Window => {
    const input = shape[i + 2]!;
    const window = { size, stride: strides[i]!, dilation: dilations[i]!, input };
    if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
      const count = ceilDivide(input, window.stride);
      const total = maximum(sub(add(mul(sub(count, 1), window.stride), reach(size, window.dilation)), input), 0);
      const less = floorDivide(total, 2);
      const [before, after] = auto === 'SAME_UPPER' ? [less, sub(total, less)] : [sub(total, less), less];
      return { ...window, count, before, after, beyond: 0 };
    }
    if (auto !== 'NOTSET' && auto !== 'VALID') throw context.invalid(`auto_pad '${auto}'`);
    const [before, after] = auto === 'VALID' ? [0, 0] : [pads[i]!, pads[i + rank]!];
    const padded = add(input, before + after);
    let count = windowCount(padded, window, roundsUp);
    if (compare(count, 0) === -1 || count === 0)
      throw context.invalid(
        `a kernel of ${size} does not fit into dimension ${input} with pads ${before} and ${after}`,
      );
    if (!roundsUp) return { ...window, count, before, after, beyond: 0 };
    // A window that starts in the padding at the end sees nothing, and is left out.
    if (typeof count !== 'number' || typeof input !== 'number')
      throw context.unsupported(`ceil_mode over dimension ${input}, which is no constant`);
    if ((count - 1) * window.stride >= input + before) count--;
    const end = (count - 1) * window.stride + reach(size, window.dilation);
    const beyond = Math.max(0, end - (padded as number));
    return { ...window, count, before, after: after + beyond, beyond };
  });
}
