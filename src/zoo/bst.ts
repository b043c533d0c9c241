import type { BstConfig } from './config.js';
import { ROWS, type LayerBuilder, type ZooInput } from './layers.js';

export function bstInputs(config: BstConfig): readonly ZooInput[] {
  const { history, itemRows, profileRows } = config;
  return [
    {
      name: 'hist_item',
      dtype: 'int64',
      shape: [ROWS, history],
      values: { kind: 'ids', limits: [itemRows] },
      ofUser: true,
    },
    { name: 'item', dtype: 'int64', shape: [ROWS], values: { kind: 'ids', limits: [itemRows] } },
    {
      name: 'profile',
      dtype: 'int64',
      shape: [ROWS, profileRows.length],
      values: { kind: 'ids', limits: profileRows },
      ofUser: true,
    },
  ];
}

/** sigmoid(top([transformer block over history and candidate, profile])) */
export function buildBst(layers: LayerBuilder, config: BstConfig): void {
  const { dim, profileRows, profileDim } = config;
  const length = config.history + 1;
  const sequence = block(layers, embedSequence(layers, config), config);
  const columns = layers.columns('profile', profileRows.length);
  const profile = layers.lookupEach('profile', columns, profileRows, profileDim);
  const features = layers.concat([layers.op('Flatten', [sequence], { axis: 1 }), ...profile], 1);
  const inputs = length * dim + profileRows.length * profileDim;
  layers.probability(layers.mlp('top', features, inputs, config.top, 'LeakyRelu'));
}

/** Items of the history, then the candidate, each plus the embedding of its position. */
function embedSequence(layers: LayerBuilder, { itemRows, dim, history }: BstConfig): string {
  const candidate = layers.op('Unsqueeze', ['item', layers.ints('candidate.axis', [1])]);
  const ids = layers.concat(['hist_item', candidate], 1);
  const items = layers.lookup(layers.table('item', itemRows, dim), ids);
  return layers.op('Add', [items, layers.table('position', history + 1, dim)]);
}

/** Self-attention, then feed-forward, each added to what went in and normalized. */
function block(layers: LayerBuilder, x: string, config: BstConfig): string {
  const { dim, feedForward } = config;
  const attended = layers.layerNorm('norm_1', layers.op('Add', [x, attention(layers, x, config)]), dim);
  const widths = [feedForward, dim];
  const fed = layers.mlp('feed_forward', attended, dim, widths, 'LeakyRelu', { sequence: true });
  return layers.layerNorm('norm_2', layers.op('Add', [attended, fed]), dim);
}

function attention(layers: LayerBuilder, x: string, { dim, heads }: BstConfig): string {
  const split = layers.ints('attention.heads', [0, 0, heads, dim / heads]);
  const joined = layers.ints('attention.joined', [0, 0, dim]);
  const project = (name: string, perm: readonly number[]): string => {
    const value = layers.linearSequence(`attention.${name}`, x, dim, dim);
    return layers.op('Transpose', [layers.op('Reshape', [value, split])], { perm });
  };
  const query = project('query', [0, 2, 1, 3]);
  // Transposed for the product at once: [batch, heads, dim / heads, length].
  const key = project('key', [0, 2, 3, 1]);
  const value = project('value', [0, 2, 1, 3]);
  const divisor = layers.scalar('attention.divisor', Math.sqrt(dim / heads));
  const scores = layers.op('Div', [layers.op('MatMul', [query, key]), divisor]);
  const mixed = layers.op('MatMul', [layers.op('Softmax', [scores], { axis: -1 }), value]);
  const merged = layers.op('Reshape', [layers.op('Transpose', [mixed], { perm: [0, 2, 1, 3] }), joined]);
  return layers.linearSequence('attention.output', merged, dim, dim);
}
