import { GraphBuilder, tensorOf, type Graph } from '../../runtime/index.js';
import { sizeOf } from '../../runtime/graph/tensor.js';
import type { Random } from './cases.js';

interface RandomValue {
  readonly name: string;
  /** Sizes after the rows. */
  readonly dims: readonly number[];
}

/** The inputs of every random graph: one of rank 2, one of rank 3, both of rows. */
export const RANDOM_INPUTS = { x: [6], y: [2, 3] } as const;

/**
 * A graph of kernels and views at random, rich in what shares memory: concatenations of values and of windows on them,
 * nested ones, values used again after they were concatenated. Every row is computed from that row alone.
 */
export function randomGraph(
  random: Random,
  nodes = 14,
  inputs: Readonly<Record<string, readonly number[]>> = RANDOM_INPUTS,
): Graph {
  const b = new GraphBuilder('random');
  const values: RandomValue[] = Object.entries(inputs).map(([name, dims]) => ({
    name: b.input(name, 'float32', ['n', ...dims]),
    dims,
  }));
  let constants = 0;
  const ints = (...list: number[]): string => b.constant(`k${constants++}`, tensorOf('int64', [list.length], list));
  const floats = (...dims: number[]): string => b.constant(`w${constants++}`, random.floats(dims, -0.7, 0.7));
  const push = (name: string, dims: readonly number[]): void => void values.push({ name, dims });
  const kinds = [
    'Relu',
    'Add',
    'Concat',
    'Concat',
    'Transpose',
    'Reshape',
    'Slice',
    'Split',
    'MatMul',
    'Dense',
    'Dense',
    'Softmax',
    'Mean',
    'Identity',
    'Norm',
    'Pick',
  ] as const;
  for (let i = 0; i < nodes; i++) {
    const v = random.pick(values);
    const axis = random.int(1, v.dims.length);
    const size = v.dims[axis - 1]!;
    const resized = (to: number): number[] => v.dims.map((d, j) => (j === axis - 1 ? to : d));
    const likes = values.filter(
      (o) => o.dims.length === v.dims.length && o.dims.every((d, j) => j === axis - 1 || d === v.dims[j]),
    );
    switch (random.pick(kinds)) {
      case 'Relu':
        push(b.op(random.pick(['Sigmoid', 'Neg']), [v.name]), v.dims);
        break;
      case 'Add': {
        const other = random.pick(values.filter((o) => o.dims.join() === v.dims.join()));
        push(b.op('Add', [v.name, other.name]), v.dims);
        break;
      }
      case 'Concat': {
        const parts = [v, ...Array.from({ length: random.int(0, 2) }, () => random.pick(likes))];
        const total = parts.reduce((n, p) => n + p.dims[axis - 1]!, 0);
        if (total <= 40)
          push(
            b.op(
              'Concat',
              random.shuffled(parts).map((p) => p.name),
              { axis },
            ),
            resized(total),
          );
        break;
      }
      case 'Transpose': {
        const perm = random.shuffled(v.dims.map((_, j) => j + 1));
        push(
          b.op('Transpose', [v.name], { perm: [0, ...perm] }),
          perm.map((p) => v.dims[p - 1]!),
        );
        break;
      }
      case 'Reshape': {
        const total = sizeOf(v.dims);
        const dims = v.dims.length === 1 && total % 2 === 0 ? [2, total / 2] : [total];
        push(b.op('Reshape', [v.name, ints(0, ...dims)]), dims);
        break;
      }
      case 'Slice':
        if (size > 1) push(b.op('Slice', [v.name, ints(1), ints(size), ints(axis), ints(1)]), resized(size - 1));
        break;
      case 'Split':
        if (size > 1) {
          const outputs = [`s${i}a`, `s${i}b`];
          b.op('Split', [v.name, ints(1, size - 1)], { axis }, { outputs });
          push(outputs[0]!, resized(1));
          push(outputs[1]!, resized(size - 1));
        }
        break;
      case 'MatMul':
        push(b.op('MatMul', [v.name, floats(v.dims.at(-1)!, 3)]), [...v.dims.slice(0, -1), 3]);
        break;
      case 'Dense': {
        // What products finish with in one kernel, in any order and with values that others use too.
        const width = v.dims.at(-1)!;
        let value = b.op('MatMul', [v.name, floats(width, width)]);
        if (random.next() < 0.3) push(value, v.dims);
        const like = values.filter((o) => o.dims.join() === v.dims.join());
        for (let step = random.int(1, 3); step > 0; step--) {
          const other = random.pick(['bias', 'residual', 'activation'] as const);
          if (other === 'bias') value = b.op('Add', random.shuffled([value, floats(width)]));
          else if (other === 'residual') value = b.op('Add', random.shuffled([value, random.pick(like).name]));
          else value = b.op(random.pick(['Relu', 'Sigmoid', 'Tanh', 'LeakyRelu']), [value]);
        }
        push(value, v.dims);
        break;
      }
      case 'Softmax':
        push(b.op('Softmax', [v.name], { axis }), v.dims);
        break;
      case 'Mean':
        push(b.op('ReduceMean', [v.name], { axes: [axis] }), resized(1));
        break;
      case 'Identity':
        push(b.op('Identity', [v.name]), v.dims);
        break;
      case 'Norm':
        push(b.op('LayerNormalization', [v.name, floats(v.dims.at(-1)!)], { epsilon: 0.1 }), v.dims);
        break;
      case 'Pick':
        if (v.dims.length > 1)
          push(
            b.op('Gather', [v.name, b.constant(`at${i}`, tensorOf('int64', [], [-1]))], { axis }),
            v.dims.filter((_, j) => j !== axis - 1),
          );
    }
  }
  // The last values, and some from the middle that later nodes go on using.
  const outputs = new Set([...values.slice(-3), random.pick(values)]);
  for (const { name } of outputs) b.output(name, 'float32');
  return b.build();
}
