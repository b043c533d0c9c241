import { BraidError } from '../../runtime/errors.js';
import { viewBytes, type DataType, type TensorData } from '../../runtime/graph/dtype.js';
import { oneByteBools } from '../onnx/tensors.js';

/** The error of a tensor file that cannot be read. Messages start with the file. */
export function unreadable(source: string, found: string, cause?: unknown): BraidError {
  return new BraidError('FILE_UNREADABLE', `${source}: ${found}`, { cause });
}

/** Whether a file's shape is one that a tensor can have: whole sizes, and as many elements as can be counted. */
export function isShape(value: unknown): value is number[] {
  if (!Array.isArray(value)) return false;
  let size = 1;
  for (const dim of value as unknown[]) {
    if (typeof dim !== 'number' || !Number.isSafeInteger(dim) || dim < 0) return false;
    size *= dim;
  }
  return Number.isSafeInteger(size);
}

/** The elements that a file's bytes hold, viewed where their alignment allows it. */
export function elementsOf(dtype: DataType, bytes: Uint8Array, size: number): TensorData {
  return oneByteBools(dtype, viewBytes(dtype, bytes, size));
}
