import { create, fromBinary } from '@bufbuild/protobuf';
import { readFile } from 'node:fs/promises';
import {
  ModelProtoSchema,
  AttributeProto_AttributeType as Type,
  TensorProto_DataType as Elem,
  TensorProtoSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { importOnnx, importOnnxFile } from '../../../src/onnx/index.js';
import type { Graph } from '../../../runtime/graph/graph.js';
import { GOLDEN_MODELS, goldenPath } from '../../support/golden.js';
import { expectError } from '../../support/errors.js';
import { attribute, floatAttribute, floats, intAttribute, modelBytes, node, value } from './models.js';

const relu = { input: [value('x', ['n', 4])], output: [value('y', ['n', 4])], node: [node('Relu', ['x'], ['y'])] };

const withAttribute = (fields: Parameters<typeof attribute>[1]) => () =>
  importOnnx(modelBytes({ ...relu, node: [node('Made', ['x'], ['y'], [attribute('odd', fields)])] }));

const fold = (...attributes: Parameters<typeof node>[3] & {}) =>
  importOnnx(modelBytes({ ...relu, node: [node('Constant', [], ['c'], attributes), node('Add', ['x', 'c'], ['y'])] }));

const doubles = (name: string, ...doubleData: number[]) =>
  create(TensorProtoSchema, { name, dataType: Elem.DOUBLE, dims: [BigInt(doubleData.length)], doubleData });

const branch = (name: string) => ({
  name,
  node: [node('Abs', ['outer'], [`${name}_out`])],
  output: [value(`${name}_out`)],
});

const withType = (type: Parameters<typeof create<typeof TypeProtoSchema>>[1]) => () =>
  importOnnx(
    modelBytes({
      ...relu,
      input: [create(ValueInfoProtoSchema, { name: 'x', type: create(TypeProtoSchema, type) })],
    }),
  );

describe('golden models', () => {
  it('declares the inputs and outputs of DIN', async () => {
    const graph = await importOnnxFile(goldenPath('din.onnx'));
    expect(graph.name).toBe('din');
    expect(graph.inputs).toEqual([
      { name: 'hist_item', dtype: 'int64', shape: ['batch', 20] },
      { name: 'hist_cat', dtype: 'int64', shape: ['batch', 20] },
      { name: 'hist_mask', dtype: 'float32', shape: ['batch', 20] },
      { name: 'item', dtype: 'int64', shape: ['batch'] },
      { name: 'cat', dtype: 'int64', shape: ['batch'] },
      { name: 'profile', dtype: 'int64', shape: ['batch', 4] },
    ]);
    expect(graph.outputs.map((output) => output.name)).toEqual(['out']);
    expect(graph.nodes.some((node) => node.op === 'Constant')).toBe(false);
    expect(new Set(graph.nodes.map((node) => node.opset))).toEqual(new Set([17]));
    expect(graph.notices).toEqual([]);
  });

  it.each(GOLDEN_MODELS)('makes a node or a constant of everything in %s', async (name) => {
    const file = goldenPath(`${name}.onnx`);
    const proto = fromBinary(ModelProtoSchema, await readFile(file)).graph!;
    const graph = await importOnnxFile(file);
    const folded = proto.node.filter((node) => node.opType === 'Constant').length;
    expect(folded).toBeGreaterThan(0);
    expect(graph.nodes.map((node) => node.op)).toEqual(
      proto.node.map((node) => node.opType).filter((op) => op !== 'Constant'),
    );
    expect(graph.constants.size).toBe(proto.initializer.length + folded);
  });
});

describe('importOnnx', () => {
  it('names the graph by the option, the file or neither', () => {
    expect(importOnnx(modelBytes({ ...relu, name: 'main' }), { name: 'mine' }).name).toBe('mine');
    expect(importOnnx(modelBytes({ ...relu, name: 'main' })).name).toBe('main');
    expect(importOnnx(modelBytes(relu)).name).toBe('model');
  });

  it('names unnamed nodes by operator and position, and makes names unique', () => {
    const graph = importOnnx(
      modelBytes({
        ...relu,
        node: [
          node('Relu', ['x'], ['a']),
          node('Abs', ['a'], ['b'], [], { name: 'same' }),
          node('Abs', ['b'], ['c'], [], { name: 'same' }),
          node('Relu', ['c'], ['y']),
        ],
      }),
    );
    expect(graph.nodes.map((node) => node.name)).toEqual(['Relu_0', 'same', 'same_1', 'Relu_3']);
  });

  it('takes each dimension as declared: size, symbol, unnamed', () => {
    const shape = ['batch', 13, -1, -7, 0, '', null];
    const graph = importOnnx(modelBytes({ ...relu, input: [value('x', shape)] }));
    expect(graph.inputs[0]!.shape).toEqual(['batch', 13, null, null, 0, null, null]);
  });

  it('leaves the shape out where none is declared', () => {
    const type = create(TypeProtoSchema, { value: { case: 'tensorType', value: { elemType: Elem.FLOAT } } });
    const input = create(ValueInfoProtoSchema, { name: 'x', type });
    expect(importOnnx(modelBytes({ ...relu, input: [input] })).inputs[0]).toEqual({ name: 'x', dtype: 'float32' });
  });

  it('gives each node the version of its own domain, ai.onnx being the ONNX domain', () => {
    const graph = importOnnx(
      modelBytes(
        {
          ...relu,
          node: [
            node('Relu', ['x'], ['a'], [], { domain: 'ai.onnx' }),
            node('Gelu', ['a'], ['y'], [], { domain: 'com.microsoft' }),
          ],
        },
        {
          opsetImport: [
            { domain: 'ai.onnx', version: 13n },
            { domain: 'com.microsoft', version: 1n },
          ],
        },
      ),
    );
    expect(graph.nodes.map(({ domain, opset }) => [domain, opset])).toEqual([
      ['', 13],
      ['com.microsoft', 1],
    ]);
  });

  it('keeps weights out of the inputs where IR 3 lists them there', () => {
    const graph = { ...relu, input: [...relu.input, value('w', [2])], initializer: [floats('w', 1, 2)] };
    const imported = importOnnx(modelBytes(graph, { irVersion: 3n }));
    expect(imported.inputs.map((input) => input.name)).toEqual(['x']);
    expect(imported.constants.get('w')!.data).toEqual(Float32Array.of(1, 2));
    expect(imported.notices).toEqual([]);
  });

  it('says so where a default of IR 4 and later is fixed', () => {
    const graph = { ...relu, input: [...relu.input, value('w', [2])], initializer: [floats('w', 1, 2)] };
    expect(importOnnx(modelBytes(graph)).notices).toEqual(["input defaults taken as constants (1): 'w'"]);
  });

  it('decodes attributes of every type', () => {
    const body = { name: 'body', node: [node('Abs', ['x'], ['inner'])], output: [value('inner', [4])] };
    const graph = importOnnx(
      modelBytes({
        ...relu,
        node: [
          node(
            'Made',
            ['x'],
            ['y'],
            [
              intAttribute('axis', -1),
              floatAttribute('alpha', 0.25),
              attribute('mode', {
                type: Type.STRING,
                s: new TextEncoder().encode('größer') as Uint8Array<ArrayBuffer>,
              }),
              attribute('ints', { type: Type.INTS, ints: [1n, -2n, 2n ** 63n - 1n] }),
              attribute('floats', { type: Type.FLOATS, floats: [0.5, -1] }),
              attribute('strings', { type: Type.STRINGS, strings: [Uint8Array.of(97), Uint8Array.of(98, 99)] }),
              attribute('tensor', { type: Type.TENSOR, t: floats('', 3, 4) }),
              attribute('graph', { type: Type.GRAPH, g: body }),
            ],
          ),
        ],
      }),
    );
    const { graph: nested, tensor, ...plain } = graph.nodes[0]!.attributes;
    expect(plain).toEqual({
      axis: -1,
      alpha: 0.25,
      mode: 'größer',
      ints: [1, -2, 2 ** 63],
      floats: [0.5, -1],
      strings: ['a', 'bc'],
    });
    expect(tensor).toEqual({ dtype: 'float32', dims: [2], data: Float32Array.of(3, 4) });
    const { nodes, outputs } = nested as Graph;
    expect(nodes[0]).toMatchObject({ op: 'Abs', inputs: ['x'], outputs: ['inner'], opset: 17 });
    expect(outputs).toEqual([{ name: 'inner', dtype: 'float32', shape: [4] }]);
  });

  it.each([
    ['TENSORS', { type: Type.TENSORS, tensors: [floats('', 1)] }],
    ['GRAPHS', { type: Type.GRAPHS, graphs: [{}] }],
    ['TYPE_PROTO', { type: Type.TYPE_PROTO, tp: {} }],
  ])('refuses an attribute of type %s', (type, fields) => {
    const bytes = modelBytes({ ...relu, node: [node('Made', ['x'], ['y'], [attribute('odd', fields)])] });
    expectError('MODEL_UNSUPPORTED', new RegExp(`'odd' of node 'Made_0' \\(Made\\) has type ${type}`), () =>
      importOnnx(bytes),
    );
  });

  it('refuses an attribute without a type or a value', () => {
    expectError('MODEL_INVALID', /'odd' .*has no type/, withAttribute({}));
    expectError('MODEL_INVALID', /'odd' .*has no value/, withAttribute({ type: Type.TENSOR }));
  });
});

describe('Constant nodes', () => {
  it.each([
    ['value', attribute('value', { type: Type.TENSOR, t: floats('', 1, 2) }), 'float32', [2], [1, 2]],
    ['value_float', floatAttribute('value_float', 0.5), 'float32', [], [0.5]],
    ['value_floats', attribute('value_floats', { type: Type.FLOATS, floats: [0.5, 1] }), 'float32', [2], [0.5, 1]],
    ['value_int', intAttribute('value_int', -3), 'int64', [], [-3n]],
    ['value_ints', attribute('value_ints', { type: Type.INTS, ints: [3n, 2n ** 62n] }), 'int64', [2], [3n, 2n ** 62n]],
    [
      'sparse_value',
      attribute('sparse_value', {
        type: Type.SPARSE_TENSOR,
        sparseTensor: {
          dims: [4n],
          values: floats('', 7),
          indices: { dataType: Elem.INT64, dims: [1n], int64Data: [2n] },
        },
      }),
      'float32',
      [4],
      [0, 0, 7, 0],
    ],
  ])('become constants: %s', (_, attribute, dtype, dims, elements) => {
    const graph = fold(attribute);
    const constant = graph.constants.get('c')!;
    expect([constant.dtype, constant.dims, [...constant.data]]).toEqual([dtype, dims, elements]);
    expect(graph.nodes.map((node) => node.op)).toEqual(['Add']);
  });

  it('refuses strings, two values and none', () => {
    const text = attribute('value_string', { type: Type.STRING, s: Uint8Array.of(97) });
    expectError('MODEL_UNSUPPORTED', /Constant 'c' is a string/, () => fold(text));
    expectError('MODEL_INVALID', /Constant 'c' needs an output and exactly one value/, () => fold());
    expectError('MODEL_INVALID', /exactly one value/, () => fold(intAttribute('value_int', 1), text));
    expectError('MODEL_INVALID', /unknown attribute 'size'/, () => fold(intAttribute('size', 1)));
  });
});

describe('float64', () => {
  it('narrows initializers, constants and attributes, with one notice that counts and names them', () => {
    const graph = importOnnx(
      modelBytes({
        ...relu,
        initializer: [doubles('a', 0.1), doubles('b', 1e300, -1e300), floats('f', 1)],
        node: [
          node('Constant', [], ['c'], [attribute('value', { type: Type.TENSOR, t: doubles('', 2) })]),
          node('ConstantOfShape', ['x'], ['d'], [attribute('value', { type: Type.TENSOR, t: doubles('', 3) })]),
          node('Cast', ['d'], ['y'], [intAttribute('to', Elem.DOUBLE)]),
        ],
      }),
    );
    expect(graph.constants.get('a')).toEqual({ dtype: 'float32', dims: [1], data: Float32Array.of(0.1) });
    expect(graph.constants.get('b')!.data).toEqual(Float32Array.of(Infinity, -Infinity));
    expect(graph.constants.get('c')!.dtype).toBe('float32');
    expect(graph.nodes[0]!.attributes.value).toMatchObject({ dtype: 'float32' });
    expect(graph.nodes[1]!.attributes).toEqual({ to: 11 });
    expect(graph.notices).toEqual([
      "4 float64 constants narrowed to float32: 'a', 'b', 'c', ...; 2 values beyond float32 became infinite",
    ]);
  });

  it('keeps the declared type of inputs and outputs, with a notice', () => {
    const graph = importOnnx(
      modelBytes({ ...relu, input: [value('x', [4], Elem.DOUBLE)], output: [value('y', [4], Elem.DOUBLE)] }),
    );
    expect([graph.inputs[0]!.dtype, graph.outputs[0]!.dtype]).toEqual(['float64', 'float64']);
    expect(graph.notices).toEqual(["declared float64, computed in float32: input 'x', output 'y'"]);
  });
});

describe('order', () => {
  it('sorts nodes whose producers come later, and leaves the others where they stand', () => {
    const graph = importOnnx(
      modelBytes({
        ...relu,
        node: [
          node('Abs', ['x'], ['first']),
          node('Add', ['late', 'first'], ['y']),
          node('Neg', ['x'], ['bystander']),
          node('Exp', ['later'], ['late']),
          node('Log', ['x'], ['later']),
        ],
      }),
    );
    expect(graph.nodes.map((node) => node.op)).toEqual(['Abs', 'Log', 'Exp', 'Add', 'Neg']);
  });

  it('sorts a long chain in reverse', () => {
    const length = 20_000;
    const chain = Array.from({ length }, (_, i) => node('Abs', [`v${i}`], [`v${i + 1}`])).reverse();
    const graph = importOnnx(modelBytes({ input: [value('v0')], output: [value(`v${length}`)], node: chain }));
    expect(graph.nodes[0]!.inputs).toEqual(['v0']);
    expect(graph.nodes.at(-1)!.outputs).toEqual([`v${length}`]);
  });

  it('counts what a nested graph takes from around it as read by its node', () => {
    const graph = importOnnx(
      modelBytes({
        ...relu,
        input: [...relu.input, value('cond', [], Elem.BOOL)],
        node: [
          node(
            'If',
            ['cond'],
            ['y'],
            [
              attribute('then_branch', { type: Type.GRAPH, g: branch('then') }),
              attribute('else_branch', { type: Type.GRAPH, g: branch('else') }),
            ],
          ),
          node('Neg', ['x'], ['outer']),
        ],
      }),
    );
    expect(graph.nodes.map((node) => node.op)).toEqual(['Neg', 'If']);
  });

  it.each([
    ['reads what nothing defines', [node('Add', ['x', 'ghost'], ['y'])], /node 'Add_0' \(Add\) reads 'ghost'/],
    [
      'defines a value twice',
      [node('Abs', ['x'], ['y']), node('Neg', ['x'], ['y'])],
      /'y' is defined twice: by node 'Abs_0' and by node 'Neg_1'/,
    ],
    [
      'redefines an input',
      [node('Abs', ['x'], ['x']), node('Neg', ['x'], ['y'])],
      /'x' is defined twice: by an input or constant/,
    ],
    [
      'has a cycle',
      [node('Add', ['x', 'b'], ['a']), node('Abs', ['a'], ['b']), node('Abs', ['b'], ['y'])],
      /'a' of node 'Add_0' depends on itself/,
    ],
    ['lacks its output', [node('Abs', ['x'], ['z'])], /output 'y' is defined by no node/],
    [
      'uses an unlisted domain',
      [node('Gelu', ['x'], ['y'], [], { domain: 'com.microsoft' })],
      /'Gelu_0' .*domain 'com.microsoft', which opset_import does not list/,
    ],
    ['has a node without operator', [node('', ['x'], ['y'])], /no operator/],
  ])('refuses a graph that %s', (_, nodes, message) => {
    expectError('MODEL_INVALID', message, () => importOnnx(modelBytes({ ...relu, node: nodes })));
  });

  it('refuses an input declared twice and an initializer defined twice', () => {
    expectError('MODEL_INVALID', /input 'x' is declared twice/, () =>
      importOnnx(modelBytes({ ...relu, input: [value('x'), value('x')] })),
    );
    expectError('MODEL_INVALID', /initializer 'w' is defined twice/, () =>
      importOnnx(modelBytes({ ...relu, initializer: [floats('w', 1), floats('w', 2)] })),
    );
  });
});

describe('versions', () => {
  it.each([7, 17, 23, 27])('takes opset %i', (version) => {
    const bytes = modelBytes(relu, { opsetImport: [{ domain: '', version: BigInt(version) }] });
    expect(importOnnx(bytes).nodes[0]!.opset).toBe(version);
  });

  it.each([1, 6, 28, 99])('refuses opset %i', (version) => {
    const bytes = modelBytes(relu, { opsetImport: [{ domain: '', version: BigInt(version) }] });
    expectError('MODEL_UNSUPPORTED', new RegExp(`^shop: opset ${version} .*expected 7 to 27$`), () =>
      importOnnx(bytes, { name: 'shop' }),
    );
  });

  it('refuses IR 2', () => {
    const bytes = modelBytes(relu, { irVersion: 2n });
    expectError('MODEL_UNSUPPORTED', /IR version 2, expected 3 or later/, () => importOnnx(bytes));
  });
});

describe('types of inputs', () => {
  const elemType = { value: { case: 'tensorType' as const, value: { elemType: Elem.FLOAT } } };

  it.each([
    ['sequence', { value: { case: 'sequenceType' as const, value: { elemType } } }],
    ['optional', { value: { case: 'optionalType' as const, value: { elemType } } }],
    ['map', { value: { case: 'mapType' as const, value: { keyType: Elem.INT64, valueType: elemType } } }],
    ['sparse tensor', { value: { case: 'sparseTensorType' as const, value: { elemType: Elem.FLOAT } } }],
  ])('refuses %s', (kind, type) => {
    expectError('MODEL_UNSUPPORTED', new RegExp(`input 'x' is of ${kind} type`), withType(type));
  });

  it.each([
    ['STRING', Elem.STRING],
    ['INT4', Elem.INT4],
    ['COMPLEX64', Elem.COMPLEX64],
    ['FLOAT8E5M2', Elem.FLOAT8E5M2],
    ['type 77', 77],
  ])('refuses elements of type %s', (name, elemType) => {
    const type = { value: { case: 'tensorType' as const, value: { elemType } } };
    expectError('MODEL_UNSUPPORTED', new RegExp(`input 'x' has element type ${name}`), withType(type));
  });

  it('refuses an input without a type', () => {
    expectError('MODEL_INVALID', /input 'x' has no declared type/, withType({}));
  });
});
