import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import {
  TensorProto_DataLocation,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type StringStringEntryProto,
  type TensorProto,
} from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import { bytesPerElement } from '../../runtime/graph/dtype.js';
import { sizeOf } from '../../runtime/graph/tensor.js';
import { dataTypeOf, dimsFromProto } from './types.js';

/** Bytes of a file beside the model that hold one tensor's elements. `location` stays within the model's folder. */
export interface ExternalRange {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** Gives the bytes of a range, exactly `range.length` of them. `label` names the tensor in messages. */
export type ReadExternal = (range: ExternalRange, label: string) => Uint8Array;

/** Node refuses to read 2 GiB or more in one call. */
const READ_CHUNK_BYTES = 2 ** 30;

/**
 * Checks a tensor's external_data keys.
 * @param byteLength what the tensor's type and shape need.
 * @throws BraidError MODEL_INVALID for a missing location, one that leaves the model's folder, or an offset or length
 *   that is no number or does not fit.
 */
export function externalRange(
  entries: readonly StringStringEntryProto[],
  byteLength: number,
  label: string,
): ExternalRange {
  const keys = new Map(entries.map((entry) => [entry.key, entry.value]));
  const location = keys.get('location') ?? '';
  if (!isInside(location)) {
    throw new BraidError(
      'MODEL_INVALID',
      `${label} keeps its data in '${location}', expected a file within the model's folder`,
    );
  }
  const offset = byteCount(keys.get('offset'), 0, 'offset', label);
  const length = byteCount(keys.get('length'), byteLength, 'length', label);
  if (length !== byteLength) {
    throw new BraidError(
      'MODEL_INVALID',
      `${label} says it keeps ${length} bytes in '${location}', expected ${byteLength} for its type and shape`,
    );
  }
  return { location, offset, length };
}

/**
 * Reads every range of external data that a model refers to, each once, from files in `folder`.
 * Symbolic links are followed: model stores keep their weights behind them.
 * @returns a reader over what was read.
 * @throws BraidError MODEL_UNREADABLE that names the tensor, the file and the bytes found and expected.
 */
export async function loadExternal(model: ModelProto, folder: string): Promise<ReadExternal> {
  const files = new Map<string, FileHandle>();
  const loaded = new Map<string, Uint8Array>();
  try {
    for (const proto of externalTensors(model)) {
      const dtype = dataTypeOf(proto.dataType);
      // The importer refuses such a tensor with a better message than this function could give.
      if (!dtype) continue;
      const label = proto.name === '' ? 'an unnamed tensor' : `tensor '${proto.name}'`;
      const byteLength = sizeOf(dimsFromProto(proto.dims, label)) * bytesPerElement(dtype);
      const range = externalRange(proto.externalData, byteLength, label);
      const key = rangeKey(range);
      if (!loaded.has(key)) loaded.set(key, await readRange(files, folder, range, label));
    }
  } finally {
    for (const file of files.values()) await file.close();
  }
  return (range, label) => {
    const bytes = loaded.get(rangeKey(range));
    if (!bytes) throw new BraidError('INTERNAL', `${label}: external data in '${range.location}' was not loaded`);
    return bytes;
  };
}

function rangeKey(range: ExternalRange): string {
  return `${range.offset} ${range.length} ${range.location}`;
}

function isInside(location: string): boolean {
  if (location === '' || location.includes('\0')) return false;
  if (path.posix.isAbsolute(location) || path.win32.isAbsolute(location) || /^[a-z]:/i.test(location)) return false;
  return !location.split(/[/\\]/).includes('..');
}

function byteCount(text: string | undefined, fallback: number, key: string, label: string): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new BraidError('MODEL_INVALID', `${label} has the external ${key} '${text}', expected a number of bytes`);
}

async function readRange(
  files: Map<string, FileHandle>,
  folder: string,
  range: ExternalRange,
  label: string,
): Promise<Uint8Array> {
  const { location, offset, length } = range;
  const expected = `expected ${length} bytes at offset ${offset}`;
  try {
    let file = files.get(location);
    if (!file) {
      file = await open(path.join(folder, location), 'r');
      files.set(location, file);
    }
    const { size } = await file.stat();
    // Checked before the allocation, so that a corrupt length cannot ask for all memory.
    if (size < offset + length) {
      throw new BraidError(
        'MODEL_UNREADABLE',
        `${label} keeps its data in '${location}', which holds ${size} bytes, ${expected}`,
      );
    }
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await file.read(bytes, done, Math.min(READ_CHUNK_BYTES, length - done), offset + done);
      if (bytesRead === 0) throw new Error(`it ended after ${done} bytes`);
      done += bytesRead;
    }
    return bytes;
  } catch (cause) {
    if (cause instanceof BraidError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BraidError(
      'MODEL_UNREADABLE',
      `${label} keeps its data in '${location}', which cannot be read (${reason}), ${expected}`,
      { cause },
    );
  }
}

function* externalTensors(model: ModelProto): Generator<TensorProto> {
  if (model.graph) yield* inGraph(model.graph);
  for (const fn of model.functions) {
    yield* inNodes(fn.node);
    for (const attribute of fn.attributeProto) yield* inAttribute(attribute);
  }
}

function* inGraph(graph: GraphProto): Generator<TensorProto> {
  for (const proto of graph.initializer) yield* ifExternal(proto);
  for (const { values, indices } of graph.sparseInitializer) yield* ifExternal(values, indices);
  yield* inNodes(graph.node);
}

function* inNodes(nodes: readonly NodeProto[]): Generator<TensorProto> {
  for (const node of nodes) for (const attribute of node.attribute) yield* inAttribute(attribute);
}

function* inAttribute(attribute: AttributeProto): Generator<TensorProto> {
  yield* ifExternal(attribute.t, attribute.sparseTensor?.values, attribute.sparseTensor?.indices);
  if (attribute.g) yield* inGraph(attribute.g);
}

function* ifExternal(...tensors: (TensorProto | undefined)[]): Generator<TensorProto> {
  for (const proto of tensors) if (proto?.dataLocation === TensorProto_DataLocation.EXTERNAL) yield proto;
}
