import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { TensorSpec } from '../api.js';
import { BraidError } from '../../runtime/errors.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import { unreadable } from './common.js';
import { readJson, writeJson } from './json.js';
import { readNpy, writeNpy } from './npy.js';
import { readTensorPb, writeTensorPb, type NamedTensor } from './pb.js';
import { readSafetensors, writeSafetensors } from './safetensors.js';

export {
  flattenJson,
  fromOpenInferenceType,
  readJson,
  toFlatJson,
  toNestedJson,
  toOpenInferenceType,
  writeJson,
  type JsonElement,
  type NestedJson,
} from './json.js';
export { readNpy, writeNpy } from './npy.js';
export { readTensorPb, writeTensorPb, type NamedTensor } from './pb.js';
export { readSafetensors, writeSafetensors } from './safetensors.js';

const EXPECTED = 'expected .safetensors, .npy, .json, .pb or a folder of input_K.pb';

/**
 * Reads tensors by name, from a file whose extension tells its format (.safetensors, .npy, .json, .pb), or from a folder
 * of input_0.pb, input_1.pb and so on, as ONNX test sets have them.
 *
 * A .npy file has no names in it: its tensor gets the name of the model's only input, or else the file's, without
 * extension. A .pb file names its tensor itself; where the model has no input of that name, the K-th file is the K-th input.
 * @param specs the model's inputs. A .json file of nested arrays cannot be read without them.
 * @throws BraidError FILE_UNREADABLE that names the file, what was found and what was expected; for .json also INPUT_*.
 */
export async function readTensors(file: string, specs?: readonly TensorSpec[]): Promise<Map<string, Tensor>> {
  if (await isFolder(file)) return readFolder(file, specs);
  const { name: stem, ext } = path.parse(file);
  const fallback = specs?.length === 1 ? specs[0]!.name : stem;
  switch (ext.toLowerCase()) {
    case '.safetensors':
      return readSafetensors(await read(file), file);
    case '.npy':
      return new Map([[fallback, readNpy(await read(file), file)]]);
    case '.json':
      return readJson(new TextDecoder().decode(await read(file)), specs, file);
    case '.pb': {
      const named = readTensorPb(await read(file), file);
      const known = specs?.length !== 1 || specs[0]!.name === named.name;
      return new Map([[(known && named.name) || fallback, named.tensor]]);
    }
    default:
      throw unreadable(file, `the extension is '${ext}', ${EXPECTED}`);
  }
}

/**
 * Writes tensors in the format that the extension tells: .safetensors, .json, or, for a single tensor, .npy and .pb.
 * A path without an extension is a folder, made where it is missing, for output_0.pb, output_1.pb and so on.
 * @throws BraidError FILE_UNREADABLE for an unknown extension, a path that cannot be written, and several tensors for a
 *   format that holds one; INPUT_TYPE for bfloat16 in .npy.
 */
export async function writeTensors(file: string, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
  const { ext } = path.parse(file);
  switch (ext.toLowerCase()) {
    case '.safetensors':
      return write(file, writeSafetensors(tensors));
    case '.npy':
      return write(file, writeNpy(only(tensors, file).tensor));
    case '.json':
      return write(file, writeJson(tensors));
    case '.pb': {
      const { name, tensor } = only(tensors, file);
      return write(file, writeTensorPb(tensor, name));
    }
    case '':
      return writeFolder(file, tensors);
    default:
      throw unreadable(file, `the extension is '${ext}', expected .safetensors, .npy, .json, .pb or a folder`);
  }
}

async function isFolder(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isDirectory();
  } catch (cause) {
    throw unreadable(file, `cannot be read: ${(cause as Error).message}`, cause);
  }
}

async function read(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw unreadable(file, `cannot be read: ${(cause as Error).message}`, cause);
  }
}

async function write(file: string, content: Uint8Array | string): Promise<void> {
  try {
    await writeFile(file, content);
  } catch (cause) {
    throw unreadable(file, `cannot be written: ${(cause as Error).message}`, cause);
  }
}

function only(tensors: ReadonlyMap<string, Tensor>, file: string): NamedTensor {
  const [first, ...others] = tensors;
  if (first && others.length === 0) return { name: first[0], tensor: first[1] };
  throw unreadable(file, `the format holds one tensor, found ${tensors.size}: write .safetensors or .json instead`);
}

async function readFolder(folder: string, specs: readonly TensorSpec[] | undefined): Promise<Map<string, Tensor>> {
  const indices = (await readdir(folder))
    .map((name) => /^input_(\d+)\.pb$/.exec(name)?.[1])
    .filter((index) => index !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
  if (indices.length === 0) throw unreadable(folder, 'the folder holds no input_K.pb');
  const known = new Set(specs?.map((spec) => spec.name));
  const tensors = new Map<string, Tensor>();
  for (const index of indices) {
    const file = path.join(folder, `input_${index}.pb`);
    const { name: own, tensor } = readTensorPb(await read(file), file);
    const named = own || `input_${index}`;
    const name = known.has(own) ? own : (specs?.[index]?.name ?? named);
    if (tensors.has(name))
      throw unreadable(file, `holds the input '${name}', which another file of the folder holds too`);
    tensors.set(name, tensor);
  }
  return tensors;
}

async function writeFolder(folder: string, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new BraidError('FILE_UNREADABLE', `${folder}: cannot be made: ${(cause as Error).message}`, { cause });
  }
  for (const [index, [name, tensor]] of [...tensors].entries()) {
    await write(path.join(folder, `output_${index}.pb`), writeTensorPb(tensor, name));
  }
}
