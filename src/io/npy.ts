/**
 * NumPy's .npy files: a Python dict literal as header, then the elements.
 * Read here and not through a package: those on npm are unmaintained or bring fetch polyfills, for a format this small.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import { BraidError } from '../../runtime/errors.js';
import { allocate, bytesOf, bytesPerElement } from '../../runtime/graph/dtype.js';
import type { DataType, TensorData } from '../../runtime/graph/dtype.js';
import { sizeOf, type Tensor } from '../../runtime/graph/tensor.js';
import { elementsOf, isShape, unreadable } from './common.js';

const MAGIC = '\x93NUMPY';
/** NumPy aligns the elements to this, so that the file can be mapped. */
const ALIGNMENT = 64;

/** Types by NumPy's kind and size. NumPy has no bfloat16 of its own. */
const FROM_FILE = new Map<string, DataType>([
  ['f2', 'float16'],
  ['f4', 'float32'],
  ['f8', 'float64'],
  ['i1', 'int8'],
  ['i2', 'int16'],
  ['i4', 'int32'],
  ['i8', 'int64'],
  ['u1', 'uint8'],
  ['u2', 'uint16'],
  ['u4', 'uint32'],
  ['u8', 'uint64'],
  ['b1', 'bool'],
]);
const TO_FILE = new Map([...FROM_FILE].map(([code, dtype]) => [dtype, code]));

/**
 * Reads a .npy file of version 1, 2 or 3. C-ordered elements are viewed where their alignment allows it, Fortran-ordered
 * ones are reordered.
 * @param source the file's name, for messages.
 * @throws BraidError FILE_UNREADABLE for another kind of file, a header that is cut off or malformed, big-endian, object,
 *   string and structured types, and another number of bytes than the shape needs.
 */
export function readNpy(bytes: Uint8Array, source = 'npy file'): Tensor {
  const { header, body } = split(bytes, source);
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1];
  const shape = /'shape'\s*:\s*\(([^()]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || shape === undefined) {
    throw unreadable(source, `the header ${header.trim()} lacks a plain descr, fortran_order or shape`);
  }
  const dtype = dtypeOf(descr, source);
  // Python 2 wrote long sizes as 3L.
  const dims = shape
    .split(',')
    .map((dim) => dim.trim().replace(/L$/, ''))
    .filter((dim) => dim !== '')
    .map((dim) => (/^\d+$/.test(dim) ? Number(dim) : Number.NaN));
  if (!isShape(dims)) throw unreadable(source, `the header has the impossible shape (${shape})`);
  const size = sizeOf(dims);
  const expected = size * bytesPerElement(dtype);
  if (body.length !== expected) {
    throw unreadable(source, `${body.length} bytes of data, expected ${expected} for ${dtype} [${dims.join(', ')}]`);
  }
  const data = elementsOf(dtype, body, size);
  return { dtype, dims, data: order === 'True' ? toRowMajor(dtype, dims, data) : data };
}

/**
 * Writes a tensor as a .npy file of version 1, in C order.
 * @throws BraidError INPUT_TYPE for bfloat16, which NumPy lacks.
 */
export function writeNpy(tensor: Tensor): Uint8Array {
  const code = TO_FILE.get(tensor.dtype);
  if (!code) {
    throw new BraidError('INPUT_TYPE', `npy has no ${tensor.dtype}, expected ${[...TO_FILE.keys()].join(', ')}`);
  }
  const descr = `${bytesPerElement(tensor.dtype) === 1 ? '|' : '<'}${code}`;
  const { dims } = tensor;
  const shape = dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(', ')})`;
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  const preamble = MAGIC.length + 4;
  const start = Math.ceil((preamble + text.length + 1) / ALIGNMENT) * ALIGNMENT;
  const header = `${text.padEnd(start - preamble - 1)}\n`;

  const file = new Uint8Array(start + tensor.data.byteLength);
  file.set(Buffer.from(`${MAGIC}\x01\x00`, 'latin1'));
  new DataView(file.buffer).setUint16(MAGIC.length + 2, header.length, true);
  file.set(Buffer.from(header, 'latin1'), preamble);
  file.set(bytesOf(tensor.data), start);
  return file;
}

function split(bytes: Uint8Array, source: string): { header: string; body: Uint8Array } {
  const latin1 = (begin: number, end: number): string =>
    Buffer.from(bytes.buffer, bytes.byteOffset + begin, end - begin).toString('latin1');
  if (bytes.length < MAGIC.length + 4 || latin1(0, MAGIC.length) !== MAGIC) {
    throw unreadable(source, `${bytes.length} bytes that do not start as a npy file does`);
  }
  const version = bytes[MAGIC.length]!;
  if (version < 1 || version > 3) throw unreadable(source, `npy version ${version}, expected 1 to 3`);
  // Version 2 widened the header's length to 32 bits, version 3 made the header UTF-8, which only field names need.
  const lengthBytes = version === 1 ? 2 : 4;
  const begin = MAGIC.length + 2 + lengthBytes;
  if (begin > bytes.length) throw unreadable(source, 'the header is cut off');
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const end = begin + (version === 1 ? view.getUint16(begin - 2, true) : view.getUint32(begin - 4, true));
  if (end > bytes.length) {
    throw unreadable(source, `the header ends at byte ${end}, but the file holds ${bytes.length}: it is cut off`);
  }
  return { header: latin1(begin, end), body: bytes.subarray(end) };
}

function dtypeOf(descr: string, source: string): DataType {
  const dtype = FROM_FILE.get(descr.slice(1));
  const order = descr[0];
  if (order === '>' && dtype) {
    throw unreadable(
      source,
      `big-endian elements ('${descr}'), expected little-endian: save it with .astype('<${descr.slice(1)}')`,
    );
  }
  if (dtype && (order === '<' || (order === '|' && bytesPerElement(dtype) === 1))) return dtype;
  const hint = descr.startsWith('|O') ? ' (a pickled Python object)' : '';
  throw unreadable(source, `element type '${descr}'${hint}, expected one of ${[...FROM_FILE.keys()].join(', ')}`);
}

/** Reorders column-major elements: the first axis varies fastest in them, the last one in the result. */
function toRowMajor(dtype: DataType, dims: readonly number[], data: TensorData): TensorData {
  const out = allocate(dtype, data.length);
  const strides: number[] = [];
  let stride = 1;
  for (const dim of dims) {
    strides.push(stride);
    stride *= dim;
  }
  const index = dims.map(() => 0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from]!;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < dims[axis]!) break;
      from -= strides[axis]! * dims[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}
