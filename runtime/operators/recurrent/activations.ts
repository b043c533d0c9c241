import type { Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';

/** Adds a function of `value` to a node's expansion. */
export type Activation = (scope: Scope, value: string) => string;

interface Kind {
  readonly alpha?: number;
  readonly beta?: number;
  readonly apply: (scope: Scope, value: string, alpha: number, beta: number) => string;
}

const scaled = (scope: Scope, value: string, by: number): string =>
  scope.add('Mul', [value, scope.scalar(scope.type(value).dtype, by)]);

const KINDS: Readonly<Record<string, Kind>> = {
  relu: { apply: (s, x) => s.add('Relu', [x]) },
  tanh: { apply: (s, x) => s.add('Tanh', [x]) },
  sigmoid: { apply: (s, x) => s.add('Sigmoid', [x]) },
  softsign: { apply: (s, x) => s.add('Softsign', [x]) },
  softplus: { apply: (s, x) => s.add('Softplus', [x]) },
  leakyrelu: { alpha: 0.01, apply: (s, x, alpha) => s.add('LeakyRelu', [x], { alpha }) },
  thresholdedrelu: { alpha: 1, apply: (s, x, alpha) => s.add('ThresholdedRelu', [x], { alpha }) },
  elu: { alpha: 1, apply: (s, x, alpha) => s.add('Elu', [x], { alpha }) },
  hardsigmoid: { alpha: 0.2, beta: 0.5, apply: (s, x, alpha, beta) => s.add('HardSigmoid', [x], { alpha, beta }) },
  scaledtanh: {
    alpha: 1,
    beta: 1,
    apply: (s, x, alpha, beta) => scaled(s, s.add('Tanh', [scaled(s, x, beta)]), alpha),
  },
  affine: {
    alpha: 1,
    beta: 0,
    apply: (s, x, alpha, beta) => s.add('Add', [scaled(s, x, alpha), s.scalar(s.type(x).dtype, beta)]),
  },
};

/**
 * The functions of each direction, from the attributes that recurrent operators share. `activation_alpha` and
 * `activation_beta` are for those that take one, in order.
 */
export function activationsOf(context: NodeContext, defaults: readonly string[], directions: number): Activation[][] {
  const declared = context.node.attributes['activations'];
  const names = Array.isArray(declared) ? (declared as readonly string[]) : undefined;
  const expected = defaults.length * directions;
  if (names && names.length !== expected)
    throw context.invalid(`${names.length} activations, expected ${expected}: ${defaults.length} a direction`);
  const alphas = [...(context.attributes.numbers('activation_alpha') ?? [])];
  const betas = [...(context.attributes.numbers('activation_beta') ?? [])];
  const clip = context.attributes.has('clip') ? context.attributes.number('clip', 0) : undefined;
  const all = Array.from({ length: expected }, (_, i): Activation => {
    const name = names?.[i] ?? defaults[i % defaults.length]!;
    const kind = KINDS[name.toLowerCase()];
    if (!kind) throw context.unsupported(`activation '${name}'`);
    const alpha = kind.alpha === undefined ? 0 : (alphas.shift() ?? kind.alpha);
    const beta = kind.beta === undefined ? 0 : (betas.shift() ?? kind.beta);
    return (scope, value) => {
      const { dtype } = scope.type(value);
      const limited =
        clip === undefined ? value : scope.add('Clip', [value, scope.scalar(dtype, -clip), scope.scalar(dtype, clip)]);
      return kind.apply(scope, limited, alpha, beta);
    };
  });
  return Array.from({ length: directions }, (_, d) => all.slice(d * defaults.length, (d + 1) * defaults.length));
}
