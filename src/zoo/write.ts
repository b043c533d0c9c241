import { writeFile } from 'node:fs/promises';
import { BraidError } from '../../runtime/errors.js';
import { exportOnnx } from '../onnx/export.js';
import { buildZoo, describeModel, type BuildOptions } from './zoo.js';

/** Protobuf's limit on a message, less a mebibyte for everything that is not a weight. */
const MAX_WEIGHT_BYTES = 2 ** 31 - 2 ** 20;

/**
 * Writes a model of the zoo as one ONNX file.
 * @throws BraidError MODEL_NOT_FOUND that lists what exists; MODEL_UNSUPPORTED, before any weight is made, where the
 *   weights pass what one ONNX file can hold.
 */
export async function writeZoo(model: string, scale: string, path: string, options: BuildOptions = {}): Promise<void> {
  const { weightBytes } = describeModel(model, scale, options);
  if (weightBytes > MAX_WEIGHT_BYTES) {
    throw new BraidError(
      'MODEL_UNSUPPORTED',
      `${model} at scale ${scale} holds ${weightBytes} bytes of weights, an ONNX file at most ${MAX_WEIGHT_BYTES}; ` +
        'lower maxRows',
    );
  }
  await writeFile(path, exportOnnx(buildZoo(model, scale, options)));
}
