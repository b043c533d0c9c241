import { fromBinary } from '@bufbuild/protobuf';
import { AttributeProto_AttributeType as Type, ModelProtoSchema } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../../runtime/graph/builder.js';
import type { Attribute, Graph } from '../../../runtime/graph/graph.js';
import { tensorOf } from '../../../runtime/graph/tensor.js';
import { exportOnnx, importOnnx, importOnnxFile } from '../../../src/onnx/index.js';
import { GOLDEN_MODELS, goldenPath } from '../../support/golden.js';
import { expectError } from '../../support/errors.js';
import { comparable } from './models.js';

const parse = (graph: Graph) => fromBinary(ModelProtoSchema, exportOnnx(graph));

function withAttributes(op: string, attributes: Record<string, Attribute>, opset = 17): Graph {
  const builder = new GraphBuilder('made', opset);
  const x = builder.input('x', 'float32', ['n', 3]);
  builder.output(builder.op(op, [x], attributes), 'float32', ['n', 3]);
  return builder.build();
}

const attributeTypes = (graph: Graph) =>
  Object.fromEntries(parse(graph).graph!.node[0]!.attribute.map(({ name, type }) => [name, Type[type]]));

const versions = (graph: Graph) => {
  const { irVersion, opsetImport } = parse(graph);
  return [Number(irVersion), ...opsetImport.map(({ domain, version }) => [domain, Number(version)])];
};

describe('exportOnnx', () => {
  it.each(GOLDEN_MODELS)('writes %s so that it imports as the same graph', async (name) => {
    const graph = await importOnnxFile(goldenPath(`${name}.onnx`));
    expect(comparable(importOnnx(exportOnnx(graph), { name }))).toEqual(comparable(graph));
  });

  it('keeps all that a graph can hold', () => {
    const builder = new GraphBuilder('all', 13);
    const x = builder.input('x', 'float16', ['rows', null, 0, 5]);
    builder.input('unshaped', 'bool', []);
    builder.constant('half', tensorOf('float16', [2], [0.5, -1]));
    builder.constant('scalar', tensorOf('int64', [], [7]));
    builder.constant('empty', tensorOf('uint32', [0, 2], []));
    const body: Graph = {
      name: 'body',
      inputs: [],
      outputs: [{ name: 'b', dtype: 'float32' }],
      nodes: [
        { name: 'inner', op: 'Abs', domain: '', opset: 13, inputs: [x], outputs: ['b'], attributes: {} },
        {
          name: 'foreign',
          op: 'Gelu',
          domain: 'com.microsoft',
          opset: 1,
          inputs: ['b'],
          outputs: ['g'],
          attributes: {},
        },
      ],
      constants: new Map([['k', tensorOf('bfloat16', [1], [2])]]),
      notices: [],
    };
    builder.op(
      'Made',
      [x, '', 'half'],
      {
        axis: -1,
        alpha: 2,
        far: 2 ** 63,
        near: -(2 ** 63),
        text: 'grün',
        ints: [1, 2],
        empty: [],
        scales: [1, 2],
        strings: ['a', ''],
        tensor: tensorOf('int8', [2], [1, -1]),
        body,
      },
      { outputs: ['y', '', 'z'] },
    );
    builder.output('y', 'float32');
    builder.output('z', 'float64', ['rows', 2]);
    const graph = builder.build();
    const back = importOnnx(exportOnnx(graph));
    expect(comparable({ ...back, notices: [] })).toEqual(comparable(graph));
  });

  it('gives whole numbers the type that ONNX gives the attribute', () => {
    expect(attributeTypes(withAttributes('Gemm', { alpha: 1, beta: 2, transA: 1 }))).toEqual({
      alpha: 'FLOAT',
      beta: 'FLOAT',
      transA: 'INT',
    });
    expect(attributeTypes(withAttributes('LayerNormalization', { axis: -1, epsilon: 1, stash_type: 1 }))).toEqual({
      axis: 'INT',
      epsilon: 'FLOAT',
      stash_type: 'INT',
    });
    expect(attributeTypes(withAttributes('Selu', { alpha: 1, gamma: 2 }))).toEqual({ alpha: 'FLOAT', gamma: 'FLOAT' });
    expect(attributeTypes(withAttributes('Dropout', { seed: 3 }))).toEqual({ seed: 'INT' });
    expect(attributeTypes(withAttributes('RandomNormalLike', { seed: 3, mean: 0, scale: 1 }))).toEqual({
      seed: 'FLOAT',
      mean: 'FLOAT',
      scale: 'FLOAT',
    });
    expect(attributeTypes(withAttributes('LpNormalization', { p: 2, axis: 1 }))).toEqual({ p: 'INT', axis: 'INT' });
    expect(attributeTypes(withAttributes('Pad', { value: 0, pads: [0, 1], mode: 'constant' }, 10))).toEqual({
      value: 'FLOAT',
      pads: 'INTS',
      mode: 'STRING',
    });
    expect(attributeTypes(withAttributes('ConstantOfShape', { value: tensorOf('float32', [1], [1]) }))).toEqual({
      value: 'TENSOR',
    });
    expect(attributeTypes(withAttributes('Custom', { fraction: 0.5, several: [1, 0.5] }))).toEqual({
      fraction: 'FLOAT',
      several: 'FLOATS',
    });
  });

  it('writes the opset of the nodes, 17 without any, and the IR version of its time', () => {
    expect(versions(withAttributes('Relu', {}, 13))).toEqual([8, ['', 13]]);
    expect(versions(withAttributes('Relu', {}, 19))).toEqual([9, ['', 19]]);
    expect(versions(withAttributes('Relu', {}, 21))).toEqual([10, ['', 21]]);
    expect(versions(withAttributes('Relu', {}, 23))).toEqual([11, ['', 23]]);
    expect(versions(new GraphBuilder('empty').build())).toEqual([8, ['', 17]]);
  });

  it('refuses nodes of different opsets', () => {
    const [first, second] = [withAttributes('Relu', {}, 13), withAttributes('Abs', {}, 17)];
    const mixed = { ...first, nodes: [...first.nodes, ...second.nodes] };
    expectError('MODEL_UNSUPPORTED', /opsets 13 and 17 of domain ''.*'Abs_0'/, () => exportOnnx(mixed));
  });

  it('refuses weights beyond what protobuf holds', () => {
    const graph = withAttributes('Relu', {});
    const data = { byteLength: 2 ** 31 } as Float32Array;
    const huge = { ...graph, constants: new Map([['w', { dtype: 'float32' as const, dims: [2 ** 29], data }]]) };
    expectError('MODEL_UNSUPPORTED', /made: 2147483648 bytes of weights do not fit/, () => exportOnnx(huge));
  });
});
