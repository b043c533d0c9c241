import type { TensorSpec } from '../api.js';
import { BraidError } from '../../runtime/errors.js';
import { allocate, isFloat, numberToBfloat16, numberToHalf, readNumber } from '../../runtime/graph/dtype.js';
import type { DataType, TensorData } from '../../runtime/graph/dtype.js';
import { sizeOf, type Tensor } from '../../runtime/graph/tensor.js';
import { isShape, unreadable } from './common.js';

/** Deepest nesting that is read; NumPy's own limit. It bounds the recursion over data that anyone may send. */
const MAX_RANK = 32;

/** Type names of the Open Inference Protocol. */
const OPEN_INFERENCE_NAMES: Record<DataType, string> = {
  bool: 'BOOL',
  uint8: 'UINT8',
  uint16: 'UINT16',
  uint32: 'UINT32',
  uint64: 'UINT64',
  int8: 'INT8',
  int16: 'INT16',
  int32: 'INT32',
  int64: 'INT64',
  float16: 'FP16',
  bfloat16: 'BF16',
  float32: 'FP32',
  float64: 'FP64',
};
const FROM_OPEN_INFERENCE = new Map(
  Object.entries(OPEN_INFERENCE_NAMES).map(([dtype, name]) => [name, dtype as DataType]),
);

/** The Open Inference Protocol's name of a type, such as `FP32`. */
export function toOpenInferenceType(dtype: DataType): string {
  return OPEN_INFERENCE_NAMES[dtype];
}

/** The type of an Open Inference Protocol name, or undefined for BYTES and what the protocol does not know. */
export function fromOpenInferenceType(name: string): DataType | undefined {
  return FROM_OPEN_INFERENCE.get(name);
}

/**
 * Reads inputs in either of two forms: `{"name": nested arrays, ...}`, or the body of an Open Inference Protocol request,
 * `{"inputs": [{"name", "shape", "datatype", "data"}, ...]}`.
 * @param specs the model's inputs, which give the types. Without them only the second form can be read.
 * @param source the file's name, for messages.
 * @throws BraidError FILE_UNREADABLE for text that is in neither form, INPUT_UNKNOWN for an input that `specs` lacks,
 *   INPUT_TYPE for another datatype than the model's, and what flattenJson throws.
 */
export function readJson(text: string, specs?: readonly TensorSpec[], source = 'JSON'): Map<string, Tensor> {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (cause) {
    throw unreadable(source, `is no JSON: ${(cause as Error).message}`, cause);
  }
  if (!isObject(root)) throw unreadable(source, `holds ${describe(root)}, expected an object with the inputs by name`);
  const { inputs } = root;
  const entries =
    Array.isArray(inputs) && isObject(inputs[0])
      ? inputs.map((input: unknown, index) => openInferenceInput(input, index, specs, source))
      : Object.entries(root).map(([name, data]) => namedInput(name, data, specs, source));
  const tensors = new Map(entries);
  if (tensors.size !== entries.length) throw unreadable(source, 'names an input twice');
  return tensors;
}

/** Writes tensors as `{"name": nested arrays, ...}`, with the elements as toFlatJson gives them. */
export function writeJson(tensors: ReadonlyMap<string, Tensor>): string {
  return JSON.stringify(Object.fromEntries([...tensors].map(([name, tensor]) => [name, toNestedJson(tensor)])));
}

function namedInput(
  name: string,
  data: unknown,
  specs: readonly TensorSpec[] | undefined,
  source: string,
): [string, Tensor] {
  if (!specs) throw unreadable(source, `gives '${name}' without a datatype, which only the model could tell`);
  const { dtype, shape } = specOf(name, specs);
  const dims = dimsOf(data);
  // An empty array hides the dimensions within it; the model's fixed ones are the only ones that can fit.
  if (dims.at(-1) === 0) dims.push(...shape.slice(dims.length).map((dim) => (typeof dim === 'number' ? dim : 0)));
  return [name, { dtype, dims, data: flattenJson(data, dims, dtype, name) }];
}

