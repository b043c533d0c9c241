import { absorbLookups } from './absorb.js';
import type { KernelTarget, Repacked, Step } from '../../compile/kernel.js';
import type { Weight } from '../../compile/lower.js';
import { roundToTf32 } from '../../compile/tf32.js';
import type { Plan } from '../../compile/plan.js';
import type { Storage } from '../../compile/view.js';
import { readNumber } from '../../graph/dtype.js';
import { sizeOf, type Tensor } from '../../graph/tensor.js';

/** The elements of `from`, which lies in `tensor`, as `view` has them. */
function repacked({ from, view, rounds }: Repacked, { dtype, data }: Tensor): Tensor {
  const packed = new Float32Array(view.storage.size as number);
  const shape = from.shape as readonly number[];
  const [read, written] = [from.strides, view.strides] as [readonly number[], readonly number[]];
  const index = shape.map(() => 0);
  for (let count = sizeOf(shape); count > 0; count--) {
    let [source, target] = [from.offset as number, view.offset as number];
    for (let d = 0; d < shape.length; d++) {
      source += index[d]! * read[d]!;
      target += index[d]! * written[d]!;
    }
    packed[target] = readNumber(dtype, data, source);
    for (let d = shape.length - 1; d >= 0 && ++index[d]! === shape[d]!; d--) index[d] = 0;
  }
  if (rounds) roundToTf32(packed);
  return { dtype: 'float32', dims: [packed.length], data: packed };
}

/**
 * The plan with the kernels that CUDA runs, and the weights as these want them: a weight that no kernel reads as it was is
 * left out.
 */
export function repack(plan: Plan, target: KernelTarget): Plan {
  const { program } = plan;
  const held = new Map(program.weights.map((weight) => [weight.storage, weight]));
  const made: Weight[] = [];
  const steps = absorbLookups(program, target).map((step): Step => {
    const kernel = step.cuda?.(target) ?? step.webgpu(target);
    const chosen = { webgpu: () => kernel, cuda: () => kernel };
    const { repacked: wanted } = kernel;
    if (!wanted) return { ...step, ...chosen };
    const { tensor, value } = held.get(wanted.from.storage)!;
    made.push({ storage: wanted.view.storage, tensor: repacked(wanted, tensor), value });
    const operands = step.operands.map((operand, i) =>
      i === wanted.operand ? { view: wanted.view, access: operand.access } : operand,
    );
    return { ...step, ...chosen, operands };
  });
  const read = new Set<Storage>();
  for (const { operands } of steps) for (const { view } of operands) read.add(view.storage);
  for (const output of program.outputs) if (output.kind === 'device') read.add(output.view.storage);
  const weights = [...program.weights.filter(({ storage }) => read.has(storage)), ...made];
  return { ...plan, program: { ...program, steps, weights } };
}
