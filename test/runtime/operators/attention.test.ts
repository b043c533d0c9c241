import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphEngine, tensorOf, type Tensor } from '../../../runtime/index.js';
import {
  data,
  deviceProblems,
  floats,
  Random,
  referenceProblems,
  SEED,
  uncovered,
  type Case,
} from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { FAMILIES } from '../../../runtime/operators/registry.js';

interface Setup {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly mask?: Tensor;
  readonly past?: readonly [Tensor, Tensor];
  readonly attributes?: Readonly<Record<string, number>>;
}

/** Attention over [batch, heads, length, size], element by element. */
function brute({ q, k, v, mask, past, attributes = {} }: Setup): Tensor {
  const join = (a: Tensor | undefined, b: Tensor): Tensor => {
    if (!a) return b;
    const [n, h, s, d] = a.dims as [number, number, number, number];
    const t = b.dims[2]!;
    const out: number[] = [];
    for (let g = 0; g < n * h; g++) {
      out.push(...Array.from(a.data as Float32Array).slice(g * s * d, (g + 1) * s * d));
      out.push(...Array.from(b.data as Float32Array).slice(g * t * d, (g + 1) * t * d));
    }
    return floats([n, h, s + t, d], out);
  };
  const [key, value] = [join(past?.[0], k), join(past?.[1], v)];
  const [n, h, s, d] = q.dims as [number, number, number, number];
  const [, kh, t] = key.dims as [number, number, number];
  const dv = value.dims[3]!;
  const scale = attributes['scale'] ?? 1 / Math.sqrt(d);
  const out: number[] = [];
  for (let b = 0; b < n; b++)
    for (let head = 0; head < h; head++) {
      const from = b * kh + Math.floor(head / (h / kh));
      for (let i = 0; i < s; i++) {
        const scores = Array.from({ length: t }, (_, j) => {
          let dot = 0;
          for (let e = 0; e < d; e++)
            dot += Number(q.data[((b * h + head) * s + i) * d + e]) * Number(key.data[(from * t + j) * d + e]);
          let score = dot * scale;
          const cap = attributes['softcap'] ?? 0;
          if (cap > 0) score = cap * Math.tanh(score / cap);
          if (attributes['is_causal'] && j > i + (t - k.dims[2]!)) return -Infinity;
          if (mask?.dtype === 'bool') return mask.data[i * t + j] ? score : -Infinity;
          return mask ? score + Number(mask.data[i * t + j]) : score;
        });
        const most = Math.max(...scores);
        const weights = scores.map((x) => (most === -Infinity ? 0 : Math.exp(x - most)));
        const total = weights.reduce((a, x) => a + x, 0) || 1;
        for (let e = 0; e < dv; e++)
          out.push(weights.reduce((a, w, j) => a + (w / total) * Number(value.data[(from * t + j) * dv + e]), 0));
      }
    }
  return floats([n, h, s, dv], out);
}

const attention = (title: string, setup: Setup): Case => ({
  title,
  op: 'Attention',
  opset: 23,
  inputs: [
    data(setup.q),
    data(setup.k),
    data(setup.v),
    setup.mask && data(setup.mask),
    ...(setup.past ?? []).map((x) => data(x)),
  ],
  attributes: setup.attributes ?? {},
  expected: [brute(setup)],
});

const one = floats([1, 1, 1, 1], [1]);
const keys = floats([1, 1, 2, 1], [0, Math.log(3)]);
const values = floats([1, 1, 2, 1], [4, 8]);

function cases(random: Random): Case[] {
  const q = random.floats([2, 4, 3, 5]);
  const k = random.floats([2, 4, 6, 5]);
  const v = random.floats([2, 4, 6, 2]);
  const few = { k: random.floats([2, 2, 6, 5]), v: random.floats([2, 2, 6, 2]) };
  // The second query sees no key.
  const sees = Array.from({ length: 18 }, (_, i) => (i >= 6 && i < 12 ? 0 : i % 3));
  return [
    { ...attention('by hand', { q: one, k: keys, v: values }), expected: [floats([1, 1, 1, 1], [7])] },
    attention('plain', { q, k, v }),
    attention('causal', { q, k, v, attributes: { is_causal: 1 } }),
    attention('scaled and capped', { q, k, v, attributes: { scale: 0.3, softcap: 0.7 } }),
    attention('with a mask', { q, k, v, mask: random.floats([3, 6]) }),
    attention('with a bool mask', { q, k, v, mask: tensorOf('bool', [3, 6], sees) }),
    attention('with shared keys', { q, ...few, attributes: { is_causal: 1 } }),
    attention('with a past', {
      q,
      k,
      v,
      past: [random.floats([2, 4, 2, 5]), random.floats([2, 4, 2, 2])],
      attributes: { is_causal: 1 },
    }),
    {
      title: 'of symbolic lengths',
      op: 'Attention',
      opset: 23,
      inputs: [
        data(random.floats([2, 3, 8]), ['n', 's', 8]),
        data(random.floats([2, 5, 4]), ['n', 't', 4]),
        data(random.floats([2, 5, 6]), ['n', 't', 6]),
      ],
      attributes: { q_num_heads: 4, kv_num_heads: 2, is_causal: 1 },
    },
    {
      title: 'by hand',
      op: 'RotaryEmbedding',
      opset: 23,
      inputs: [
        data(floats([1, 1, 2, 2], [1, 2, 3, 4])),
        data(floats([2, 1], [1, 0])),
        data(floats([2, 1], [0, 1])),
        data(tensorOf('int64', [1, 2], [0, 1])),
      ],
      expected: [floats([1, 1, 2, 2], [1, 2, -4, 3])],
    },
    ...[0, 1].map((interleaved): Case => ({
      title: `interleaved ${interleaved}, of some features`,
      op: 'RotaryEmbedding',
      opset: 23,
      inputs: [
        data(floats([1, 1, 10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])),
        data(floats([1, 1, 2], [0, 1])),
        data(floats([1, 1, 2], [1, 0])),
      ],
      attributes: { interleaved, num_heads: 2, rotary_embedding_dim: 4 },
      expected: [
        floats([1, 1, 10], interleaved ? [-2, 1, 3, 4, 5, -7, 6, 8, 9, 10] : [-3, 2, 1, 4, 5, -8, 7, 6, 9, 10]),
      ],
    })),
  ];
}

describe('attention', () => {
  let engine: GraphEngine;
  const all = cases(new Random());

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  it('is tested', () => {
    expect(uncovered(FAMILIES.attention, all)).toEqual([]);
  });

  it(`has a reference that follows its definition (seed ${SEED})`, () => {
    expect(referenceProblems(all)).toEqual([]);
  });

  it('is computed on the device', async () => {
    expect(await deviceProblems(engine, all)).toEqual([]);
  });
});
