import { sizeOf, type Tensor } from '../../runtime/graph/tensor.js';
import type { ZooInput } from './layers.js';
import { Random } from './random.js';

/** Share of rows whose user has a full history; the others' lengths are spread evenly from one item up. */
const FULL_HISTORIES = 0.5;

/**
 * Seeded inputs of `rows` rows: ids spread evenly over their tables, dense features over [0, 1). With `shared`, inputs of
 * the user have one row.
 */
export function drawInputs(
  inputs: readonly ZooInput[],
  rows: number,
  seed: number,
  shared = false,
): Record<string, Tensor> {
  const drawn: Record<string, Tensor> = {};
  for (const input of inputs) {
    const dims = [shared && input.ofUser ? 1 : rows, ...input.shape.slice(1)] as number[];
    drawn[input.name] = draw(input, dims, seed);
  }
  return drawn;
}

function draw({ name, values }: ZooInput, dims: readonly number[], seed: number): Tensor {
  const random = new Random(seed, name);
  switch (values.kind) {
    case 'unit': {
      const data = new Float32Array(sizeOf(dims));
      random.fillUniform(data, 0.5, 0.5);
      return { dtype: 'float32', dims, data };
    }
    case 'ids':
      return drawIds(random, dims, values.limits, () => true);
    case 'history':
      return drawIds(random, dims, values.limits, insideHistory(dims, seed));
    case 'mask': {
      const inside = insideHistory(dims, seed);
      const data = Float32Array.from({ length: sizeOf(dims) }, (_, i) => (inside(i) ? 1 : 0));
      return { dtype: 'float32', dims, data };
    }
  }
}

function drawIds(
  random: Random,
  dims: readonly number[],
  limits: readonly number[],
  inside: (position: number) => boolean,
): Tensor {
  const data = new BigInt64Array(sizeOf(dims));
  for (let i = 0; i < data.length; i++) {
    // Drawn even where it is not used, so that a row's ids do not depend on the lengths before it.
    const id = random.below(limits[i % limits.length]!);
    data[i] = inside(i) ? BigInt(id) : 0n;
  }
  return { dtype: 'int64', dims, data };
}

/**
 * Whether a position of [rows, history] holds an item. The lengths are drawn from the seed alone, so that a model's
 * items, categories and mask agree.
 */
function insideHistory([rows, history]: readonly number[], seed: number): (position: number) => boolean {
  const random = new Random(seed, 'history lengths');
  const lengths = Array.from({ length: rows! }, () => {
    const [full, length] = [random.unit() < FULL_HISTORIES, 1 + random.below(history!)];
    return full ? history! : length;
  });
  return (position) => position % history! < lengths[Math.floor(position / history!)]!;
}
