import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, GraphBuilder, GraphEngine, tensorOf, type Graph } from '../../../runtime/index.js';
import { buildZoo } from '../../../src/zoo/index.js';
import type { DeviceCaps } from '../../../runtime/compile/kernel.js';
import { SOFTWARE_CAPS } from '../../support/caps.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';

const kernels = (graph: Graph, caps?: DeviceCaps): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27, ...(caps ? { caps } : {}) }).program.steps.map((s) => s.kernel);

const UNARY = ['Relu', 'Sigmoid', 'Tanh', 'LeakyRelu', 'Neg', 'Abs', 'Gelu', 'Erf', 'Mish', 'Softplus'] as const;
const BINARY = ['Add', 'Sub', 'Mul', 'Max', 'Min', 'PRelu'] as const;

/** Elementwise operators at random behind a product or an input, over operands of every shape that broadcasts. */
function randomChain(random: Random, index: number): Graph {
  const b = new GraphBuilder(`chain ${index}`, 20);
  const x = b.input('x', 'float32', ['n', 3, 5]);
  let constants = 0;
  const weight = (...dims: number[]): string => b.constant(`w${constants++}`, random.floats(dims));
  const other = (): string =>
    random.pick([
      () => x,
      () => weight(5),
      () => weight(),
      () => weight(1),
      () => weight(3, 5),
      () => weight(3, 1),
      () => weight(1, 1, 5),
      () => b.op('MatMul', [x, weight(5, 5)]),
      () => b.op('ReduceMax', [x, b.constant(`axes${constants++}`, tensorOf('int64', [1], [2]))]),
    ])();
  let value = index % 3 === 0 ? x : b.op('MatMul', [x, weight(5, 5)]);
  for (let i = random.int(2, 6); i > 0; i--) {
    const kind = random.int(0, 5);
    if (kind < 2) value = b.op(random.pick(UNARY), [value]);
    else if (kind < 4) value = b.op(random.pick(BINARY), random.shuffled([value, other()]));
    else if (kind === 4) {
      const condition = b.op('Greater', random.shuffled([random.pick([value, other()]), weight(5)]));
      value = b.op('Where', [condition, ...random.shuffled([value, other()])]);
    } else {
      const flat = b.constant(`shape${constants++}`, tensorOf('int64', [2], [0, 15]));
      const back = b.constant(`shape${constants++}`, tensorOf('int64', [3], [0, 3, 5]));
      const bias = b.op('Reshape', [value, flat]);
      value = b.op('Reshape', [random.pick([bias, b.op('Add', [bias, weight(15)])]), back]);
    }
  }
  b.output(value, 'float32');
  return b.build();
}

describe('chains of elementwise operators', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 22 }));
  });
  afterAll(() => engine.close());

  it('become one kernel where nothing else reads what is between', () => {
    const b = new GraphBuilder('chain');
    const [x, y] = ['x', 'y'].map((name) => b.input(name, 'float32', ['n', 4]));
    const sum = b.op('Add', [x!, y!]);
    b.output(b.op('Mul', [b.op('Sigmoid', [sum]), sum]), 'float32');
    b.output(b.op('Exp', [b.op('Neg', [b.op('Mul', [x!, x!])])]), 'float32');
    expect(kernels(b.build()).toSorted()).toEqual(['Add', 'Exp(Neg(Mul(v0,v0)))', 'Mul(Sigmoid(v0),v0)']);
  });

  it('end where a result is broadcast, or is an output', () => {
    const b = new GraphBuilder('ends');
    const x = b.input('x', 'float32', ['n', 4]);
    const y = b.input('y', 'float32', ['n', 1]);
    const shown = b.op('Neg', [x]);
    b.output(shown, 'float32');
    b.output(b.op('Abs', [shown]), 'float32');
    b.output(b.op('Mul', [x, b.op('Exp', [y])]), 'float32');
    expect(kernels(b.build()).toSorted()).toEqual(['Abs', 'Exp', 'Mul', 'Neg']);
  });

  it('finish the last product of each zoo model, and leave no elementwise kernel but copies', () => {
    // As on a software adapter: a GPU takes layers that follow each other further, see perceptron.test.ts.
    const found = ['wnd', 'din', 'dlrm', 'bst'].map((model) => kernels(buildZoo(model, 'tiny'), SOFTWARE_CAPS));
    expect(found.map((list) => list.at(-1))).toEqual([
      'Gemm+Sigmoid(Add(x,v1))',
      'Gemm+Sigmoid',
      'Gemm+Sigmoid',
      'Gemm+Sigmoid',
    ]);
    expect(found[1]).toContain('MatMul+Where(Greater(v1,c),Add(x,c),c)');
    expect(found[3]).toContain('MatMul+Add(v1,x)');
  });

  it(`give what the reference gives (seed ${SEED})`, async () => {
    const random = new Random();
    for (let round = 0; round < 12; round++) {
      const graph = randomChain(random, round);
      const model = await engine.load(graph);
      for (const n of [1, 4]) {
        const problems = await graphProblems(model, graph, { x: random.floats([n, 3, 5]) });
        expect([kernels(graph), problems]).toEqual([kernels(graph), []]);
      }
      await model.dispose();
    }
  });
});
