import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BraidError } from '../../runtime/errors.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import type { TensorSpec } from '../api.js';
import { readTensorPb, readTensors } from '../io/index.js';

/** Inputs of a model and the outputs that it should give for them. */
export interface CheckCase {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly expected: ReadonlyMap<string, Tensor>;
}

/** The declared tensors that files without names are matched to by position. */
export interface Interface {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

const INPUT_PREFIX = 'in.';
const OUTPUT_PREFIX = 'out.';

/**
 * Reads a case: a safetensors file with tensors `in.NAME` and `out.NAME`, or a folder of `input_K.pb` and `output_K.pb`.
 * @throws BraidError FILE_UNREADABLE that names the file, what was found and what was expected; OUTPUT_UNKNOWN.
 */
export async function readCase(path: string, model: Interface): Promise<CheckCase> {
  const found = (await isFolder(path)) ? await readFolder(path, model) : await readFlat(path);
  if (found.expected.size === 0) {
    throw unreadable(path, `holds no outputs to check, expected ${OUTPUT_PREFIX}NAME tensors or output_K.pb files`);
  }
  const known = new Set(model.outputs.map(({ name }) => name));
  for (const name of found.expected.keys()) {
    if (known.has(name)) continue;
    const names = [...known].map((n) => `'${n}'`).join(', ');
    throw new BraidError('OUTPUT_UNKNOWN', `${path}: the model has no output '${name}', it has ${names}`);
  }
  return found;
}

async function readFlat(path: string): Promise<CheckCase> {
  const inputs = new Map<string, Tensor>();
  const expected = new Map<string, Tensor>();
  for (const [name, tensor] of await readTensors(path)) {
    if (name.startsWith(INPUT_PREFIX)) inputs.set(name.slice(INPUT_PREFIX.length), tensor);
    else if (name.startsWith(OUTPUT_PREFIX)) expected.set(name.slice(OUTPUT_PREFIX.length), tensor);
    else throw unreadable(path, `holds tensor '${name}', expected names ${INPUT_PREFIX}NAME and ${OUTPUT_PREFIX}NAME`);
  }
  return { inputs, expected };
}

async function readFolder(folder: string, model: Interface): Promise<CheckCase> {
  const inputs = await readTensors(folder, model.inputs);
  const expected = new Map<string, Tensor>();
  const known = new Set(model.outputs.map(({ name }) => name));
  for (const index of await outputIndices(folder)) {
    const path = join(folder, `output_${index}.pb`);
    const { name: own, tensor } = readTensorPb(await readFile(path), path);
    // Exporters rename outputs now and then: a name the model lacks gives way to the position.
    const name = known.has(own) ? own : model.outputs[index]?.name;
    if (name === undefined) {
      throw new BraidError(
        'OUTPUT_UNKNOWN',
        `${path}: the model has no output number ${index}, it has ${model.outputs.length}`,
      );
    }
    if (expected.has(name))
      throw unreadable(path, `holds output '${name}', which another file of the folder holds too`);
    expected.set(name, tensor);
  }
  return { inputs, expected };
}

async function outputIndices(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  return names
    .map((name) => /^output_(\d+)\.pb$/.exec(name)?.[1])
    .filter((index) => index !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    throw new BraidError('FILE_UNREADABLE', `cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function unreadable(path: string, found: string): BraidError {
  return new BraidError('FILE_UNREADABLE', `${path} ${found}`);
}
