import type { MessageInitShape } from '@bufbuild/protobuf';
import { AttributeProto_AttributeType as Type, type FunctionProtoSchema } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { importOnnx } from '../../../src/onnx/index.js';
import type { Graph } from '../../../runtime/graph/graph.js';
import { expectError } from '../../support/errors.js';
import { attribute, floatAttribute, modelBytes, node, refAttribute, value } from './models.js';

type FunctionInit = MessageInitShape<typeof FunctionProtoSchema>;

const call = (name: string, input: string[], output: string[], attributes: Parameters<typeof node>[3] = []) =>
  node(name, input, output, attributes, { domain: 'local', name: `call_${output[0]}` });

const local = (name: string, fn: Omit<FunctionInit, '$typeName'>): FunctionInit => ({ name, domain: 'local', ...fn });

function inline(nodes: ReturnType<typeof node>[], ...functions: FunctionInit[]): Graph {
  return importOnnx(modelBytes({ input: [value('x')], output: [value('y')], node: nodes }, { functions }));
}

const lines = (graph: Graph) =>
  graph.nodes.map(({ name, op, inputs, outputs }) => `${name}: ${outputs.join(',')} = ${op}(${inputs.join(',')})`);

const scale = local('Scale', {
  input: ['v'],
  output: ['r'],
  attribute: ['by'],
  attributeProto: [floatAttribute('slope', 0.5)],
  node: [
    node('Constant', [], ['c'], [refAttribute('value_float', 'by', Type.FLOAT)]),
    node('Mul', ['v', 'c'], ['scaled']),
    node('LeakyRelu', ['scaled'], ['r'], [refAttribute('alpha', 'slope', Type.FLOAT)]),
  ],
});

const as = (op: string, more: Omit<FunctionInit, '$typeName'>): FunctionInit => ({
  name: 'Relu',
  input: ['v'],
  output: ['r'],
  node: [node(op, ['v'], ['r'])],
  ...more,
});

const named = (input: string, output: string) => node('F', [input], [output], [], { domain: 'local', name: 'same' });

const round = (name: string, other: string) =>
  local(name, { input: ['v'], output: ['r'], node: [call(other, ['v'], ['r'])] });

const calling = (name: string, ...callees: string[]) =>
  local(name, { input: ['v'], output: ['r'], node: callees.map((callee, i) => call(callee, ['v'], [`r${i || ''}`])) });

