import { describe, expect, it } from 'vitest';
import type { Graph } from '../../../runtime/graph/graph.js';
import { sizeOf } from '../../../runtime/graph/tensor.js';
import {
  DEFAULT_MAX_ROWS,
  buildZoo,
  describeModel,
  describeZoo,
  zooConfig,
  zooInputs,
  zooSharedInputs,
  zooNames,
  zooScales,
  type BuildOptions,
  type ZooName,
} from '../../../src/zoo/index.js';

const CASES = zooNames.flatMap((model) => zooScales.map((scale) => ({ model, scale })));

/** Few rows, so that the large scales keep their widths and build at once. */
const FEW_ROWS = { maxRows: 20 };

/** Operators that PyTorch's exporter writes for these models. */
const EXPORTED_OPERATORS = new Set([
  'Add',
  'Concat',
  'Div',
  'Expand',
  'Flatten',
  'Gather',
  'Gemm',
  'Greater',
  'LayerNormalization',
  'LeakyRelu',
  'MatMul',
  'Mul',
  'ReduceSum',
  'Relu',
  'Reshape',
  'Sigmoid',
  'Softmax',
  'Squeeze',
  'Sub',
  'Transpose',
  'Unsqueeze',
  'Where',
]);

function floatCount(graph: Graph): number {
  const weights = [...graph.constants.values()].filter((t) => t.dtype === 'float32' && t.dims.length > 0);
  return weights.reduce((sum, t) => sum + sizeOf(t.dims), 0);
}

/** Parameters of linear layers from `inputs` through `widths`. */
function mlpParameters(inputs: number, ...widths: number[]): number {
  return widths.reduce((sum, outputs, i) => sum + ((i ? widths[i - 1]! : inputs) + 1) * outputs, 0);
}

function shapes(model: ZooName, scale: string): Record<string, unknown> {
  const { inputs } = describeModel(model, scale);
  return Object.fromEntries(inputs.map(({ name, dtype, shape }) => [name, [dtype, ...shape]]));
}

function benchParameters(model: ZooName): number {
  return describeModel(model, 'bench').parameters;
}

describe.each(CASES)('$model at scale $scale', ({ model, scale }) => {
  const graph = buildZoo(model, scale, FEW_ROWS);

  it('reads only values that inputs, constants or earlier nodes define', () => {
    const defined = new Set([...graph.inputs.map((i) => i.name), ...graph.constants.keys()]);
    for (const node of graph.nodes) {
      for (const input of node.inputs) expect(defined, `${node.name} reads ${input}`).toContain(input);
      for (const output of node.outputs) defined.add(output);
    }
    for (const output of graph.outputs) expect(defined).toContain(output.name);
  });

  it('defines every name once and uses all it defines', () => {
    const names = [
      ...graph.inputs.map((i) => i.name),
      ...graph.constants.keys(),
      ...graph.nodes.flatMap((n) => n.outputs),
    ];
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(graph.nodes.map((n) => n.name)).size).toBe(graph.nodes.length);
    const used = new Set([...graph.nodes.flatMap((n) => n.inputs), ...graph.outputs.map((o) => o.name)]);
    expect(names.filter((name) => !used.has(name))).toEqual([]);
  });

  it('holds as many elements in each constant as its shape says', () => {
    for (const [name, { dims, data }] of graph.constants) expect(data.length, name).toBe(sizeOf(dims));
  });

  it('uses operators that exporters write', () => {
    for (const { op, domain } of graph.nodes) {
      expect(EXPORTED_OPERATORS).toContain(op);
      expect(domain).toBe('');
    }
  });

  it('declares one output, rows by one', () => {
    expect(graph.outputs).toEqual([{ name: 'out', dtype: 'float32', shape: ['batch', 1] }]);
  });

  it('is described by its real inputs and number of parameters', () => {
    const entry = describeModel(model, scale, FEW_ROWS);
    expect(entry.inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(graph.inputs);
    expect(entry.parameters).toBe(floatCount(graph));
    expect(entry.weightBytes).toBe(4 * entry.parameters);
  });
});

describe('inputs', () => {
  it('have the names, types and order of the benchmark models', () => {
    const dense = { dense: ['float32', 'batch', 13], sparse: ['int64', 'batch', 26] };
    expect(shapes('wnd', 'bench')).toEqual(dense);
    expect(shapes('dlrm', 'bench')).toEqual(dense);
    const din = {
      hist_item: ['int64', 'batch', 100],
      hist_cat: ['int64', 'batch', 100],
      hist_mask: ['float32', 'batch', 100],
      item: ['int64', 'batch'],
      cat: ['int64', 'batch'],
      profile: ['int64', 'batch', 8],
    };
    expect(shapes('din', 'bench')).toEqual(din);
    expect(Object.keys(shapes('din', 'bench'))).toEqual(Object.keys(din));
    const bst = { hist_item: ['int64', 'batch', 20], item: ['int64', 'batch'], profile: ['int64', 'batch', 8] };
    expect(shapes('bst', 'bench')).toEqual(bst);
    expect(Object.keys(shapes('bst', 'bench'))).toEqual(Object.keys(bst));
  });

  it('are as published: 512 dense features and 27 tables for WnD, 49 items for BST', () => {
    expect(shapes('wnd', 'published')).toEqual({ dense: ['float32', 'batch', 512], sparse: ['int64', 'batch', 27] });
    expect(shapes('bst', 'published')['hist_item']).toEqual(['int64', 'batch', 49]);
  });
});

