/**
 * safetensors files: eight bytes with the header's length, a JSON header, the elements.
 * Read here and not through a package: those on npm are unmaintained or bring fetch polyfills, for a format this small.
 * https://huggingface.co/docs/safetensors/index#format
 */
import { BraidError } from '../../runtime/errors.js';
import { bytesOf, bytesPerElement, type DataType } from '../../runtime/graph/dtype.js';
import { sizeOf, type Tensor } from '../../runtime/graph/tensor.js';
import { elementsOf, isShape, unreadable } from './common.js';

const TO_FILE: Record<DataType, string> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int8: 'I8',
  int16: 'I16',
  int32: 'I32',
  int64: 'I64',
  uint8: 'U8',
  uint16: 'U16',
  uint32: 'U32',
  uint64: 'U64',
  bool: 'BOOL',
};
const FROM_FILE = new Map(Object.entries(TO_FILE).map(([dtype, name]) => [name, dtype as DataType]));

const LENGTH_BYTES = 8;
/** The reference implementation's limit. */
const MAX_HEADER_BYTES = 100_000_000;
/** Header lengths are padded to this, so that elements of every type are aligned. */
const ALIGNMENT = 8;
const METADATA = '__metadata__';

interface Entry {
  readonly name: string;
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/**
 * Reads a safetensors file. Tensors are views of `bytes` where their alignment allows it.
 * @param source the file's name, for messages.
 * @throws BraidError FILE_UNREADABLE that names the file and the tensor, for a header that is cut off or no JSON, a type
 *   that Braid lacks, and offsets that do not fit the shape, lie outside the file, overlap or leave gaps.
 */
export function readSafetensors(bytes: Uint8Array, source = 'safetensors file'): Map<string, Tensor> {
  const { header, body } = split(bytes, source);
  const entries = Object.entries(header)
    .filter(([name]) => name !== METADATA)
    .map(([name, value]) => entryOf(name, value, source));
  checkCoverage(entries, body.length, source);
  return new Map(
    entries.map(({ name, dtype, dims, begin, end }) => {
      const data = elementsOf(dtype, body.subarray(begin, end), sizeOf(dims));
      return [name, { dtype, dims, data }];
    }),
  );
}

/**
 * Writes tensors as a safetensors file. The elements of wider types come first, so that each tensor is aligned to its
 * type.
 * @throws BraidError INPUT_UNKNOWN for a tensor named `__metadata__`, a name that the format keeps for itself.
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  if (tensors.has(METADATA))
    throw new BraidError('INPUT_UNKNOWN', `safetensors cannot hold a tensor named ${METADATA}`);
  const placed = [...tensors].sort(([, a], [, b]) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype));
  const begins = new Map<string, number>();
  let size = 0;
  for (const [name, tensor] of placed) {
    begins.set(name, size);
    size += tensor.data.byteLength;
  }
  const entries = [...tensors].map(([name, { dtype, dims, data }]): [string, unknown] => {
    const begin = begins.get(name)!;
    return [name, { dtype: TO_FILE[dtype], shape: dims, data_offsets: [begin, begin + data.byteLength] }];
  });
  if (metadata) entries.unshift([METADATA, metadata]);
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const headerBytes = Math.ceil(json.length / ALIGNMENT) * ALIGNMENT;

  const file = new Uint8Array(LENGTH_BYTES + headerBytes + size);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.set(json, LENGTH_BYTES);
  file.fill(0x20, LENGTH_BYTES + json.length, LENGTH_BYTES + headerBytes);
  for (const [name, tensor] of placed) {
    file.set(bytesOf(tensor.data), LENGTH_BYTES + headerBytes + begins.get(name)!);
  }
  return file;
}

function split(bytes: Uint8Array, source: string): { header: object; body: Uint8Array } {
  if (bytes.length < LENGTH_BYTES) {
    throw unreadable(source, `${bytes.length} bytes, too short for a safetensors file`);
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw unreadable(source, `a header of ${length} bytes, expected a safetensors file's, at most ${MAX_HEADER_BYTES}`);
  }
  const end = LENGTH_BYTES + Number(length);
  if (end > bytes.length) {
    throw unreadable(source, `the header ends at byte ${end}, but the file holds ${bytes.length}: it is cut off`);
  }
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(LENGTH_BYTES, end)));
  } catch (cause) {
    throw unreadable(source, `the header is no JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw unreadable(source, 'the header is no JSON object');
  }
  return { header, body: bytes.subarray(end) };
}

function entryOf(name: string, value: unknown, source: string): Entry {
  const { dtype: type, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
  const dtype = typeof type === 'string' ? FROM_FILE.get(type) : undefined;
  if (!dtype) {
    throw unreadable(
      source,
      `tensor '${name}' has type ${JSON.stringify(type)}, expected ${[...FROM_FILE.keys()].join(', ')}`,
    );
  }
  if (!isShape(shape)) throw unreadable(source, `tensor '${name}' has the impossible shape ${JSON.stringify(shape)}`);
  const [begin, end, ...more] = Array.isArray(offsets) ? (offsets as unknown[]) : [];
  if (!isOffset(begin) || !isOffset(end) || begin > end || more.length > 0) {
    throw unreadable(source, `tensor '${name}' has the impossible offsets ${JSON.stringify(offsets)}`);
  }
  const expected = sizeOf(shape) * bytesPerElement(dtype);
  if (end - begin !== expected) {
    throw unreadable(
      source,
      `tensor '${name}' takes ${end - begin} bytes, expected ${expected} for ${dtype} [${shape.join(', ')}]`,
    );
  }
  return { name, dtype, dims: shape, begin, end };
}

function isOffset(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** The format wants every byte of the body in exactly one tensor. */
function checkCoverage(entries: readonly Entry[], bodyBytes: number, source: string): void {
  let covered = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (end > bodyBytes) {
      throw unreadable(source, `tensor '${name}' ends at byte ${end} of the data, but the file holds ${bodyBytes}`);
    }
    if (begin !== covered) {
      const fault = begin < covered ? 'overlaps the tensor before it' : 'leaves a gap before it';
      throw unreadable(
        source,
        `tensor '${name}' starts at byte ${begin} of the data and ${fault}, expected ${covered}`,
      );
    }
    covered = end;
  }
  if (covered !== bodyBytes) {
    throw unreadable(source, `${bodyBytes} bytes of data, expected ${covered} for the tensors in the header`);
  }
}
