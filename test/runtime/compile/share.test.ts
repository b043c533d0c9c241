import { describe, expect, it } from 'vitest';
import { compile, planCost, type Plan } from '../../../runtime/compile/plan.js';
import { evaluate, symbolsOf } from '../../../runtime/graph/dim.js';
import { GraphBuilder, tensorOf, type Graph } from '../../../runtime/index.js';
import { buildZoo, zooSharedInputs } from '../../../src/zoo/index.js';
import { expectError } from '../../support/errors.js';

const compileShared = (graph: Graph, shared: readonly string[]): Plan =>
  compile(graph, { maxBindingBytes: 2 ** 30, shared });

/** The kernels of a plan with what their cost grows by: queries, rows, or both where one becomes the other. */
function counts(plan: Plan): string[] {
  return plan.program.steps.map(({ kernel, cost }) => {
    const symbols = new Set([...symbolsOf(cost.operations), ...symbolsOf(cost.bytes)]);
    return `${kernel} ${[...symbols].sort().join('+')}`;
  });
}

/** u shared, x of rows; `make` returns the outputs. */
function graphOf(make: (b: GraphBuilder) => readonly string[], u: readonly (string | number)[] = ['n', 4]): Graph {
  const b = new GraphBuilder('meeting');
  b.input('u', 'float32', u);
  b.input('x', 'float32', ['n', 4]);
  for (const name of make(b)) b.output(name, 'float32');
  return b.build();
}

const ints = (b: GraphBuilder, name: string, ...values: number[]): string =>
  b.constant(name, tensorOf('int64', [values.length], values));