describe('the bench scale', () => {
  const rows = 100_000;

  it('is the benchmark Wide & Deep', () => {
    const deep = 26 * 16 + 13;
    expect(benchParameters('wnd')).toBe(
      26 * rows * (16 + 1) + mlpParameters(13, 1) + mlpParameters(deep, 1024, 512, 256, 1),
    );
  });

  it('is the benchmark DLRM', () => {
    const pairs = (27 * 26) / 2;
    const mlps = mlpParameters(13, 512, 256, 128) + mlpParameters(128 + pairs, 1024, 1024, 512, 256, 1);
    expect(benchParameters('dlrm')).toBe(26 * rows * 128 + mlps);
  });

  it('is the benchmark DIN', () => {
    const tables = rows * 64 + 1000 * 64 + 8 * rows * 64;
    const mlps = mlpParameters(8 * 64, 80, 40, 1) + mlpParameters(8 * 64 + 4 * 64, 200, 80, 1);
    expect(benchParameters('din')).toBe(tables + mlps);
  });

  it('is the benchmark BST', () => {
    const tables = rows * 64 + 21 * 64 + 8 * rows * 64;
    const block = 4 * mlpParameters(64, 64) + 2 * 2 * 64 + mlpParameters(64, 4 * 64, 64);
    expect(benchParameters('bst')).toBe(tables + block + mlpParameters(21 * 64 + 8 * 64, 1024, 512, 256, 1));
    expect(zooConfig('bst', 'bench').heads).toBe(8);
  });

  it('differs from the demo scale in rows only', () => {
    for (const model of zooNames) {
      const graphs = ['bench', 'demo'].map((scale) => buildZoo(model, scale, FEW_ROWS));
      expect(graphs[0]!.nodes).toEqual(graphs[1]!.nodes);
    }
  });
});

describe('seeds', () => {
  it.each(zooNames)('make the same %s again, and another one from another seed', (model) => {
    const weights = (options?: BuildOptions): unknown =>
      [...buildZoo(model, 'tiny', options).constants].filter(([, t]) => t.dtype === 'float32');
    expect(weights()).toEqual(weights({ seed: 1 }));
    expect(weights({ seed: 2 })).not.toEqual(weights({ seed: 1 }));
  });

  it('give every tensor numbers of its own', () => {
    const graph = buildZoo('dlrm', 'tiny');
    const first = [...Array(26).keys()].map((i) => graph.constants.get(`table.${i}.weight`)!.data[0]);
    expect(new Set(first).size).toBe(26);
  });

  it('give the same numbers on every machine', () => {
    const graph = buildZoo('wnd', 'tiny');
    expect(graph.constants.get('deep.0.weight')!.data[0]).toBe(Math.fround(0.025103604421019554));
    expect(zooInputs('wnd', 'tiny', 1, 1)['sparse']!.data[0]).toBe(35n);
  });
});

describe('rows', () => {
  it('stay within maxRows', () => {
    expect(zooConfig('dlrm', 'published', { maxRows: 30 }).tableRows.slice(0, 6)).toEqual([30, 30, 30, 30, 30, 24]);
    expect(buildZoo('din', 'tiny', { maxRows: 30 }).constants.get('category.weight')!.dims).toEqual([30, 8]);
  });

  it('stay within 100,000 by default', () => {
    const published = zooConfig('dlrm', 'published').tableRows;
    expect(Math.max(...published)).toBe(DEFAULT_MAX_ROWS);
    expect(published).toHaveLength(26);
    expect(Math.max(...zooConfig('dlrm', 'published', { maxRows: Infinity }).tableRows)).toBe(10_131_227);
  });
});

describe('inputs of the user', () => {
  it('are told from the candidate by DIN and BST', () => {
    expect(zooNames.map((model) => zooSharedInputs(model))).toEqual([
      [],
      ['hist_item', 'hist_cat', 'hist_mask', 'profile'],
      [],
      ['hist_item', 'profile'],
    ]);
  });

  it('are drawn once where they are shared', () => {
    const leading = (shared: boolean): unknown =>
      Object.entries(zooInputs('bst', 'tiny', 5, 1, { shared })).map(([name, { dims }]) => [name, dims[0]]);
    expect(leading(true)).toEqual([
      ['hist_item', 1],
      ['item', 5],
      ['profile', 1],
    ]);
    expect(leading(false)).toEqual(expect.arrayContaining([['profile', 5]]));
  });
});

describe('names', () => {
  it('that do not exist are refused with those that do', () => {
    expect(() => buildZoo('ncf', 'tiny')).toThrow("no zoo model 'ncf'; models are wnd, din, dlrm, bst");
    expect(() => buildZoo('wnd', 'huge')).toThrow("no zoo scale 'huge'; scales are tiny, demo, bench, published");
    expect(() => zooInputs('ncf', 'tiny', 1, 1)).toThrow(expect.objectContaining({ code: 'MODEL_NOT_FOUND' }));
    expect(() => describeModel('wnd', 'huge')).toThrow(expect.objectContaining({ code: 'MODEL_NOT_FOUND' }));
  });

  it('of a model alone mean its demo scale', () => {
    expect(buildZoo('bst').name).toBe('bst-demo');
  });

  it('are all listed', () => {
    expect(describeZoo().map(({ model, scale }) => ({ model, scale }))).toEqual(CASES);
  });
});