function openInferenceInput(
  input: unknown,
  index: number,
  specs: readonly TensorSpec[] | undefined,
  source: string,
): [string, Tensor] {
  const { name, shape, datatype, data } = isObject(input) ? input : {};
  if (typeof name !== 'string') throw unreadable(source, `inputs[${index}] has no name`);
  if (!isShape(shape)) {
    throw unreadable(source, `input '${name}' has the shape ${JSON.stringify(shape)}, expected an array of sizes`);
  }
  const dtype = typeof datatype === 'string' ? fromOpenInferenceType(datatype) : undefined;
  if (!dtype) {
    const known = [...FROM_OPEN_INFERENCE.keys()].join(', ');
    throw unreadable(source, `input '${name}' has the datatype ${JSON.stringify(datatype)}, expected one of ${known}`);
  }
  if (specs) {
    const spec = specOf(name, specs);
    if (spec.dtype !== dtype) {
      const expected = toOpenInferenceType(spec.dtype);
      throw new BraidError('INPUT_TYPE', `input '${name}' has the datatype ${String(datatype)}, expected ${expected}`);
    }
  }
  if (data === undefined) throw unreadable(source, `input '${name}' has no data`);
  return [name, { dtype, dims: shape, data: flattenJson(data, shape, dtype, name) }];
}

function specOf(name: string, specs: readonly TensorSpec[]): TensorSpec {
  const spec = specs.find((spec) => spec.name === name);
  if (spec) return spec;
  const known = specs.map((spec) => `'${spec.name}'`).join(', ');
  throw new BraidError('INPUT_UNKNOWN', `the model has no input '${name}', it has ${known || 'none'}`);
}

function dimsOf(data: unknown): number[] {
  const dims: number[] = [];
  for (let level = data; Array.isArray(level); level = level[0] as unknown) dims.push(level.length);
  return dims;
}

/**
 * Turns JSON data into the array of a tensor. The data is nested as `dims` says, or flat in row-major order.
 *
 * Floats must be finite and within their type's range, integers whole and within theirs. int64 and uint64 are also taken
 * as strings ("9007199254740993"): a number beyond 2^53 has lost digits before it gets here and is refused. bool takes
 * true, false, 0 and 1.
 * @param dims sizes, whole and not negative.
 * @throws BraidError INPUT_VALUE that names the input, the position and the value, INPUT_SIZE where flat data has another
 *   number of elements, INPUT_SHAPE where nested data is ragged or nested otherwise.
 */
export function flattenJson(data: unknown, dims: readonly number[], dtype: DataType, inputName: string): TensorData {
  const label = `input '${inputName}'`;
  if (dims.length > MAX_RANK) {
    throw new BraidError('INPUT_SHAPE', `${label} has ${dims.length} dimensions, expected at most ${MAX_RANK}`);
  }
  const values: unknown = dims.length === 0 && !Array.isArray(data) ? [data] : data;
  if (!Array.isArray(values)) {
    throw new BraidError(
      'INPUT_SHAPE',
      `${label} is ${describe(values)}, expected an array of shape ${shapeText(dims)}`,
    );
  }
  const size = sizeOf(dims);
  const nested = dims.length > 1 && Array.isArray(values[0]);
  // Sizes are checked against the data before memory is taken, so that a short request cannot ask for much of it.
  if (nested) checkNesting(values, dims, [], label);
  else if (values.length !== size && !Array.isArray(values[0])) {
    throw new BraidError(
      'INPUT_SIZE',
      `${label} holds ${values.length} elements, expected ${size} for shape ${shapeText(dims)}`,
    );
  } else if (values.length !== size) {
    throw new BraidError('INPUT_SHAPE', `${label} has shape ${shapeText(dimsOf(values))}, expected ${shapeText(dims)}`);
  }
  const out = allocate(dtype, size);
  const fill = FILL[dtype];
  if (!nested) {
    const bad = fill(out, 0, values);
    if (bad >= 0) throw badElement(values[bad], bad, dims, dtype, label);
    return out;
  }
  const visit = (level: readonly unknown[], depth: number, offset: number): number => {
    if (depth === dims.length - 1) {
      const bad = fill(out, offset, level);
      if (bad >= 0) throw badElement(level[bad], offset + bad, dims, dtype, label);
      return offset + level.length;
    }
    let next = offset;
    for (const part of level) next = visit(part as readonly unknown[], depth + 1, next);
    return next;
  };
  visit(values, 0, 0);
  return out;
}

