import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { GraphEngine, type Model } from '../../runtime/index.js';
import { importOnnxFile } from '../../src/onnx/index.js';
import { openBackend } from '../support/device.js';
import { sharedFolder, whyAbsent } from '../support/shared.js';

const FOLDER = sharedFolder('real/ncf');
const CANDIDATES = 100;
const TOP = 10;

/** A user with the held-out item first and 99 items the user never rated after it. */
interface Trial {
  readonly user: number;
  readonly items: readonly number[];
}

async function readTrials(): Promise<Trial[]> {
  const text = gunzipSync(await readFile(path.join(FOLDER!, 'ml-1m.test.negative.gz'))).toString();
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [pair, ...negatives] = line.split('\t');
      const [user, item] = pair!.slice(1, -1).split(',').map(Number) as [number, number];
      return { user, items: [item, ...negatives.map(Number)] };
    });
}

/** Items that score above the held-out one. */
async function rankOf(model: Model, { user, items }: Trial): Promise<number> {
  const ids = (values: readonly number[]) => BigInt64Array.from(values, BigInt);
  const dims = [items.length, 1];
  const { prediction_Sigmoid_01: scores } = await model.run({
    user_input_0: { dims, data: ids(items.map(() => user)) },
    item_input_0: { dims, data: ids(items) },
  });
  const [held, ...rest] = scores!.data as Float32Array;
  return rest.filter((score) => score > held!).length;
}

it.skipIf(!FOLDER)(
  `ranks MovieLens-1M as the trained NeuMF does, a user a query${whyAbsent('real/ncf')}`,
  async () => {
    const engine = new GraphEngine(await openBackend());
    const model = await engine.load(await importOnnxFile(path.join(FOLDER!, 'ncf.onnx')), { rows: 'lift' });
    const trials = await readTrials();
    expect(trials).toHaveLength(6040);
    expect(trials.every((t) => t.items.length === CANDIDATES)).toBe(true);
    const ranks = await Promise.all(trials.map((t) => rankOf(model, t)));
    const hits = ranks.filter((r) => r < TOP);
    const hitRate = hits.length / ranks.length;
    const ndcg = hits.reduce((sum, r) => sum + Math.LN2 / Math.log(r + 2), 0) / ranks.length;
    expect(hitRate).toBeCloseTo(0.596, 3);
    expect(ndcg).toBeCloseTo(0.3385, 3);
    await engine.close();
  },
  120_000,
);
