import type { KernelTarget, LibraryProduct } from '../../compile/kernel.js';
import { isAligned, type View } from '../../compile/view.js';
import { equal } from '../../graph/dim.js';
import type { MatMulCall } from './kernel.js';

/** Fewest weights of a product that is worth asking a library for. */
const FEWEST_WEIGHTS = 256 * 512;

/** The matrix as rows of elements that lie together, on multiples of 4 elements: how far apart they are. */
function pitchOf(view: View, row: number, column: number): number | undefined {
  const pitch = view.strides[row]!;
  const isPlain = equal(view.strides[column]!, 1) && isAligned(view, [row]);
  return isPlain && typeof pitch === 'number' && pitch >= (view.shape[column] as number) ? pitch : undefined;
}

/**
 * The product as a library makes it: one matrix with another of known size, in float32, and with no more behind it than a
 * line of bias and ReLU. Undefined where it is more than that, or too small, or of float16, for which operands would have to lie
 * in memory as that.
 * @param weight the second matrix as it lies on the device.
 */
export function libraryProduct(call: MatMulCall, weight: View, target: KernelTarget): LibraryProduct | undefined {
  const { a, output, bias, modulator, picks, others, finish, alpha, beta } = call;
  const [outer, inner, m, n] = output.shape;
  const k = a.shape[3];
  if (target.products === 'float16') return undefined;
  if (outer !== 1 || inner !== 1 || typeof n !== 'number' || typeof k !== 'number') return undefined;
  if (n * k < FEWEST_WEIGHTS || modulator || picks || others.length > 0) return undefined;
  if (alpha !== 1 || (bias && beta !== 1) || (finish && finish.name !== 'Relu')) return undefined;
  if ([a, weight, output].some(({ storage }) => storage.type !== 'f32')) return undefined;
  if (bias && !(equal(bias.strides[2]!, 0) && equal(bias.strides[3]!, 1) && isAligned(bias, []))) return undefined;
  const across = pitchOf(weight, 2, 3);
  const [aPitch, bPitch, outPitch] = [pitchOf(a, 2, 3), across ?? pitchOf(weight, 3, 2), pitchOf(output, 2, 3)];
  if (aPitch === undefined || bPitch === undefined || outPitch === undefined) return undefined;
  return {
    m: m!,
    n,
    k,
    aPitch,
    bPitch,
    outPitch,
    turned: across === undefined,
    hasBias: bias !== undefined,
    relu: finish !== undefined,
    tf32: target.products === 'tf32',
  };
}
