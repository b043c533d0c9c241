import { add, compare, denseStrides, divideExact, equal, mul, product, shapeText, type Dim } from '../graph/dim.js';
import type { DataType } from '../graph/dtype.js';

/**
 * Element types of device memory. bool lives as 0 or 1 in a u32; int64 as two u32 words, low first, as it came;
 * types narrower than 32 bits are widened and float64 is narrowed when they are uploaded.
 */
export type DeviceType = 'f32' | 'i32' | 'u32' | 'i64';

const DEVICE_TYPES: Record<DataType, DeviceType> = {
  float32: 'f32',
  float16: 'f32',
  bfloat16: 'f32',
  float64: 'f32',
  int8: 'i32',
  int16: 'i32',
  int32: 'i32',
  int64: 'i64',
  uint8: 'u32',
  uint16: 'u32',
  uint32: 'u32',
  uint64: 'i64',
  bool: 'u32',
};

export function deviceType(dtype: DataType): DeviceType {
  return DEVICE_TYPES[dtype];
}

/**
 * How weights may lie in device memory so that they take less of it; kernels that read them widen them to f32. `f16`: halves,
 * two a word. `i8`: rows of codes, each behind its scale and offset; counted in bytes. See packed.ts.
 */
export type PackedType = 'f16' | 'i8';

export type StorageType = DeviceType | PackedType;

const BYTES: Record<StorageType, number> = { f32: 4, i32: 4, u32: 4, i64: 8, f16: 2, i8: 1 };

/** Bytes of an element in device memory. */
export function deviceBytes(type: StorageType): number {
  return BYTES[type];
}

export function isPacked(type: StorageType): type is PackedType {
  return type === 'f16' || type === 'i8';
}

/** A region of device memory that one value (or the concatenation of several) owns. */
export interface Storage {
  readonly id: number;
  readonly kind: 'weight' | 'input' | 'temp';
  readonly type: StorageType;
  /** Elements. */
  readonly size: Dim;
  /** Name of the value, for the printed plan. */
  readonly name: string;
}

/** A strided window on a storage. Offset and strides count elements; a stride of 0 repeats. */
export interface View {
  readonly storage: Storage;
  readonly dtype: DataType;
  readonly shape: readonly Dim[];
  readonly strides: readonly Dim[];
  readonly offset: Dim;
}

/** Type of a view's elements in memory. */
export function storedType({ storage, dtype }: View): StorageType {
  return isPacked(storage.type) ? storage.type : deviceType(dtype);
}

export function denseView(storage: Storage, dtype: DataType, shape: readonly Dim[]): View {
  return { storage, dtype, shape, strides: denseStrides(shape), offset: 0 };
}

/** Whether the elements lie row-major without gaps. A dimension of 1 may have any stride. */
export function isDense(view: View): boolean {
  const dense = denseStrides(view.shape);
  return view.shape.every((dim, i) => dim === 1 || equal(view.strides[i]!, dense[i]!));
}

export function sameView(a: View, b: View): boolean {
  return (
    a.storage === b.storage &&
    equal(a.offset, b.offset) &&
    a.shape.length === b.shape.length &&
    a.shape.every((dim, i) => equal(dim, b.shape[i]!) && (dim === 1 || equal(a.strides[i]!, b.strides[i]!)))
  );
}

/** The same elements in another shape, where strides can express it; undefined where it takes a copy. */
export function reshapeView(view: View, shape: readonly Dim[]): View | undefined {
  if (isDense(view)) return { ...view, shape, strides: denseStrides(shape) };
  // Walk both shapes from the front, matching groups of dimensions of equal product; the source's dimensions of a group
  // must be contiguous among themselves.
  const strides: Dim[] = [];
  const source = view.shape.map((dim, i) => ({ dim, stride: view.strides[i]! })).filter(({ dim }) => dim !== 1);
  let at = 0;
  let to = 0;
  while (to < shape.length) {
    if (shape[to] === 1) {
      strides[to++] = 0;
      continue;
    }
    const first = source[at];
    if (!first) return undefined;
    let from = first.dim;
    let end = at + 1;
    let into: Dim = shape[to]!;
    let stop = to + 1;
    while (!equal(from, into)) {
      const less = compare(into, from);
      const grownInto: boolean = (less === -1 || divideExact(from, into) !== undefined) && stop < shape.length;
      if (grownInto) into = mul(into, shape[stop++]!);
      else if (end < source.length && (less === 1 || divideExact(into, from) !== undefined || stop >= shape.length))
        from = mul(from, source[end++]!.dim);
      else return undefined;
    }
    for (let i = at; i + 1 < end; i++) {
      if (!equal(source[i]!.stride, mul(source[i + 1]!.stride, source[i + 1]!.dim))) return undefined;
    }
    const inner = source[end - 1]!.stride;
    let stride = inner;
    for (let i = stop - 1; i >= to; i--) {
      strides[i] = stride;
      stride = mul(stride, shape[i]!);
    }
    at = end;
    to = stop;
  }
  return at === source.length ? { ...view, shape, strides } : undefined;
}

