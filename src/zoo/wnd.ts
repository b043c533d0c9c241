import type { WndConfig } from './config.js';
import { ROWS, type LayerBuilder, type ZooInput } from './layers.js';

export function wndInputs(config: WndConfig): readonly ZooInput[] {
  return [
    { name: 'dense', dtype: 'float32', shape: [ROWS, config.dense], values: { kind: 'unit' } },
    {
      name: 'sparse',
      dtype: 'int64',
      shape: [ROWS, config.tableRows.length],
      values: { kind: 'ids', limits: config.tableRows },
    },
  ];
}

/** sigmoid(deep([embeddings, dense]) + sum of the ids' own weights + linear(dense)) */
export function buildWnd(layers: LayerBuilder, config: WndConfig): void {
  const { dense, tableRows, dim } = config;
  const columns = layers.columns('sparse', tableRows.length);
  const features = layers.concat([...layers.lookupEach('deep_table', columns, tableRows, dim), 'dense'], 1);
  const deep = layers.mlp('deep', features, tableRows.length * dim + dense, config.deep, 'Relu');
  layers.probability(layers.op('Add', [deep, wide(layers, columns, config)]));
}

function wide(layers: LayerBuilder, columns: readonly string[], { dense, tableRows }: WndConfig): string {
  // Spread so that the sum over all features varies by about 1.
  const bound = Math.sqrt(3 / tableRows.length);
  const weights = columns.map((ids, i) =>
    layers.lookup(layers.weight(`wide_table.${i}.weight`, [tableRows[i]!, 1], bound), ids),
  );
  const sum = layers.op('ReduceSum', [layers.concat(weights, 1), layers.ints('wide.axes', [1])], { keepdims: 1 });
  return layers.op('Add', [sum, layers.linear('wide', 'dense', dense, 1)]);
}
