import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, type GraphProto, type ModelProto } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';
import { MIN_IR_VERSION } from './opsets.js';

/** A model that is known to have a graph. */
export type ParsedModel = ModelProto & { graph: GraphProto };

// Files that people take for models. The first bytes are compared as Latin-1 text.
const SIGNATURES: readonly (readonly [prefix: string, what: string])[] = [
  ['\x89PNG', 'a PNG image'],
  ['\xff\xd8\xff', 'a JPEG image'],
  ['PK\x03\x04', 'a ZIP archive (a PyTorch checkpoint is one)'],
  ['\x1f\x8b', 'a gzip archive'],
  ['\x80\x02', 'a Python pickle'],
  ['\x89HDF', 'an HDF5 file (a Keras model is one)'],
  ['%PDF', 'a PDF document'],
  ['\x93NUMPY', 'a NumPy array'],
  ['version https://git-lfs', 'a Git LFS pointer; fetch the file it stands for with `git lfs pull`'],
];

/**
 * Parses a model file and makes sure it has a graph.
 * @throws BraidError MODEL_UNREADABLE that says what the bytes are instead, as far as that can be told,
 *   MODEL_UNSUPPORTED for an IR version older than MIN_IR_VERSION.
 */
export function parseModel(bytes: Uint8Array): ParsedModel {
  if (bytes.length === 0) throw unreadable('is empty, expected an ONNX model');
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes, { readUnknownFields: false });
  } catch (cause) {
    const kind = kindOf(bytes);
    if (kind) throw unreadable(`looks like ${kind}, not an ONNX model`, cause);
    throw unreadable(`is truncated or corrupt, or no ONNX model: ${(cause as Error).message}`, cause);
  }
  const { graph } = model;
  if (!graph || (graph.node.length === 0 && model.opsetImport.length === 0)) {
    const kind = kindOf(bytes);
    if (kind) throw unreadable(`looks like ${kind}, not an ONNX model`);
    throw unreadable(`holds no ${graph ? 'nodes and no operator set' : 'graph'}, so it is not an ONNX model`);
  }
  if (model.irVersion < MIN_IR_VERSION) {
    throw new BraidError('MODEL_UNSUPPORTED', `has IR version ${model.irVersion}, expected ${MIN_IR_VERSION} or later`);
  }
  return model as ParsedModel;
}

function kindOf(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString('latin1');
  const known = SIGNATURES.find(([prefix]) => head.startsWith(prefix));
  if (known) return known[1];
  return /^[\t\n\r\x20-\x7e]+$/.test(head) ? 'text' : undefined;
}

function unreadable(found: string, cause?: unknown): BraidError {
  return new BraidError('MODEL_UNREADABLE', found, { cause });
}