export function transposeView(view: View, perm: readonly number[]): View {
  return { ...view, shape: perm.map((p) => view.shape[p]!), strides: perm.map((p) => view.strides[p]!) };
}

/** `view` repeated to `shape` by numpy's broadcasting rules. The shapes have been checked by inference. */
export function broadcastView(view: View, shape: readonly Dim[]): View {
  const lead = shape.length - view.shape.length;
  const strides = shape.map((dim, i) => {
    if (i < lead) return 0;
    return view.shape[i - lead] === 1 && dim !== 1 ? 0 : view.strides[i - lead]!;
  });
  return { ...view, shape, strides };
}

/** `count` elements of `axis` from `start`, `step` apart. */
export function sliceView(view: View, axis: number, start: Dim, count: Dim, step = 1): View {
  const stride = view.strides[axis]!;
  return {
    ...view,
    offset: add(view.offset, mul(stride, start)),
    shape: view.shape.map((d, i) => (i === axis ? count : d)),
    strides: view.strides.map((s, i) => (i === axis ? mul(s, step) : s)),
  };
}

/** One element of `axis`, which disappears. */
export function pickView(view: View, axis: number, index: Dim): View {
  const picked = sliceView(view, axis, index, 1);
  return {
    ...picked,
    shape: picked.shape.filter((_, i) => i !== axis),
    strides: picked.strides.filter((_, i) => i !== axis),
  };
}

/**
 * Whether the view begins on a multiple of 4 elements, or of `unit`, and whether a step along each of `dimensions` is one:
 * storages begin on multiples of more, so that kernels may read such a view in vectors.
 */
export function isAligned(view: View, dimensions: readonly number[], unit = 4): boolean {
  const isMultiple = (dim: Dim): boolean => divideExact(dim, unit) !== undefined;
  return isMultiple(view.offset) && dimensions.every((d) => view.shape[d] === 1 || isMultiple(view.strides[d]!));
}

/** Whether elements of the last axis lie together, in rows that begin on multiples of 4. */
export function liesInFours(view: View): boolean {
  return liesInRuns(view, 4);
}

/** The same of 8: what 16 bytes hold of halves. */
export function liesInEights(view: View): boolean {
  return liesInRuns(view, 8);
}

function liesInRuns(view: View, unit: number): boolean {
  const outer = view.shape.slice(0, -1).map((_, axis) => axis);
  return equal(view.strides.at(-1)!, 1) && isAligned(view, outer, unit);
}

export function elementsOf(view: View): Dim {
  return product(view.shape);
}

/** An iteration space shared by several strided operands. */
export interface StridedSpace {
  readonly shape: readonly Dim[];
  /** Strides of each operand, one a dimension of `shape`. */
  readonly strides: readonly (readonly Dim[])[];
}

/**
 * Merges neighbouring dimensions that every operand walks contiguously and drops those of size 1, so that kernels
 * divide as little as possible. The order of the elements is kept.
 */
export function collapse(space: StridedSpace): StridedSpace {
  const shape: Dim[] = [];
  const strides: Dim[][] = space.strides.map(() => []);
  for (let i = 0; i < space.shape.length; i++) {
    const dim = space.shape[i]!;
    if (dim === 1) continue;
    const last = shape.length - 1;
    const merges = last >= 0 && space.strides.every((s, o) => equal(strides[o]![last]!, mul(s[i]!, dim)));
    if (merges) {
      shape[last] = mul(shape[last]!, dim);
      strides.forEach((s, o) => (s[last] = space.strides[o]![i]!));
    } else {
      shape.push(dim);
      strides.forEach((s, o) => s.push(space.strides[o]![i]!));
    }
  }
  return { shape, strides };
}

/** Kernels walk at least one dimension: `dims`, or a single `fill` where all were merged away. */
export function nonEmpty(dims: readonly Dim[], fill: Dim): readonly Dim[] {
  return dims.length > 0 ? dims : [fill];
}

export function viewText(view: View): string {
  const window = isDense(view) && view.offset === 0 ? '' : ` @${view.offset} strides ${shapeText(view.strides)}`;
  const { name, type } = view.storage;
  return `${name}:${view.dtype}${shapeText(view.shape)}${isPacked(type) ? ` as ${type}` : ''}${window}`;
}