/** Checks that every array but the innermost elements has the length that `dims` gives its depth. */
function checkNesting(level: unknown, dims: readonly number[], position: number[], label: string): void {
  const depth = position.length;
  const place = depth === 0 ? label : `${label} at ${shapeText(position)}`;
  if (!Array.isArray(level)) {
    throw new BraidError('INPUT_SHAPE', `${place} is ${describe(level)}, expected an array of ${dims[depth]} elements`);
  }
  if (level.length !== dims[depth]) {
    throw new BraidError(
      'INPUT_SHAPE',
      `${place} holds ${level.length} elements, expected ${dims[depth]} for shape ${shapeText(dims)}`,
    );
  }
  if (depth === dims.length - 1) return;
  for (let i = 0; i < level.length; i++) {
    position.push(i);
    checkNesting(level[i], dims, position, label);
    position.pop();
  }
}

/** Writes `values` to `out` from `offset` on, and returns the index of the first that does not fit the type, or -1. */
type Fill = (out: TensorData, offset: number, values: readonly unknown[]) => number;

const fillFloat: Fill = (out, offset, values) => {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (typeof value !== 'number') return i;
    out[offset + i] = value;
    // Read back, for it is the rounded value that must be finite.
    if (!Number.isFinite(out[offset + i])) return i;
  }
  return -1;
};

const fillWords =
  (encode: (value: number) => number, infinity: number): Fill =>
  (out, offset, values) => {
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (typeof value !== 'number') return i;
      const bits = encode(value);
      if ((bits & infinity) === infinity) return i;
      out[offset + i] = bits;
    }
    return -1;
  };

const fillInteger =
  (min: number, max: number): Fill =>
  (out, offset, values) => {
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (typeof value !== 'number' || !(value >= min && value <= max) || value % 1 !== 0) return i;
      out[offset + i] = value;
    }
    return -1;
  };

const fillBool: Fill = (out, offset, values) => {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value === true || value === 1) out[offset + i] = 1;
    else if (value !== false && value !== 0) return i;
  }
  return -1;
};

// Ids nearly always fit 32 bits. Written as two words they cost no BigInt each, which is what makes int64 slow otherwise.
// Typed arrays are little-endian on every platform that has WebGPU.
const fillInt64: Fill = (out, offset, values) => {
  const words = new Int32Array(out.buffer, out.byteOffset, out.length * 2);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (typeof value === 'number' && value === (value | 0)) {
      words[(offset + i) * 2] = value;
      words[(offset + i) * 2 + 1] = value < 0 ? -1 : 0;
      continue;
    }
    const big = wideInteger(value);
    if (big === undefined || BigInt.asIntN(64, big) !== big) return i;
    out[offset + i] = big;
  }
  return -1;
};

const fillUint64: Fill = (out, offset, values) => {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length * 2);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (typeof value === 'number' && value === value >>> 0) {
      words[(offset + i) * 2] = value;
      continue;
    }
    const big = wideInteger(value);
    if (big === undefined || BigInt.asUintN(64, big) !== big) return i;
    out[offset + i] = big;
  }
  return -1;
};

function wideInteger(value: unknown): bigint | undefined {
  // Longer strings than the 20 digits of a uint64 are not even parsed.
  if (typeof value === 'string') return /^-?\d{1,20}$/.test(value) ? BigInt(value) : undefined;
  return Number.isSafeInteger(value) ? BigInt(value as number) : undefined;
}

const INTEGER_LIMITS = {
  int8: [-128, 127],
  int16: [-32768, 32767],
  int32: [-2147483648, 2147483647],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint8: [0, 255],
  uint16: [0, 65535],
  uint32: [0, 4294967295],
  uint64: [0n, 2n ** 64n - 1n],
} as const satisfies Partial<Record<DataType, readonly [number, number] | readonly [bigint, bigint]>>;

