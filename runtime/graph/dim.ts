import { BraidError } from '../errors.js';

/**
 * Dimension arithmetic. A Dim is a size, or a polynomial over symbols (`batch`, `2*batch + 1`), so that a plan compiled
 * once serves any number of rows. Division that a polynomial cannot express becomes an opaque atom that is evaluated
 * when the symbols are known.
 *
 * Symbols stand for sizes: they are taken to be integers of at least 1 wherever a comparison has to be decided.
 */
export type Dim = number | SymbolicDim;

/** The sizes that symbols stand for in one run. */
export type Bindings = ReadonlyMap<string, number>;

interface Atom {
  readonly key: string;
  readonly symbols: readonly string[];
  evaluate(bindings: Bindings): number;
}

interface Term {
  readonly coefficient: number;
  /** Sorted by key; empty for the constant term. */
  readonly atoms: readonly Atom[];
}

export class SymbolicDim {
  /** Sorted by monomial; never empty, never a lone constant. */
  readonly terms: readonly Term[];
  readonly key: string;
  /** Asked for with every query, to tell its symbols apart. */
  #text: string | undefined;

  constructor(terms: readonly Term[]) {
    this.terms = terms;
    this.key = terms.map((t) => [t.coefficient, ...t.atoms.map((a) => a.key)].join('*')).join(' + ');
  }

  toString(): string {
    this.#text ??= this.terms
      .map(({ coefficient, atoms }) => {
        const product = atoms.map((a) => a.key).join('*');
        if (product === '') return String(coefficient);
        return coefficient === 1 ? product : `${coefficient}*${product}`;
      })
      .join(' + ');
    return this.#text;
  }
}

function monomial(term: Term): string {
  return term.atoms.map((a) => a.key).join('\u0000');
}

function normalize(terms: readonly Term[]): Dim {
  const byMonomial = new Map<string, Term>();
  for (const term of terms) {
    const key = monomial(term);
    const sum = (byMonomial.get(key)?.coefficient ?? 0) + term.coefficient;
    byMonomial.set(key, { coefficient: sum, atoms: term.atoms });
  }
  const kept = [...byMonomial.entries()].filter(([, t]) => t.coefficient !== 0);
  if (kept.length === 0) return 0;
  if (kept.length === 1 && kept[0]![1].atoms.length === 0) return kept[0]![1].coefficient;
  kept.sort(([a], [b]) => (a === '' ? 1 : b === '' ? -1 : a < b ? -1 : a > b ? 1 : 0));
  return new SymbolicDim(kept.map(([, t]) => t));
}

function termsOf(dim: Dim): readonly Term[] {
  if (typeof dim !== 'number') return dim.terms;
  return dim === 0 ? [] : [{ coefficient: dim, atoms: [] }];
}

function fromAtom(atom: Atom): SymbolicDim {
  return new SymbolicDim([{ coefficient: 1, atoms: [atom] }]);
}

export function symbol(name: string): SymbolicDim {
  return fromAtom({
    key: name,
    symbols: [name],
    evaluate(bindings) {
      const value = bindings.get(name);
      if (value === undefined) throw new BraidError('INTERNAL', `no size is known for dimension '${name}'`);
      return value;
    },
  });
}

export function add(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  return normalize([...termsOf(a), ...termsOf(b)]);
}

export function sub(a: Dim, b: Dim): Dim {
  return add(a, mul(b, -1));
}

export function mul(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a * b;
  if (a === 1) return b;
  if (b === 1) return a;
  const out: Term[] = [];
  for (const x of termsOf(a)) {
    for (const y of termsOf(b)) {
      const atoms = [...x.atoms, ...y.atoms].sort((p, q) => (p.key < q.key ? -1 : p.key > q.key ? 1 : 0));
      out.push({ coefficient: x.coefficient * y.coefficient, atoms });
    }
  }
  return normalize(out);
}

export function product(dims: readonly Dim[]): Dim {
  return dims.reduce<Dim>((p, d) => mul(p, d), 1);
}

/** `a / b` where the division is exact as polynomials and `b` has a single term; otherwise undefined. */
export function divideExact(a: Dim, b: Dim): Dim | undefined {
  if (b === 0) return undefined;
  if (equal(a, b)) return 1;
  if (typeof a === 'number' && typeof b === 'number') return a % b === 0 ? a / b : undefined;
  const divisor = termsOf(b);
  if (divisor.length !== 1) return undefined;
  const { coefficient, atoms } = divisor[0]!;
  const out: Term[] = [];
  for (const term of termsOf(a)) {
    if (term.coefficient % coefficient !== 0) return undefined;
    const rest = [...term.atoms];
    for (const atom of atoms) {
      const at = rest.findIndex((r) => r.key === atom.key);
      if (at < 0) return undefined;
      rest.splice(at, 1);
    }
    out.push({ coefficient: term.coefficient / coefficient, atoms: rest });
  }
  return normalize(out);
}