describe('shared inputs', () => {
  it('leave what depends on them alone to queries, and spread it where it meets rows', () => {
    const plan = compileShared(
      graphOf((b) => [b.op('Mul', [b.op('Softmax', [b.op('Exp', ['u'])]), b.op('Neg', ['x'])])]),
      ['u'],
    );
    expect(counts(plan)).toEqual(['Exp queries', 'Softmax queries', 'Spread n', 'Mul(v1,Neg(v0)) n']);
    expect(plan.inputs).toEqual([
      { name: 'u', dtype: 'float32', shape: [1, 4], shared: true },
      expect.objectContaining({ name: 'x' }),
    ]);
    expect([plan.rows, plan.queries, plan.concatenable, plan.otherSymbols]).toEqual(['n', 'queries', true, []]);
  });

  it('spread a value once', () => {
    const plan = compileShared(
      graphOf((b) => {
        const once = b.op('Exp', ['u']);
        return [b.op('Mul', [once, 'x']), b.op('Sub', ['x', b.op('Add', [once, 'x'])]), once];
      }),
      ['u'],
    );
    expect(counts(plan).filter((c) => c.startsWith('Spread'))).toHaveLength(1);
  });

  it('give outputs for the rows', () => {
    const plan = compileShared(
      graphOf((b) => [b.op('Exp', ['u']), b.op('Neg', ['x'])]),
      ['u'],
    );
    expect(plan.outputs.map((o) => o.shape.map(String))).toEqual([
      ['n', '4'],
      ['n', '4'],
    ]);
  });

  it('follow what is flattened into the leading dimension', () => {
    const plan = compileShared(
      graphOf((b) => {
        const each = ints(b, 'each', -1, 2);
        return [b.op('Mul', [b.op('Exp', [b.op('Reshape', ['u', each])]), b.op('Reshape', ['x', each])])];
      }),
      ['u'],
    );
    expect(counts(plan)).toEqual(['Exp queries', 'Spread n', 'Mul n']);
    expect(plan.outputs[0]!.shape.map(String)).toEqual(['2*n', '2']);
  });

  it('take sizes from the rows where rows take them', () => {
    const plan = compileShared(
      graphOf((b) => [b.op('Reshape', [b.op('Neg', ['x']), b.op('Shape', [b.op('Exp', ['u'])])])]),
      ['u'],
    );
    expect(counts(plan)).toEqual(['Neg n']);
    expect(plan.outputs[0]!.shape.map(String)).toEqual(['n', '4']);
  });

  it('may be declared with one row, or be lifted with all others', () => {
    const one = graphOf(
      (b) => [b.op('Mul', ['x', b.op('Exp', [b.op('Reshape', ['u', ints(b, 'flat', 1, 4)])])])],
      [1, 2, 2],
    );
    expect(counts(compileShared(one, ['u']))).toEqual(['Exp queries', 'Spread n', 'Mul n']);
    const b = new GraphBuilder('fixed');
    b.output(b.op('Mul', [b.op('Exp', [b.input('u', 'float32', [1, 4])]), b.input('x', 'float32', [1, 4])]), 'float32');
    const lifted = compile(b.build(), { maxBindingBytes: 2 ** 30, rows: 'lift', shared: ['u'] });
    expect(counts(lifted)).toEqual(['Exp queries', 'Spread rows', 'Mul rows']);
  });

  it.each([
    ['an unknown name', 'INPUT_UNKNOWN', /no input 'w' to share; it has 'u', 'x'/, ['w'], undefined],
    ['every input', 'MODEL_UNSUPPORTED', /an input has to carry rows besides 'u', 'x'/, ['u', 'x'], undefined],
    [
      'a fixed batch',
      'MODEL_UNSUPPORTED',
      /'u' has shape \[3, 4\]; expected a leading dimension that is 1/,
      ['u'],
      [3, 4],
    ],
    [
      'rows beside none',
      'MODEL_UNSUPPORTED',
      /'u' has shape \[3, 4\], which is not shared; expected a name/,
      ['x'],
      [3, 4],
    ],
    ['other rows', 'MODEL_UNSUPPORTED', /'x' has shape \[n, 4\], which is not shared; expected m/, ['y'], ['m', 4]],
  ] as const)('refuse %s', (_, code, message, shared, u) => {
    const graph = graphOf((b) => [b.op('Exp', [b.input('y', 'float32', ['n', 1])])], u ?? ['n', 4]);
    const inputs = shared[0] === ('y' as string) ? graph.inputs : graph.inputs.slice(0, 2);
    expectError(code, message, () => compileShared({ ...graph, inputs, nodes: [], outputs: [] }, shared));
  });

  it('refuse a model that mixes rows, and an input that is an output', () => {
    const mixing = graphOf((b) => [b.op('Sub', ['x', b.op('ReduceSum', ['u', ints(b, 'axis', 0)])])]);
    expectError('MODEL_UNSUPPORTED', /'meeting': inputs cannot be shared: ReduceSum .* reduces over the rows/, () =>
      compileShared(mixing, ['u']),
    );
    expectError('MODEL_UNSUPPORTED', /input 'u' is an output as it is/, () =>
      compileShared(
        graphOf((b) => [b.op('Neg', ['x']), 'u']),
        ['u'],
      ),
    );
  });
});

describe.each(['din', 'bst'])('%s', (name) => {
  const graph = buildZoo(name, 'tiny');
  const plan = compileShared(graph, zooSharedInputs(name, 'tiny'));

  it('runs the part of the user once a query', () => {
    const perQuery = counts(plan).filter((c) => c.endsWith(' queries'));
    expect(perQuery.length).toBeGreaterThan(name === 'din' ? 4 : 1);
    expect(counts(plan).every((c) => /^\S+ (queries|batch)$/.test(c))).toBe(true);
  });

  it('takes fewer operations than with the inputs repeated', () => {
    const plain = planCost(compile(graph, { maxBindingBytes: 2 ** 30 }));
    const sizes = new Map([
      ['batch', 100],
      ['queries', 1],
    ]);
    expect(evaluate(planCost(plan).operations, sizes)).toBeLessThan(evaluate(plain.operations, sizes));
  });
});
