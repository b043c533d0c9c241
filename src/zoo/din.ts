import type { DinConfig } from './config.js';
import { ROWS, type LayerBuilder, type ZooInput } from './layers.js';

/** Score of a masked position. Its softmax underflows to 0 in float32, and it still fits a float16. */
const MASKED_SCORE = -6e4;

export function dinInputs(config: DinConfig): readonly ZooInput[] {
  const { history, itemRows, categoryRows, profileRows } = config;
  const [items, categories] = [[itemRows], [categoryRows]];
  return [
    {
      name: 'hist_item',
      dtype: 'int64',
      shape: [ROWS, history],
      values: { kind: 'history', limits: items },
      ofUser: true,
    },
    {
      name: 'hist_cat',
      dtype: 'int64',
      shape: [ROWS, history],
      values: { kind: 'history', limits: categories },
      ofUser: true,
    },
    { name: 'hist_mask', dtype: 'float32', shape: [ROWS, history], values: { kind: 'mask' }, ofUser: true },
    { name: 'item', dtype: 'int64', shape: [ROWS], values: { kind: 'ids', limits: items } },
    { name: 'cat', dtype: 'int64', shape: [ROWS], values: { kind: 'ids', limits: categories } },
    {
      name: 'profile',
      dtype: 'int64',
      shape: [ROWS, profileRows.length],
      values: { kind: 'ids', limits: profileRows },
      ofUser: true,
    },
  ];
}

/** sigmoid(top([attended history, candidate, profile])), a key being an item's embedding and its category's */
export function buildDin(layers: LayerBuilder, config: DinConfig): void {
  const { profileRows, profileDim, dim } = config;
  const width = 2 * dim;
  const items = layers.table('item', config.itemRows, dim);
  const categories = layers.table('category', config.categoryRows, dim);
  const keys = layers.concat([layers.lookup(items, 'hist_item'), layers.lookup(categories, 'hist_cat')], -1);
  const query = layers.concat([layers.lookup(items, 'item'), layers.lookup(categories, 'cat')], -1);

  let attended = weightedSum(layers, attentionWeights(layers, query, keys, config), keys);
  if (config.historyLayer) attended = layers.linear('history', attended, width, width);

  const columns = layers.columns('profile', profileRows.length);
  const profile = layers.lookupEach('profile', columns, profileRows, profileDim);
  const features = layers.concat([attended, query, ...profile], 1);
  const inputs = 2 * width + profileRows.length * profileDim;
  let logit = layers.mlp('top', features, inputs, config.top, config.activation);
  if (config.itemBias) {
    const bias = layers.weight('item_bias.weight', [config.itemRows, 1], 0.5);
    logit = layers.op('Add', [logit, layers.lookup(bias, 'item')]);
  }
  layers.probability(logit);
}

/** softmax over the history of perceptron([query, key, query - key, query * key]), [batch, history] */
function attentionWeights(layers: LayerBuilder, query: string, keys: string, config: DinConfig): string {
  const width = 2 * config.dim;
  const queryRow = layers.op('Unsqueeze', [query, layers.ints('attention.query_axis', [1])]);
  // Concat does not broadcast; ones in this shape leave the other dimensions as they are.
  const repeated = layers.op('Expand', [queryRow, layers.ints('attention.repeat', [1, config.history, 1])]);
  const difference = layers.op('Sub', [queryRow, keys]);
  const product = layers.op('Mul', [queryRow, keys]);
  const features = layers.concat([repeated, keys, difference, product], -1);
  const hidden = layers.mlp('attention', features, 4 * width, config.attention, config.activation, { sequence: true });
  const scores = layers.op('Squeeze', [hidden, layers.ints('attention.score_axis', [-1])]);

  const kept = layers.op('Greater', ['hist_mask', layers.scalar('attention.zero', 0)]);
  let masked = layers.op('Where', [kept, scores, layers.scalar('attention.masked', MASKED_SCORE)]);
  if (config.scaledScores) {
    masked = layers.op('Div', [masked, layers.scalar('attention.divisor', Math.sqrt(width))]);
  }
  return layers.op('Softmax', [masked], { axis: -1 });
}

/** [batch, history] weights times [batch, history, width] keys, [batch, width] */
function weightedSum(layers: LayerBuilder, weights: string, keys: string): string {
  const axis = layers.ints('attended.axis', [1]);
  const product = layers.op('MatMul', [layers.op('Unsqueeze', [weights, axis]), keys]);
  return layers.op('Squeeze', [product, axis]);
}
