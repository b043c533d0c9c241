import type { DlrmConfig } from './config.js';
import { ROWS, type LayerBuilder, type ZooInput } from './layers.js';

export function dlrmInputs(config: DlrmConfig): readonly ZooInput[] {
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

/** sigmoid(top([d, products of every pair of {d, embeddings}])) where d = bottom(dense) */
export function buildDlrm(layers: LayerBuilder, config: DlrmConfig): void {
  const { dense, tableRows, dim } = config;
  const bottom = layers.mlp('bottom', 'dense', dense, config.bottom, 'Relu', { activateLast: true });
  const columns = layers.columns('sparse', tableRows.length);
  const vectors = [bottom, ...layers.lookupEach('table', columns, tableRows, dim)];
  const pairs = interaction(layers, vectors, dim);
  const count = vectors.length;
  const width = dim + (count * (count - 1)) / 2;
  layers.probability(layers.mlp('top', layers.concat([bottom, pairs], 1), width, config.top, 'Relu'));
}

/** The products below the diagonal of vectors x vectors^T, row by row. */
function interaction(layers: LayerBuilder, vectors: readonly string[], dim: number): string {
  const count = vectors.length;
  // One concatenation and a reshape stack the vectors; stacking one by one would add a node a vector.
  const shape = layers.ints('interaction.shape', [0, count, dim]);
  const stacked = layers.op('Reshape', [layers.concat(vectors, 1), shape]);
  const products = layers.op('MatMul', [stacked, layers.op('Transpose', [stacked], { perm: [0, 2, 1] })]);
  const lower = layers.ints('interaction.lower', lowerTriangle(count));
  return layers.op('Gather', [layers.op('Flatten', [products], { axis: 1 }), lower], { axis: 1 });
}

/** Positions below the diagonal of an n x n matrix, row by row. */
function lowerTriangle(n: number): number[] {
  const positions: number[] = [];
  for (let row = 1; row < n; row++) for (let column = 0; column < row; column++) positions.push(row * n + column);
  return positions;
}
