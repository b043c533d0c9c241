import { GraphBuilder, type Graph } from '../../runtime/index.js';
import { Random } from './cases.js';

export interface PerceptronForm {
  readonly title: string;
  /** Sizes of a row of the input, features last. */
  readonly dims: readonly number[];
  readonly widths: readonly number[];
  readonly product: 'Gemm' | 'Gemm transposed' | 'MatMul';
  readonly activation: 'Relu' | 'LeakyRelu' | 'Sigmoid' | 'none';
  /** What the last layer does beside its own bias. */
  readonly ends: readonly ('activation' | 'residual' | 'gate' | 'norm')[];
}

export function perceptron({ dims, widths, product, activation, ends }: PerceptronForm): Graph {
  const random = new Random();
  const b = new GraphBuilder('perceptron');
  const x = b.input('x', 'float32', ['n', ...dims]);
  const activate = (value: string): string =>
    activation === 'none' ? value : b.op(activation, [value], activation === 'LeakyRelu' ? { alpha: 0.2 } : {});
  let value = x;
  let k = dims.at(-1)!;
  widths.forEach((n, i) => {
    const bias = b.constant(`b${i}`, random.floats([n]));
    const bound = 2 / Math.sqrt(k);
    const floats = (shape: number[]): string => b.constant(`w${i}`, random.floats(shape, -bound, bound));
    if (product === 'MatMul') value = b.op('Add', random.shuffled([b.op('MatMul', [value, floats([k, n])]), bias]));
    else if (product === 'Gemm') value = b.op('Gemm', [value, floats([k, n]), bias], { alpha: 0.5, beta: 2 });
    else value = b.op('Gemm', [value, floats([n, k]), bias], { transB: 1 });
    if (i < widths.length - 1) value = activate(value);
    k = n;
  });
  for (const end of ends) {
    if (end === 'activation') value = activate(value);
    else if (end === 'residual') value = b.op('Add', [value, b.input('r', 'float32', ['n', ...dims.slice(0, -1), k])]);
    else if (end === 'gate') value = b.op('Mul', [value, b.input('g', 'float32', ['n', ...dims.slice(0, -1), k])]);
    else
      value = b.op('LayerNormalization', [
        value,
        b.constant('scale', random.floats([k])),
        b.constant('shift', random.floats([k])),
      ]);
  }
  b.output(value, 'float32');
  return b.build();
}

export const PERCEPTRON_FORMS: readonly PerceptronForm[] = [
  {
    title: 'a tail',
    dims: [10],
    widths: [8, 1],
    product: 'Gemm transposed',
    activation: 'Relu',
    ends: ['activation'],
  },
  {
    title: 'three layers',
    dims: [13],
    widths: [17, 10, 12],
    product: 'Gemm transposed',
    activation: 'Relu',
    ends: [],
  },
  { title: 'odd widths', dims: [7], widths: [5, 3, 2], product: 'Gemm', activation: 'Sigmoid', ends: ['residual'] },
  { title: 'single features', dims: [1], widths: [1, 1], product: 'Gemm', activation: 'LeakyRelu', ends: [] },
  {
    title: 'feed-forward layers of a block',
    dims: [21, 8],
    widths: [18, 8],
    product: 'MatMul',
    activation: 'LeakyRelu',
    ends: ['residual', 'norm'],
  },
  {
    title: 'one layer and a norm',
    dims: [5, 24],
    widths: [28],
    product: 'MatMul',
    activation: 'none',
    ends: ['residual', 'norm'],
  },
  { title: 'a norm of four', dims: [3], widths: [6, 4], product: 'MatMul', activation: 'Relu', ends: ['norm'] },
  {
    title: 'a wide input',
    dims: [300],
    widths: [18, 9],
    product: 'Gemm transposed',
    activation: 'Sigmoid',
    ends: ['gate', 'activation'],
  },
];
