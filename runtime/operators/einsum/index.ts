import { equal, product, type Dim } from '../../graph/dim.js';
import { deviceType } from '../../compile/view.js';
import { BRAID_DOMAIN, type Composite, type Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';

/** A value and the letter of each of its dimensions; dimensions of an ellipsis are numbered from the last. */
interface Operand {
  readonly value: string;
  readonly labels: readonly string[];
}

interface Equation {
  readonly operands: readonly (readonly string[])[];
  readonly result: readonly string[];
}

const isEllipsis = (label: string): boolean => label.startsWith('.');

/** The letters of one term, its ellipsis spelled out for `rank` dimensions. */
function labelsOf(context: NodeContext, term: string, rank: number | undefined, ellipsis: number): string[] {
  const letters = term.replace('...', '.');
  if (!/^[A-Za-z]*\.?[A-Za-z]*$/.test(letters)) throw context.invalid(`term '${term}' of the equation`);
  const named = letters.replace('.', '').length;
  const spelled = rank === undefined ? ellipsis : letters.includes('.') ? rank - named : 0;
  if (spelled < 0 || (rank !== undefined && named + spelled !== rank))
    throw context.invalid(`term '${term}' for an input of rank ${rank}`);
  const dots = Array.from({ length: spelled }, (_, i) => `.${spelled - 1 - i}`);
  return [...letters].flatMap((letter) => (letter === '.' ? dots : [letter]));
}

function parse(context: NodeContext): Equation {
  const equation = context.attributes.string('equation', '').replaceAll(/\s/g, '');
  const [left = '', right] = equation.split('->');
  const terms = left.split(',');
  if (terms.length !== context.inputCount)
    throw context.invalid(`equation '${equation}' for ${context.inputCount} inputs`);
  const operands = terms.map((term, i) => labelsOf(context, term, context.input(i).shape.length, 0));
  const all = operands.flat();
  const ellipsis = Math.max(0, ...all.filter(isEllipsis).map((label) => Number(label.slice(1)) + 1));
  if (right !== undefined)
    return { operands, result: labelsOf(context, right, undefined, right.includes('.') ? ellipsis : 0) };
  // What appears once, in the order of the alphabet, behind what the ellipsis stands for.
  const dots = Array.from({ length: ellipsis }, (_, i) => `.${ellipsis - 1 - i}`);
  const once = [...new Set(all)].filter((l) => !isEllipsis(l) && all.filter((x) => x === l).length === 1);
  return { operands, result: [...dots, ...once.sort((a, b) => (a < b ? -1 : 1))] };
}

/** A label that an operand has twice walks the diagonal. */
function diagonals(scope: Scope, operand: Operand): Operand {
  const { labels, value } = operand;
  const second = labels.findIndex((l, i) => labels.indexOf(l) < i);
  if (second < 0) return operand;
  const first = labels.indexOf(labels[second]!);
  const diagonal = scope.add('Diagonal', [value], { axis1: first, axis2: second }, { domain: BRAID_DOMAIN });
  return diagonals(scope, { value: diagonal, labels: labels.filter((_, i) => i !== second) });
}

/** Sums over the dimensions that nothing else asks for. */
function sumOut(scope: Scope, { value, labels }: Operand, wanted: ReadonlySet<string>): Operand {
  const axes = labels.flatMap((label, i) => (wanted.has(label) ? [] : [i]));
  if (axes.length === 0) return { value, labels };
  const sum = scope.add('ReduceSum', [value, scope.ints(...axes)], { keepdims: 0 });
  return { value: sum, labels: labels.filter((l) => wanted.has(l)) };
}

/** Dimensions in the order of `labels`; 1 for those that the operand lacks. */
function arrange(scope: Scope, operand: Operand, labels: readonly string[]): string {
  const own = labels.filter((l) => operand.labels.includes(l));
  const value = scope.transpose(
    operand.value,
    own.map((l) => operand.labels.indexOf(l)),
  );
  const absent = labels.flatMap((l, i) => (own.includes(l) ? [] : [i]));
  return absent.length === 0 ? value : scope.add('Unsqueeze', [value, scope.ints(...absent)]);
}

/** The product of two operands, summed over what neither `kept` nor the result has: a matrix product where there is such. */
function contract(
  context: NodeContext,
  scope: Scope,
  left: Operand,
  right: Operand,
  kept: ReadonlySet<string>,
): Operand {
  const a = sumOut(scope, left, new Set([...kept, ...right.labels]));
  const b = sumOut(scope, right, new Set([...kept, ...left.labels]));
  const shared = a.labels.filter((l) => b.labels.includes(l));
  const batch = shared.filter((l) => kept.has(l));
  const summed = shared.filter((l) => !kept.has(l));
  const [aOnly, bOnly] = [a.labels.filter((l) => !shared.includes(l)), b.labels.filter((l) => !shared.includes(l))];
  const size = (operand: Operand, label: string): Dim => scope.shape(operand.value)[operand.labels.indexOf(label)]!;
  for (const label of shared) {
    const [x, y] = [size(a, label), size(b, label)];
    if (!equal(x, y) && !((x === 1 || y === 1) && isEllipsis(label)))
      throw context.invalid(`dimension '${label}' is ${x} and ${y}`);
  }
  const labels = [...batch, ...aOnly, ...bOnly];
  const { dtype } = scope.type(a.value);
  if (summed.length === 0 || deviceType(dtype) !== 'f32') {
    const all = [...labels, ...summed];
    const value = scope.add('Mul', [arrange(scope, a, all), arrange(scope, b, all)]);
    return sumOut(scope, { value, labels: all }, kept);
  }
  const sizes = (operand: Operand, of: readonly string[]): Dim[] => of.map((l) => size(operand, l));
  const [m, k, n] = [product(sizes(a, aOnly)), product(sizes(a, summed)), product(sizes(b, bOnly))];
  const x = scope.reshape(arrange(scope, a, [...batch, ...aOnly, ...summed]), [...sizes(a, batch), m, k]);
  const y = scope.reshape(arrange(scope, b, [...batch, ...summed, ...bOnly]), [...sizes(b, batch), k, n]);
  const multiplied = scope.add('MatMul', [x, y]);
  const both = scope.shape(multiplied).slice(0, batch.length);
  return { value: scope.reshape(multiplied, [...both, ...sizes(a, aOnly), ...sizes(b, bOnly)]), labels };
}

/** Einsum(inputs): two operands at a time, from the left: sums, transposes and one matrix product each. */
const EINSUM: Composite = {
  type: 'Einsum',
  opsets: [12, 27],
  expand(context, scope) {
    const { operands, result } = parse(context);
    const unknown = result.find((l) => !operands.some((o) => o.includes(l)));
    if (unknown !== undefined) throw context.invalid(`'${unknown}' stands in the result alone`);
    const values = operands.map((labels, i) => diagonals(scope, { value: context.node.inputs[i]!, labels }));
    const [first, ...rest] = values as [Operand, ...Operand[]];
    const joined = rest.reduce<Operand>((sofar, next, i) => {
      const later = new Set([...result, ...rest.slice(i + 1).flatMap((o) => o.labels)]);
      return contract(context, scope, sofar, next, later);
    }, first);
    const summed = sumOut(scope, joined, new Set(result));
    const value = scope.transpose(
      summed.value,
      result.map((l) => summed.labels.indexOf(l)),
    );
    scope.output(0, value);
  },
};

export const EINSUM_OPERATORS: readonly Composite[] = [EINSUM];
