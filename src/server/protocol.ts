/**
 * The Open Inference Protocol's `infer` request and response, with Triton's binary tensor data extension.
 *
 * A body is a JSON object, followed by the raw little-endian elements of those tensors that are sent as binary data, in
 * the order in which the JSON lists them. The header Inference-Header-Content-Length holds the length of the JSON; 0
 * means that there is none and that the body is the one input of the model. Nothing here knows HTTP or Fastify.
 *
 * What a request says of itself is checked here: names, data types, number of elements and bytes. Whether a shape fits
 * the model is the engine's to say. Optional fields may be null, as some clients write what they leave out.
 */
import { BraidError } from '../../runtime/errors.js';
import { bytesOf, bytesPerElement, viewBytes, type DataType, type TensorData } from '../../runtime/graph/dtype.js';
import { sizeOf, type Tensor } from '../../runtime/graph/tensor.js';
import type { TensorSpec } from '../api.js';
import { flattenJson, fromOpenInferenceType, toFlatJson, toOpenInferenceType } from '../io/json.js';

export const HEADER_LENGTH = 'inference-header-content-length';

/** What decoding needs to know of the model. */
export interface ModelSpec {
  readonly name: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

export interface RequestedOutput {
  readonly name: string;
  readonly binary: boolean;
}

export interface InferRequest {
  readonly id?: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** In the order in which the response lists them; never empty. */
  readonly outputs: readonly RequestedOutput[];
  /** How long the answer is of use, from the request's arrival. */
  readonly deadlineMs?: number;
}

export interface InferResponse {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id?: string;
  readonly requested: readonly RequestedOutput[];
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/** A response body. `headerLength` is set where binary tensors follow the JSON. */
export interface EncodedResponse {
  readonly body: string | Buffer;
  readonly headerLength?: number;
}

type JsonObject = Readonly<Record<string, unknown>>;

/** Binary data starts on this boundary in responses: JSON may end in spaces, and clients can then view the tensors. */
const ALIGNMENT = 8;

/**
 * Reads the header that says how many bytes of a body are JSON.
 * @returns undefined where the header is absent: all of the body is JSON.
 */
export function parseHeaderLength(value: string | readonly string[] | undefined): number | undefined {
  if (value === undefined) return undefined;
  const length = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(length)) {
    throw invalid(
      `header Inference-Header-Content-Length is '${String(value)}', expected a number of bytes, 0 or more`,
    );
  }
  return length;
}

/**
 * Decodes an infer request.
 * @param headerLength what `parseHeaderLength` returned.
 * @returns tensors that view `body` wherever binary data is aligned to its element size.
 * @throws BraidError REQUEST_INVALID, INPUT_* or OUTPUT_UNKNOWN that names the input, what was found and expected.
 */
export function decodeInfer(body: Uint8Array, headerLength: number | undefined, model: ModelSpec): InferRequest {
  if (body.byteLength === 0) throw invalid('the body is empty, expected a JSON object with "inputs"');
  if (headerLength === 0) return decodeRaw(body, model);
  if (headerLength !== undefined && headerLength > body.byteLength) {
    throw invalid(
      `header Inference-Header-Content-Length is ${headerLength}, but the body holds only ${body.byteLength} bytes`,
    );
  }
  const request = parseObject(body.subarray(0, headerLength));
  const binary = new BinarySection(body.subarray(headerLength ?? body.byteLength), headerLength);
  const inputs = decodeInputs(request, binary, model);
  binary.expectEnd();
  const outputs = decodeOutputs(request, model);
  const deadlineMs = decodeTimeout(request);
  const id = request.id ?? undefined;
  if (id !== undefined && typeof id !== 'string') throw invalid(`"id" is ${found(id)}, expected a string`);
  return {
    ...(id === undefined ? {} : { id }),
    inputs,
    outputs,
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  };
}

/** Encodes the outputs a request asked for. JSON alone gives a string, binary tensors a buffer with their header. */
export function encodeInfer(response: InferResponse): EncodedResponse {
  const parts: Uint8Array[] = [];
  const outputs = response.requested.map(({ name, binary }) => {
    const tensor = response.outputs[name];
    if (!tensor) throw new BraidError('INTERNAL', `the engine returned no output '${name}'`);
    const head = { name, datatype: toOpenInferenceType(tensor.dtype), shape: tensor.dims };
    if (!binary) return { ...head, data: toFlatJson(tensor) };
    const bytes = bytesOf(tensor.data);
    parts.push(bytes);
    return { ...head, parameters: { binary_data_size: bytes.byteLength } };
  });
  const { modelName, modelVersion, id } = response;
  // JSON.stringify leaves an undefined id out.
  const json = JSON.stringify({ model_name: modelName, model_version: modelVersion, id, outputs });
  if (parts.length === 0) return { body: json };
  const length = Buffer.byteLength(json);
  const header = Buffer.from(json + ' '.repeat((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT));
  return { body: Buffer.concat([header, ...parts]), headerLength: header.byteLength };
}

/** A declared input or output as the metadata route lists it. */
export function describeTensor(spec: TensorSpec): { name: string; datatype: string; shape: number[] } {
  return {
    name: spec.name,
    datatype: toOpenInferenceType(spec.dtype),
    shape: spec.shape.map((dim) => (typeof dim === 'number' ? dim : -1)),
  };
}

/** The bytes after the JSON, handed out in order. */
class BinarySection {
  readonly #bytes: Uint8Array;
  readonly #headerLength: number | undefined;
  #taken = 0;

  constructor(bytes: Uint8Array, headerLength: number | undefined) {
    this.#bytes = bytes;
    this.#headerLength = headerLength;
  }

  take(name: string, size: number): Uint8Array {
    if (this.#headerLength === undefined) {
      throw invalid(
        `input '${name}' has parameters.binary_data_size ${size}, but without the header ` +
          'Inference-Header-Content-Length all of the body is JSON',
      );
    }
    const left = this.#bytes.byteLength - this.#taken;
    if (size > left) {
      throw new BraidError(
        'INPUT_SIZE',
        `input '${name}' has parameters.binary_data_size ${size}, but only ${left} bytes of the body are left for it`,
      );
    }
    const start = this.#taken;
    this.#taken += size;
    return this.#bytes.subarray(start, this.#taken);
  }

  expectEnd(): void {
    const left = this.#bytes.byteLength - this.#taken;
    if (left === 0) return;
    throw invalid(
      `${left} bytes are left after the last binary tensor: the inputs declare ${this.#taken} bytes of binary data, ` +
        `the body holds ${this.#bytes.byteLength} after its JSON of ${this.#headerLength} bytes`,
    );
  }
}

function parseObject(bytes: Uint8Array): JsonObject {
  let text: string;
  try {
    // The decoder takes no shared memory; a JSON header in front of binary tensors is small.
    const own = bytes.buffer instanceof SharedArrayBuffer ? bytes.slice() : bytes;
    text = new TextDecoder('utf-8', { fatal: true }).decode(own);
  } catch (error) {
    throw invalid('the JSON of the body is not UTF-8; does Inference-Header-Content-Length hold its length?', error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // JSON has no such numbers, yet many writers print them; the parser's own words do not say so.
    const hint = /[[,:\s-](NaN|Infinity|inf|nan)\b/.test(text)
      ? '; JSON has no NaN or Infinity, tensors with such values go as binary data'
      : '';
    throw invalid(`the body is not JSON: ${(error as Error).message}${hint}`, error);
  }
  if (!isObject(value)) throw invalid(`the body is ${found(value)}, expected a JSON object with "inputs"`);
  return value;
}

function decodeInputs(request: JsonObject, binary: BinarySection, model: ModelSpec): Record<string, Tensor> {
  const { inputs } = request;
  if (!Array.isArray(inputs)) throw invalid(`"inputs" is ${found(inputs)}, expected an array of tensors`);
  const specs = new Map(model.inputs.map((spec) => [spec.name, spec]));
  const tensors = new Map<string, Tensor>();
  for (const [index, input] of (inputs as unknown[]).entries()) {
    if (!isObject(input)) throw invalid(`inputs[${index}] is ${found(input)}, expected a tensor object`);
    const name = nameOf(input, `inputs[${index}]`);
    const spec = specs.get(name);
    if (!spec) {
      throw new BraidError(
        'INPUT_UNKNOWN',
        `model '${model.name}' has no input '${name}', its inputs are ${list(specs.keys())}`,
      );
    }
    if (tensors.has(name)) throw invalid(`input '${name}' is given twice`);
    tensors.set(name, decodeTensor(input, spec, binary));
  }
  const missing = [...specs.keys()].filter((name) => !tensors.has(name));
  if (missing.length > 0) {
    const given = tensors.size === 0 ? 'none was given' : `given were ${list(tensors.keys())}`;
    throw new BraidError('INPUT_MISSING', `model '${model.name}' needs ${list(missing)} too, ${given}`);
  }
  return Object.fromEntries(tensors);
}

function decodeTensor(input: JsonObject, spec: TensorSpec, binary: BinarySection): Tensor {
  const { name } = spec;
  const dtype = checkDataType(input.datatype, spec);
  const dims = checkShape(input.shape, name);
  const parameters = parametersOf(input, `input '${name}'`);
  refuse(parameters, ['shared_memory_region'], `input '${name}'`);
  const size = parameters.binary_data_size;
  if (size === undefined) {
    if (input.data === undefined) {
      throw invalid(`input '${name}' has neither "data" nor parameters.binary_data_size`);
    }
    if (isBinaryOnly(dtype)) {
      throw invalid(`input '${name}' is ${toOpenInferenceType(dtype)}, which has no JSON form: send it as binary data`);
    }
    return { dtype, dims, data: flattenJson(input.data, dims, dtype, name) };
  }
  if (input.data !== undefined) {
    throw invalid(`input '${name}' has both "data" and parameters.binary_data_size, expected one of them`);
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`input '${name}' has parameters.binary_data_size ${found(size)}, expected a number of bytes`);
  }
  const length = sizeOf(dims);
  const expected = length * bytesPerElement(dtype);
  if (size !== expected) {
    throw new BraidError(
      'INPUT_SIZE',
      `input '${name}' has parameters.binary_data_size ${size}, ` +
        `but ${toOpenInferenceType(dtype)} [${dims.join(', ')}] takes ${expected} bytes`,
    );
  }
  return { dtype, dims, data: viewElements(name, dtype, binary.take(name, size), length) };
}

/** Triton's raw binary request: the body is the one input, its shape deduced, and all outputs are wanted as binary. */
function decodeRaw(body: Uint8Array, model: ModelSpec): InferRequest {
  const [spec, ...others] = model.inputs;
  if (!spec || others.length > 0) {
    throw invalid(
      `header Inference-Header-Content-Length is 0: a body without JSON needs a model of one input, ` +
        `'${model.name}' has ${model.inputs.length}`,
    );
  }
  const known = spec.shape.filter((dim) => typeof dim === 'number');
  const free = spec.shape.length - known.length;
  if (free > 1) {
    throw invalid(
      `header Inference-Header-Content-Length is 0: the shape [${spec.shape.join(', ')}] of input '${spec.name}' has ` +
        `${free} free dimensions, at most 1 can be deduced from a body without JSON`,
    );
  }
  const bytes = sizeOf(known) * bytesPerElement(spec.dtype);
  const size = body.byteLength / bytes;
  if (free === 0 ? size !== 1 : !Number.isInteger(size)) {
    throw new BraidError(
      'INPUT_SIZE',
      `input '${spec.name}' is ${toOpenInferenceType(spec.dtype)} [${spec.shape.join(', ')}]: expected ` +
        `${free === 0 ? '' : 'a multiple of '}${bytes} bytes, the body holds ${body.byteLength}`,
    );
  }
  const dims = spec.shape.map((dim) => (typeof dim === 'number' ? dim : size));
  const data = viewElements(spec.name, spec.dtype, body, sizeOf(dims));
  return {
    inputs: Object.fromEntries([[spec.name, { dtype: spec.dtype, dims, data }]]),
    outputs: model.outputs.map(({ name }) => ({ name, binary: true })),
  };
}

function viewElements(name: string, dtype: DataType, bytes: Uint8Array, length: number): TensorData {
  if (dtype === 'bool') {
    const at = bytes.findIndex((byte) => byte > 1);
    if (at >= 0) {
      throw new BraidError('INPUT_VALUE', `input '${name}' holds byte ${bytes[at]} at element ${at}, a BOOL is 0 or 1`);
    }
  }
  return viewBytes(dtype, bytes, length);
}

function checkDataType(datatype: unknown, spec: TensorSpec): DataType {
  const expected = toOpenInferenceType(spec.dtype);
  const dtype = typeof datatype === 'string' ? fromOpenInferenceType(datatype) : undefined;
  if (dtype === spec.dtype) return dtype;
  throw new BraidError(
    'INPUT_TYPE',
    `input '${spec.name}' has datatype ${found(datatype)}, the model expects "${expected}"`,
  );
}

function checkShape(shape: unknown, name: string): number[] {
  const valid =
    Array.isArray(shape) &&
    shape.every((dim: unknown) => typeof dim === 'number' && Number.isSafeInteger(dim) && dim >= 0);
  if (!valid) {
    throw new BraidError(
      'INPUT_SHAPE',
      `input '${name}' has shape ${found(shape)}, expected an array of whole numbers, 0 or more`,
    );
  }
  return shape as number[];
}

/** Triton's request timeout, a whole number of microseconds; as there, 0 means none. In milliseconds. */
function decodeTimeout(request: JsonObject): number | undefined {
  const { timeout } = parametersOf(request, 'the request');
  if (timeout === undefined || timeout === 0) return undefined;
  if (typeof timeout !== 'number' || !Number.isSafeInteger(timeout) || timeout < 0) {
    throw invalid(`parameters.timeout of the request is ${found(timeout)}, expected a whole number of microseconds`);
  }
  return timeout / 1000;
}

function decodeOutputs(request: JsonObject, model: ModelSpec): RequestedOutput[] {
  const parameters = parametersOf(request, 'the request');
  const binaryByDefault = flag(parameters, 'binary_data_output', 'the request') ?? false;
  const outputs = request.outputs ?? [];
  if (!Array.isArray(outputs)) {
    throw invalid(`"outputs" is ${found(outputs)}, expected an array of objects with a name`);
  }
  const specs = new Map(model.outputs.map((spec) => [spec.name, spec]));
  const wanted = new Map<string, RequestedOutput>();
  for (const [index, output] of (outputs as unknown[]).entries()) {
    if (!isObject(output)) throw invalid(`outputs[${index}] is ${found(output)}, expected an object with a name`);
    const name = nameOf(output, `outputs[${index}]`);
    if (!specs.has(name)) {
      throw new BraidError(
        'OUTPUT_UNKNOWN',
        `model '${model.name}' has no output '${name}', its outputs are ${list(specs.keys())}`,
      );
    }
    if (wanted.has(name)) throw invalid(`output '${name}' is asked for twice`);
    const own = parametersOf(output, `output '${name}'`);
    refuse(own, ['classification', 'shared_memory_region'], `output '${name}'`);
    wanted.set(name, { name, binary: flag(own, 'binary_data', `output '${name}'`) ?? binaryByDefault });
  }
  // As in Triton, an empty list asks for everything.
  const chosen =
    wanted.size > 0 ? [...wanted.values()] : model.outputs.map(({ name }) => ({ name, binary: binaryByDefault }));
  for (const { name, binary } of chosen) {
    const { dtype } = specs.get(name)!;
    if (!binary && isBinaryOnly(dtype)) {
      throw invalid(
        `output '${name}' is ${toOpenInferenceType(dtype)}, which has no JSON form: ask for it with binary_data true`,
      );
    }
  }
  return chosen;
}

/** The 16-bit floats travel as binary data only: the protocol gives them no JSON form. */
function isBinaryOnly(dtype: DataType): boolean {
  return dtype === 'float16' || dtype === 'bfloat16';
}

function nameOf(object: JsonObject, where: string): string {
  const { name } = object;
  if (typeof name !== 'string') throw invalid(`${where} has name ${found(name)}, expected a string`);
  return name;
}

function parametersOf(object: JsonObject, owner: string): JsonObject {
  const parameters = object.parameters ?? {};
  if (!isObject(parameters)) throw invalid(`"parameters" of ${owner} is ${found(parameters)}, expected an object`);
  return parameters;
}

function flag(parameters: JsonObject, key: string, owner: string): boolean | undefined {
  const value = parameters[key];
  if (value !== undefined && typeof value !== 'boolean') {
    throw invalid(`parameters.${key} of ${owner} is ${found(value)}, expected true or false`);
  }
  return value;
}

/** Parameters of other extensions that would change the answer; any further parameter may be ignored. */
function refuse(parameters: JsonObject, keys: readonly string[], owner: string): void {
  const key = keys.find((k) => parameters[k] !== undefined);
  if (key !== undefined) throw invalid(`parameters.${key} of ${owner} is not supported`);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(message: string, cause?: unknown): BraidError {
  return new BraidError('REQUEST_INVALID', message, { cause });
}

/** A value as a message shows it: short, and without walking into whatever nesting a client sent. */
function found(value: unknown): string {
  if (value === undefined) return 'missing';
  if (isObject(value)) return 'an object';
  if (Array.isArray(value) && (value.length > 8 || value.some((v) => typeof v === 'object' && v !== null))) {
    return `an array of ${value.length} elements`;
  }
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function list(names: Iterable<string>): string {
  return [...names].map((name) => `'${name}'`).join(', ');
}