function opaque(name: string, operands: readonly Dim[], compute: (values: number[]) => number): Dim {
  if (operands.every((d) => typeof d === 'number')) return compute(operands as number[]);
  return fromAtom({
    key: `${name}(${operands.map(String).join(', ')})`,
    symbols: operands.flatMap((d) => [...symbolsOf(d)]),
    evaluate: (bindings) => compute(operands.map((d) => evaluate(d, bindings))),
  });
}

export function floorDivide(a: Dim, b: Dim): Dim {
  return divideExact(a, b) ?? opaque('floor', [a, b], ([x, y]) => Math.floor(x! / y!));
}

export function ceilDivide(a: Dim, b: Dim): Dim {
  return divideExact(a, b) ?? opaque('ceil', [a, b], ([x, y]) => Math.ceil(x! / y!));
}

export function minimum(a: Dim, b: Dim): Dim {
  return equal(a, b) ? a : opaque('min', [a, b], ([x, y]) => Math.min(x!, y!));
}

export function maximum(a: Dim, b: Dim): Dim {
  return equal(a, b) ? a : opaque('max', [a, b], ([x, y]) => Math.max(x!, y!));
}

export function equal(a: Dim, b: Dim): boolean {
  if (typeof a === 'number' || typeof b === 'number') return a === b;
  return a.key === b.key;
}

export function shapesEqual(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((d, i) => equal(d, b[i]!));
}

/**
 * The sign of `a - b` where it holds for all sizes the symbols can take (1 and up), otherwise undefined.
 */
export function compare(a: Dim, b: Dim): -1 | 0 | 1 | undefined {
  const difference = sub(a, b);
  if (typeof difference === 'number') return Math.sign(difference) as -1 | 0 | 1;
  const symbolic = difference.terms.filter((t) => t.atoms.length > 0);
  const constant = difference.terms.find((t) => t.atoms.length === 0)?.coefficient ?? 0;
  const plain = symbolic.every((t) =>
    t.atoms.every((atom) => atom.symbols.length === 1 && atom.key === atom.symbols[0]),
  );
  if (!plain) return undefined;
  const least = symbolic.reduce((sum, t) => sum + t.coefficient, constant);
  if (symbolic.every((t) => t.coefficient > 0) && least > 0) return 1;
  if (symbolic.every((t) => t.coefficient < 0) && least < 0) return -1;
  return undefined;
}

export function evaluate(dim: Dim, bindings: Bindings): number {
  if (typeof dim === 'number') return dim;
  let sum = 0;
  for (const { coefficient, atoms } of dim.terms) {
    let value = coefficient;
    for (const atom of atoms) value *= atom.evaluate(bindings);
    sum += value;
  }
  return sum;
}

/** `constant + slopes[0] * symbols[0] + ...`, where `dim` is that. */
export function linearIn(
  dim: Dim,
  symbols: readonly string[],
): { readonly constant: number; readonly slopes: readonly number[] } | undefined {
  const slopes = symbols.map(() => 0);
  if (typeof dim === 'number') return { constant: dim, slopes };
  let constant = 0;
  for (const { coefficient, atoms } of dim.terms) {
    const at = atoms.length === 1 ? symbols.indexOf(atoms[0]!.key) : -1;
    if (atoms.length === 0) constant += coefficient;
    else if (at >= 0) slopes[at]! += coefficient;
    else return undefined;
  }
  return { constant, slopes };
}

export function symbolsOf(dim: Dim): Set<string> {
  if (typeof dim === 'number') return new Set();
  return new Set(dim.terms.flatMap((t) => t.atoms.flatMap((a) => a.symbols)));
}

export function shapeText(shape: readonly Dim[]): string {
  return `[${shape.map(String).join(', ')}]`;
}

/** Row-major strides of a dense tensor, in elements. */
export function denseStrides(shape: readonly Dim[]): Dim[] {
  const strides: Dim[] = Array.from({ length: shape.length }, () => 1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = mul(strides[i + 1]!, shape[i + 1]!);
  return strides;
}

export function sum(dims: readonly Dim[]): Dim {
  return dims.reduce<Dim>((s, d) => add(s, d), 0);
}
