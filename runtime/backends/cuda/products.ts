import type { LibraryProduct } from '../../compile/kernel.js';
import { evaluate, type Bindings } from '../../graph/dim.js';
import { layoutParameters } from '../../../shaders/program.js';
import type { DispatchGroup } from '../common/schedule.js';
import type { NativeDevice } from './addon.js';
import { roundedRows } from './rows.js';

/** Rows at which a library's product is compared with Braid's own kernel. */
export const MEASURED_ROWS: readonly number[] = [32, 256, 1024, 3840, 7680];
/** Rows that a library is asked for whether it takes a product at all. */
const LIKELY_ROWS = 1024;
/**
 * A library has to be faster by so much, and by so many microseconds: about as fast is not worth products that may differ between
 * its versions, and a longer call on the host.
 */
const [WORTH, LEAST_SAVED] = [0.97, 2];

function isWorth({ own, library }: MeasuredProduct): boolean {
  return library < WORTH * own && own - library > LEAST_SAVED;
}

/** Microseconds of a product of m rows, by Braid's own kernel and by the library. */
export interface MeasuredProduct {
  readonly m: number;
  readonly own: number;
  readonly library: number;
}

/** Where the library is faster, by the launch of a plan. They outlive a context: what was measured once holds in the next one. */
export class ProductChoices {
  readonly #measured = new Map<number, MeasuredProduct[]>();
  #refusal: string | undefined;

  add(launch: number, times: MeasuredProduct): void {
    this.#measured.set(launch, [...(this.#measured.get(launch) ?? []), times]);
  }

  /** The library fails: it is chosen no more. */
  refuse(reason: string): void {
    this.#measured.clear();
    this.#refusal = reason;
  }

  /** Why the library is not chosen, where it fails. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /** Of the rows that were measured those nearest to m, by their ratio, decide. */
  prefersLibrary(launch: number, m: number): boolean {
    const distance = (times: MeasuredProduct): number => Math.abs(Math.log(times.m / m));
    const [nearest] = [...(this.#measured.get(launch) ?? [])].sort((a, b) => distance(a) - distance(b));
    return nearest !== undefined && isWorth(nearest);
  }

  /** Launches that the library makes at some number of rows. */
  get count(): number {
    return [...this.#measured.values()].filter((all) => all.some(isWorth)).length;
  }
}

/** A product of a launch that cuBLASLt takes. */
export interface LoadedProduct {
  readonly index: number;
  readonly form: LibraryProduct;
  /** Name in profiles. */
  readonly key: string;
}

/** Hands a launch's product to the library. Undefined where it is no plain product, or none that the library takes. */
export function loadProduct(
  device: Pick<NativeDevice, 'loadProduct'>,
  { program, steps }: DispatchGroup,
  placeBytes: number,
): LoadedProduct | undefined {
  const [{ dispatch, step }] = steps as [DispatchGroup['steps'][number]];
  const form = dispatch.library;
  if (!form || steps.length > 1) return undefined;
  const { offsets } = layoutParameters(program.fields);
  const places = placeBytes * step.operands.length;
  const words = (operand: number, name: string): readonly [number, number] => [
    (placeBytes * operand) / 4,
    places / 4 + offsets.get(`${name}_start`)!,
  ];
  const { m: _, ...sizes } = form;
  const last = step.operands.length - 1;
  try {
    const operands = { a: words(0, 'a'), b: words(1, 'b'), bias: words(2, 'bias'), out: words(last, 'out') };
    const index = device.loadProduct({ ...sizes, ...operands }, LIKELY_ROWS);
    const key = `cublasLt_${form.tf32 ? 'tf32' : 'float32'}${form.hasBias ? '_bias' : ''}${form.relu ? '_Relu' : ''}`;
    return { index, form, key };
  } catch {
    // Without the library, or where it lacks such a product, Braid's own kernels do everything.
    return undefined;
  }
}

/** Rows of the product in a wave, and those that its algorithm is chosen for: few numbers of them. */
export function rowsOf(
  { form }: LoadedProduct,
  bindings: Bindings,
): { readonly m: number; readonly chosenFor: number } {
  const m = evaluate(form.m, bindings);
  return { m, chosenFor: roundedRows(m, Number.POSITIVE_INFINITY) };
}
