import { describe, expect, it } from 'vitest';
import type { Tensor } from '../../../runtime/graph/tensor.js';
import { buildZoo, zooInputs, zooNames, type ZooScale } from '../../../src/zoo/index.js';
import { referenceLogits, referenceZoo } from './reference.js';

const ROWS = 16;
const SCALES: readonly ZooScale[] = ['tiny', 'published'];
const CASES = zooNames.flatMap((model) => SCALES.map((scale) => ({ model, scale })));
const OPTIONS = { maxRows: 300 };

describe.each(CASES)('$model at scale $scale', ({ model, scale }) => {
  const graph = buildZoo(model, scale, OPTIONS);
  const inputs = zooInputs(model, scale, ROWS, 11, OPTIONS);
  const logits = referenceLogits(model, graph, inputs);

  it('gives probabilities that are neither saturated nor constant', () => {
    const out = referenceZoo(model, graph, inputs);
    expect(out).toHaveLength(ROWS);
    expect(Math.min(...out)).toBeGreaterThan(0.001);
    expect(Math.max(...out)).toBeLessThan(0.999);
    expect(Math.max(...logits) - Math.min(...logits)).toBeGreaterThan(0.5);
  });

  it.each(Object.keys(inputs))('depends on %s in every row', (name) => {
    const others = zooInputs(model, scale, ROWS, 12, OPTIONS);
    const changed = referenceLogits(model, graph, { ...inputs, [name]: changedInput(name, inputs[name]!, others) });
    for (const [row, logit] of logits.entries()) expect(Math.abs(changed[row]! - logit)).toBeGreaterThan(1e-5);
  });

  it('treats rows alone as it treats them together', () => {
    const alone = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, slice(t, 5)]));
    expect(referenceLogits(model, graph, alone)[0]).toBe(logits[5]);
  });
});

/** Other values of an input. Two masks agree where both histories are full, so the first item is masked instead. */
function changedInput(name: string, input: Tensor, others: Readonly<Record<string, Tensor>>): Tensor {
  if (name !== 'hist_mask') return others[name]!;
  const history = input.dims[1]!;
  const data = Float32Array.from(input.data as Float32Array, (kept, i) => (i % history === 0 ? 1 - kept : kept));
  return { ...input, data };
}

function slice(t: Tensor, row: number): Tensor {
  const width = t.data.length / t.dims[0]!;
  return { ...t, dims: [1, ...t.dims.slice(1)], data: t.data.slice(row * width, (row + 1) * width) };
}

describe('DIN', () => {
  it('ignores what a masked position holds', () => {
    const graph = buildZoo('din', 'tiny');
    const inputs = zooInputs('din', 'tiny', ROWS, 11);
    const mask = inputs['hist_mask']!.data;
    const ids = BigInt64Array.from(inputs['hist_item']!.data as BigInt64Array, (id, i) => (mask[i] ? id : 7n));
    expect(ids).not.toEqual(inputs['hist_item']!.data);
    const changed = { ...inputs, hist_item: { ...inputs['hist_item']!, data: ids } };
    expect(referenceZoo('din', graph, changed)).toEqual(referenceZoo('din', graph, inputs));
  });
});