describe('functions', () => {
  it('are inlined at each call, with values of their own and the attributes of the call', () => {
    const graph = inline(
      [
        call('Scale', ['x'], ['h'], [floatAttribute('by', 2)]),
        call('Scale', ['h'], ['y'], [floatAttribute('by', 3), floatAttribute('slope', 0.125)]),
      ],
      scale,
    );
    expect(lines(graph)).toEqual([
      'call_h/Mul_1: call_h/scaled = Mul(x,call_h/c)',
      'call_h/LeakyRelu_2: h = LeakyRelu(call_h/scaled)',
      'call_y/Mul_1: call_y/scaled = Mul(h,call_y/c)',
      'call_y/LeakyRelu_2: y = LeakyRelu(call_y/scaled)',
    ]);
    expect([...graph.constants].map(([name, { data }]) => [name, data[0]])).toEqual([
      ['call_h/c', 2],
      ['call_y/c', 3],
    ]);
    const slopes = graph.nodes.filter((node) => node.op === 'LeakyRelu').map((node) => node.attributes);
    expect(slopes).toEqual([{ alpha: 0.5 }, { alpha: 0.125 }]);
  });

  it('leave an attribute out where the call and the function give none', () => {
    const fn = local('F', {
      input: ['v'],
      output: ['r'],
      attribute: ['alpha'],
      node: [node('Elu', ['v'], ['r'], [refAttribute('alpha', 'alpha', Type.FLOAT)])],
    });
    expect(inline([call('F', ['x'], ['y'])], fn).nodes[0]!.attributes).toEqual({});
  });

  it('call functions, handing attributes on', () => {
    const twice = local('Twice', {
      input: ['v'],
      output: ['r'],
      attribute: ['k'],
      node: [
        call('Scale', ['v'], ['m'], [refAttribute('by', 'k', Type.FLOAT)]),
        call('Scale', ['m'], ['r'], [refAttribute('by', 'k', Type.FLOAT)]),
      ],
    });
    const graph = inline([call('Twice', ['x'], ['y'], [floatAttribute('k', 7)])], scale, twice);
    expect(graph.nodes.map((node) => node.op)).toEqual(['Mul', 'LeakyRelu', 'Mul', 'LeakyRelu']);
    expect([...graph.constants.values()].map(({ data }) => data[0])).toEqual([7, 7]);
    expect(graph.nodes.at(-1)!.outputs).toEqual(['y']);
  });

  it('are written against their own opset', () => {
    const fn = local('F', {
      input: ['v'],
      output: ['r'],
      opsetImport: [{ domain: '', version: 13n }],
      node: [node('Relu', ['v'], ['r'])],
    });
    const graph = inline([call('F', ['x'], ['h']), node('Relu', ['h'], ['y'])], fn);
    expect(graph.nodes.map((node) => node.opset)).toEqual([13, 17]);
  });

  it('are told apart by domain and overload, and may replace an operator', () => {
    const nodes = [
      node('Relu', ['x'], ['a'], [], { domain: 'local' }),
      node('Relu', ['a'], ['b'], [], { domain: 'local', overload: 'second' }),
      node('Relu', ['b'], ['y']),
    ];
    const functions = [as('Abs', { domain: 'local' }), as('Neg', { domain: 'local', overload: 'second' })];
    expect(inline(nodes, ...functions).nodes.map((node) => node.op)).toEqual(['Abs', 'Neg', 'Relu']);
    functions.push(as('Exp', { domain: 'ai.onnx' }));
    expect(inline(nodes, ...functions).nodes.map((node) => node.op)).toEqual(['Abs', 'Neg', 'Exp']);
  });

  it('take absent optional inputs and outputs, and pass inputs through', () => {
    const fn = local('F', {
      input: ['v', 'optional'],
      output: ['r', 'unused', 'v'],
      node: [node('Clip', ['v', 'optional'], ['r']), node('Abs', ['v'], ['unused'])],
    });
    const graph = inline([call('F', ['x'], ['h', '', 'same']), node('Add', ['h', 'same'], ['y'])], fn);
    expect(lines(graph)).toEqual([
      'call_h/Clip_0: h = Clip(x,)',
      'call_h/Abs_1: call_h/unused = Abs(x)',
      'call_h/Identity_2: same = Identity(x)',
      'Add_3: y = Add(h,same)',
    ]);
  });

  it('keep values unique where names clash', () => {
    const fn = local('F', {
      input: ['v'],
      output: ['r'],
      node: [node('Abs', ['v'], ['t']), node('Neg', ['t'], ['r'])],
    });
    const graph = inline([node('Exp', ['x'], ['same/t']), named('same/t', 'h'), named('h', 'y')], fn);
    const outputs = graph.nodes.flatMap((node) => node.outputs);
    expect(new Set(outputs).size).toBe(outputs.length);
    expect(new Set(graph.nodes.map((node) => node.name)).size).toBe(graph.nodes.length);
  });

  it('reach into nested graphs, and are reached from there', () => {
    const branch = {
      node: [node('Add', ['v', 't'], ['b']), call('Scale', ['b'], ['z'], [refAttribute('by', 'k', Type.FLOAT)])],
      output: [value('z')],
    };
    const fn = local('F', {
      input: ['v'],
      output: ['r'],
      attribute: ['k'],
      node: [
        node('Abs', ['v'], ['t']),
        node('If', ['v'], ['r'], [attribute('then_branch', { type: Type.GRAPH, g: branch })]),
      ],
    });
    const graph = inline([call('F', ['x'], ['y'], [floatAttribute('k', 9)])], scale, fn);
    expect(lines(graph)).toEqual(['call_y/Abs_0: call_y/t = Abs(x)', 'call_y/If_1: y = If(x)']);
    const nested = graph.nodes[1]!.attributes.then_branch as Graph;
    expect(nested.nodes.map(({ op, inputs }) => [op, inputs[0]])).toEqual([
      ['Add', 'x'],
      ['Mul', 'call_y/b'],
      ['LeakyRelu', expect.stringContaining('scaled')],
    ]);
    expect(nested.nodes[0]!.inputs).toEqual(['x', 'call_y/t']);
    expect(nested.outputs.map((output) => output.name)).toEqual(['call_y/z']);
    expect([...nested.constants.values()].map(({ data }) => data[0])).toEqual([9]);
  });

  it('may not call themselves, take too many inputs or explode', () => {
    expectError('MODEL_INVALID', /function 'A' of domain 'local' calls itself/, () =>
      inline([call('A', ['x'], ['y'])], round('A', 'B'), round('B', 'A')),
    );
    const branch = { node: [call('Loops', ['v'], ['z'])], output: [value('z')] };
    const hidden = local('Loops', {
      input: ['v'],
      output: ['r'],
      node: [node('If', ['v'], ['r'], [attribute('then_branch', { type: Type.GRAPH, g: branch })])],
    });
    expectError('MODEL_INVALID', /function 'Loops' of domain 'local' calls itself/, () =>
      inline([call('Loops', ['x'], ['y'])], hidden),
    );
    expectError('MODEL_INVALID', /passes 2 inputs and 1 outputs to function 'Scale', which has 1 and 1/, () =>
      inline([call('Scale', ['x', 'x'], ['y'])], scale),
    );
    const doubling = Array.from({ length: 30 }, (_, i) => calling(`L${i + 1}`, `L${i}`, `L${i}`));
    for (const bottom of [
      calling('L0'),
      local('L0', { input: ['v'], output: ['r'], node: [node('Abs', ['v'], ['r'])] }),
    ]) {
      expectError('MODEL_UNSUPPORTED', /functions expand to over \d+ nodes/, () =>
        inline([call('L30', ['x'], ['y'])], bottom, ...doubling),
      );
    }
    const chain = Array.from({ length: 5000 }, (_, i) => calling(`L${i + 1}`, `L${i}`));
    expectError('MODEL_UNSUPPORTED', /functions nest deeper than 100/, () =>
      inline([call('L5000', ['x'], ['y'])], ...chain),
    );
  });
});
