import { BraidError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import type { AnalyzedGraph } from './analyze.js';
import type { PackedUse } from './kernel.js';
import { lower, type LowerOptions, type Program, type Weight } from './lower.js';
import { fits, isExactInHalves, savedBytes, storedBytes } from './packed.js';
import { isPacked, type PackedType, type Storage } from './view.js';

/** From the most to the least precise. */
export const TABLE_PRECISIONS = ['float32', 'float16', 'int8'] as const;
export const WEIGHT_PRECISIONS = ['float32', 'float16'] as const;

/** As what weights are stored on the device. Kernels compute in float32 whatever it is. */
export interface Precision {
  /**
   * Tables of Gather and EmbeddingBag. `int8`: each row quantised by itself, with a float32 scale and offset.
   * Default: float16 where that loses nothing, as in a half-precision model; otherwise float32.
   */
  readonly tables?: (typeof TABLE_PRECISIONS)[number];
  /** Matrices of products. Default: as for tables. */
  readonly weights?: (typeof WEIGHT_PRECISIONS)[number];
}

/** Everything as float32: what a reduced precision is compared with. */
export const FULL_PRECISION: Precision = { tables: 'float32', weights: 'float32' };

/** What storing weights in fewer bits came to. */
export interface PrecisionReport {
  /** Weights stored as float16, and as int8. */
  readonly float16: number;
  readonly int8: number;
  /** Device memory that takes, and what it saves beside float32. */
  readonly storedBytes: number;
  readonly savedBytes: number;
  /** Whether any value changed. */
  readonly isLossy: boolean;
  /** Weights that are stored in more bits than was asked, because these cannot hold their values. */
  readonly outOfRange: readonly string[];
}

/** @throws BraidError REQUEST_INVALID that names the setting, what was found and what was expected. */
export function checkPrecision(precision: Precision): void {
  const known: Readonly<Record<string, readonly string[]>> = { tables: TABLE_PRECISIONS, weights: WEIGHT_PRECISIONS };
  for (const [name, value] of Object.entries(precision)) {
    const expected = known[name];
    if (!expected)
      throw new BraidError(
        'REQUEST_INVALID',
        `precision: unknown setting '${name}', expected one of ${Object.keys(known).join(', ')}`,
      );
    if (value !== undefined && !expected.includes(value))
      throw new BraidError(
        'REQUEST_INVALID',
        `precision: ${name} is ${JSON.stringify(value)}, expected one of ${expected.join(', ')}`,
      );
  }
}

/** A value of the model that lives on the device, with everything that reads it. */
interface Candidate {
  readonly weights: Set<Weight>;
  /** Undefined: as its device type alone. */
  readonly uses: (PackedUse | undefined)[];
}

function candidatesOf(program: Program): Map<string, Candidate> {
  const weights = new Map(program.weights.map((w) => [w.storage, w]));
  const candidates = new Map<string, Candidate>();
  for (const { operands } of program.steps) {
    for (const { view, packed } of operands) {
      const weight = weights.get(view.storage);
      if (!weight) continue;
      const candidate = candidates.get(weight.value) ?? { weights: new Set(), uses: [] };
      candidate.weights.add(weight);
      candidate.uses.push(packed);
      candidates.set(weight.value, candidate);
    }
  }
  return candidates;
}

/**
 * Values between steps that may be stored as halves: whatever writes them can, and all that read them round them anyway.
 * Outputs are read by the host, as they are.
 */
function roundedValues({ steps, outputs }: Program): Set<string> {
  const kept = new Set(outputs.flatMap((o) => (o.kind === 'device' ? [o.view.storage] : [])));
  const rounded = new Set<Storage>();
  for (const { view, packed } of steps.flatMap((s) => s.operands)) {
    const { storage } = view;
    if (storage.kind !== 'temp') continue;
    if (packed?.as === 'value' && packed.types.includes('f16')) rounded.add(storage);
    else kept.add(storage);
  }
  return new Set([...rounded].filter((s) => !kept.has(s)).map(({ name }) => name));
}

/** Rows of a few elements are smaller as halves than as codes with a header, and more precise. */
function isSmallest(tensor: Tensor): boolean {
  return storedBytes('i8', tensor.dims) < storedBytes('f16', tensor.dims);
}

/**
 * The types that a value is to be stored as, the one to try first in front; none for its device type. The setting of the
 * most precise of its uses counts, and all of them have to read the type.
 */
function wantedTypes({ weights, uses }: Candidate, precision: Precision): PackedType[] {
  const tensors = [...weights].map((w) => w.tensor);
  const settings = uses.map((use) =>
    use && use.as !== 'value' ? precision[use.as === 'table' ? 'tables' : 'weights'] : undefined,
  );
  const asks = (least: 'int8' | 'float16'): boolean =>
    settings.every((s) => s !== undefined && TABLE_PRECISIONS.indexOf(s) >= TABLE_PRECISIONS.indexOf(least));
  const reads = (type: PackedType): boolean => uses.every((use) => use?.types.includes(type));
  const types: PackedType[] = [];
  if (asks('int8') && reads('i8') && tensors.every(isSmallest)) types.push('i8');
  if (reads('f16') && !settings.includes('float32') && (asks('float16') || tensors.every(isExactInHalves)))
    types.push('f16');
  return types;
}

/** Values that some step reads as a type it cannot read. */
function misread(program: Program): Set<string> {
  const values = new Map(program.weights.map((w) => [w.storage, w.value]));
  return new Set(
    program.steps.flatMap(({ operands }) =>
      operands.flatMap(({ view, packed }) => {
        const { type } = view.storage;
        return isPacked(type) && !packed?.types.includes(type) ? [values.get(view.storage) ?? view.storage.name] : [];
      }),
    ),
  );
}

/**
 * Lowers a graph with its weights stored as `precision` asks. Which kernel reads a weight, and how, shows in the lowered
 * program: it is lowered as it is first, then with the types that its kernels can read. What they cannot stays as it was.
 * @param rounds whether products are of float16, so that values which they alone read may be stored as that.
 */
export function lowerWith(
  analyzed: AnalyzedGraph,
  options: LowerOptions,
  precision: Precision,
  rounds: boolean,
): { readonly program: Program; readonly report: PrecisionReport } {
  let program = lower(analyzed, options);
  const packed = new Map<string, PackedType>();
  const outOfRange: string[] = [];
  for (const [value, candidate] of candidatesOf(program)) {
    const wanted = wantedTypes(candidate, precision);
    const type = wanted.find((t) => [...candidate.weights].every((w) => fits(t, w.tensor)));
    if (type) packed.set(value, type);
    if (type !== wanted[0]) outOfRange.push(value);
  }
  if (rounds) for (const value of roundedValues(program)) packed.set(value, 'f16');
  while (packed.size > 0) {
    program = lower(analyzed, { ...options, packed });
    const wrong = misread(program);
    if (wrong.size === 0) break;
    for (const value of wrong) packed.delete(value);
    if (packed.size === 0) program = lower(analyzed, options);
  }
  return { program, report: reportOf(program, outOfRange) };
}

function reportOf({ weights }: Program, outOfRange: readonly string[]): PrecisionReport {
  const packed = weights.filter((w) => isPacked(w.storage.type));
  const sum = (of: (weight: Weight) => number): number => packed.reduce((total, w) => total + of(w), 0);
  const count = (type: PackedType): number =>
    new Set(packed.filter((w) => w.storage.type === type).map((w) => w.value)).size;
  return {
    float16: count('f16'),
    int8: count('i8'),
    storedBytes: sum((w) => storedBytes(w.storage.type, w.tensor.dims)),
    savedBytes: sum((w) => savedBytes(w.storage.type, w.tensor)),
    isLossy: packed.some((w) => w.storage.type === 'i8' || !isExactInHalves(w.tensor)),
    outOfRange,
  };
}
