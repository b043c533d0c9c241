import { basename, extname } from 'node:path';
import { BraidError } from '../runtime/errors.js';
import type { Graph } from '../runtime/graph/graph.js';
import type { ModelSource } from './api.js';
import { importOnnx, importOnnxFile } from './onnx/index.js';
import { buildZoo, zooSharedInputs } from './zoo/index.js';

/** The inputs that a source names as shared by the rows of a query. */
export function sharedBySource(source: ModelSource): readonly string[] | undefined {
  return source.kind === 'zoo' && source.shared ? zooSharedInputs(source.model, source.scale) : undefined;
}

/** The graph of a model, wherever it comes from. @throws BraidError MODEL_UNREADABLE, MODEL_INVALID, MODEL_NOT_FOUND. */
export async function readSource(source: ModelSource): Promise<Graph> {
  switch (source.kind) {
    case 'file':
      return importOnnxFile(source.path, { name: basename(source.path, extname(source.path)) });
    case 'bytes':
      return importOnnx(source.bytes, source.name === undefined ? {} : { name: source.name });
    case 'zoo':
      return { ...buildZoo(source.model, source.scale), name: source.model };
    case 'graph':
      return source.graph;
    default:
      throw new BraidError('REQUEST_INVALID', `unknown model source ${JSON.stringify(source satisfies never)}`);
  }
}