const FILL: Record<DataType, Fill> = {
  float32: fillFloat,
  float64: fillFloat,
  float16: fillWords(numberToHalf, 0x7c00),
  bfloat16: fillWords(numberToBfloat16, 0x7f80),
  int8: fillInteger(...INTEGER_LIMITS.int8),
  int16: fillInteger(...INTEGER_LIMITS.int16),
  int32: fillInteger(...INTEGER_LIMITS.int32),
  int64: fillInt64,
  uint8: fillInteger(...INTEGER_LIMITS.uint8),
  uint16: fillInteger(...INTEGER_LIMITS.uint16),
  uint32: fillInteger(...INTEGER_LIMITS.uint32),
  uint64: fillUint64,
  bool: fillBool,
};

function badElement(
  value: unknown,
  index: number,
  dims: readonly number[],
  dtype: DataType,
  label: string,
): BraidError {
  const place = dims.length === 0 ? label : `${label} at ${shapeText(positionOf(index, dims))}`;
  if (Array.isArray(value)) {
    return new BraidError('INPUT_SHAPE', `${place} is an array, expected a ${dtype} of shape ${shapeText(dims)}`);
  }
  return new BraidError('INPUT_VALUE', `${place} is ${describe(value)}, expected ${expectation(value, dtype)}`);
}

function expectation(value: unknown, dtype: DataType): string {
  if (dtype === 'bool') return 'true or false';
  if (isFloat(dtype)) return `a finite ${dtype}`;
  const [min, max] = INTEGER_LIMITS[dtype as keyof typeof INTEGER_LIMITS];
  const wide = dtype === 'int64' || dtype === 'uint64';
  if (wide && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    return `a string for ${dtype} beyond 2^53, where JSON numbers lose digits`;
  }
  return `a whole number from ${min} to ${max}`;
}

function positionOf(index: number, dims: readonly number[]): number[] {
  const position: number[] = [];
  let rest = index;
  for (const dim of [...dims].reverse()) {
    position.unshift(rest % dim);
    rest = Math.floor(rest / dim);
  }
  return position;
}

function shapeText(dims: readonly number[]): string {
  return `[${dims.join(', ')}]`;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (isObject(value)) return 'an object';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An element in JSON. Strings stand for what a JSON number cannot hold. */
export type JsonElement = number | string | boolean;
export type NestedJson = JsonElement | readonly NestedJson[];

/**
 * The elements as JSON values in row-major order. An int64 or uint64 beyond 2^53 becomes a string of its digits, NaN and
 * the infinities become the strings "NaN", "Infinity" and "-Infinity": JSON has no numbers for them, and the null that
 * JSON.stringify would write does not tell them apart. bool becomes true or false.
 */
export function toFlatJson({ dtype, data }: Tensor): JsonElement[] {
  const out: JsonElement[] = [];
  const { length } = data;
  if (dtype === 'bool') {
    for (let i = 0; i < length; i++) out.push(data[i] !== 0);
  } else if (dtype === 'int64' || dtype === 'uint64') {
    for (let i = 0; i < length; i++) {
      const value = Number(data[i]);
      out.push(Number.isSafeInteger(value) ? value : String(data[i]));
    }
  } else {
    for (let i = 0; i < length; i++) {
      const value = readNumber(dtype, data, i);
      out.push(Number.isFinite(value) ? value : String(value));
    }
  }
  return out;
}

/** The elements as JSON values nested by the tensor's dims, each as toFlatJson gives it. A scalar is a bare element. */
export function toNestedJson(tensor: Tensor): NestedJson {
  const flat = toFlatJson(tensor);
  const { dims } = tensor;
  const nest = (depth: number, begin: number, size: number): NestedJson => {
    if (depth === dims.length) return flat[begin]!;
    if (depth === dims.length - 1) return flat.slice(begin, begin + size);
    const part = dims[depth] === 0 ? 0 : size / dims[depth]!;
    return Array.from({ length: dims[depth]! }, (_, i) => nest(depth + 1, begin + i * part, part));
  };
  return nest(0, 0, flat.length);
}
