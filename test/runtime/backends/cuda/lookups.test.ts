import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repack } from '../../../../runtime/backends/cuda/repack.js';
import { compile, GraphBuilder, GraphEngine, tensorOf, type Graph, type Tensor } from '../../../../runtime/index.js';
import type { KernelTarget } from '../../../../runtime/compile/kernel.js';
import { buildZoo } from '../../../../src/zoo/index.js';
import { HOPPER_CAPS } from '../../../support/caps.js';
import { graphProblems, Random, SEED } from '../../../support/cases.js';
import { openBackend, testsCuda } from '../../../support/device.js';
import { expectRejection } from '../../../support/errors.js';

const ints = (...values: number[]) => tensorOf('int64', [values.length], values);

/** Products of all pairs of vectors, behind the first: rows of tables, and what `dense` is made of where it is among them. */
function interaction(vectors: number, width: number, dense: boolean): Graph {
  const random = new Random();
  const b = new GraphBuilder('interaction');
  const ids = b.input('ids', 'int64', ['n', vectors]);
  const parts = Array.from({ length: vectors }, (_, i) => {
    if (dense && i === 0) return b.op('Relu', [b.input('x', 'float32', ['n', width])]);
    const table = b.constant(`table${i}`, random.floats([10 + i, width], -1, 1));
    const column = b.constant(`column${i}`, tensorOf('int64', [], [i]));
    return b.op('Gather', [table, b.op('Gather', [ids, column], { axis: 1 })], { axis: 0 });
  });
  const stack = b.op('Reshape', [b.op('Concat', parts, { axis: 1 }), b.constant('s', ints(0, vectors, width))]);
  const product = b.op('MatMul', [stack, b.op('Transpose', [stack], { perm: [0, 2, 1] })]);
  const below = Array.from({ length: vectors * vectors }, (_, i) => i).filter(
    (i) => i % vectors < Math.floor(i / vectors),
  );
  const picked = b.op('Gather', [b.op('Flatten', [product], { axis: 1 }), b.constant('at', ints(...below))], {
    axis: 1,
  });
  b.output(b.op('Concat', [parts[0]!, picked], { axis: 1 }), 'float32');
  return b.build();
}

function idsOf(random: Random, n: number, vectors: number): Tensor {
  return random.tensor('int64', [n, vectors], -10, 10);
}

/** Attention to a target over keys that are joined from tables of these widths. */
function attention(length: number, widths: readonly number[], shown = false): Graph {
  const random = new Random();
  const b = new GraphBuilder('attention');
  const width = widths.reduce((a, w) => a + w, 0);
  const parts = widths.map((w, i) =>
    b.op('Gather', [
      b.constant(`table${i}`, random.floats([20, w], -1, 1)),
      b.input(`keys${i}`, i === 0 ? 'int64' : 'int32', ['n', length]),
    ]),
  );
  const keys = parts.length === 1 ? parts[0]! : b.op('Concat', parts, { axis: 2 });
  const q = b.op('Relu', [b.input('q', 'float32', ['n', width])]);
  const row = b.op('Unsqueeze', [q, b.constant('one', ints(1))]);
  const repeated = b.op('Expand', [row, b.constant('times', ints(1, length, 1))]);
  const features = b.op('Concat', [repeated, keys, b.op('Sub', [row, keys]), b.op('Mul', [row, keys])], { axis: -1 });
  const layer = (x: string, name: string, from: number, to: number): string => {
    const bound = 1.5 / Math.sqrt(from);
    const product = b.op('MatMul', [x, b.constant(name, random.floats([from, to], -bound, bound))]);
    return b.op('Add', [product, b.constant(`${name} bias`, random.floats([to]))]);
  };
  const hidden = b.op('Relu', [layer(features, 'a', 4 * width, 20)]);
  const scores = layer(b.op('Relu', [layer(hidden, 'b', 20, 9)]), 'c', 9, 1);
  const line = b.op('Unsqueeze', [
    b.op('Softmax', [b.op('Squeeze', [scores, b.constant('last', ints(-1))])], { axis: -1 }),
    'one',
  ]);
  b.output(b.op('Squeeze', [b.op('MatMul', [line, keys]), 'one']), 'float32');
  if (shown) b.output(keys, 'float32');
  return b.build();
}

const TARGET: KernelTarget = { ...HOPPER_CAPS, products: 'tf32' };

function stepsOf(graph: Graph, target = TARGET): string[] {
  const plan = compile(graph, { maxBindingBytes: 2 ** 30, caps: target, products: target.products });
  return repack(plan, target).program.steps.map(({ kernel }) => kernel.split('+')[0]!);
}

describe('lookups that another kernel does', () => {
  it('leave no step, where that kernel alone reads what they write', () => {
    expect(stepsOf(interaction(5, 8, true))).toEqual(['Relu', 'Interaction']);
    expect(stepsOf(attention(7, [8, 16]))).not.toContain('Gather');
    expect(stepsOf(buildZoo('dlrm', 'demo'))).not.toContain('Gather');
    const din = stepsOf(buildZoo('din', 'demo'));
    expect(din.filter((kernel) => kernel === 'Gather')).toHaveLength(12);
    expect(din.indexOf('TargetAttention')).toBeGreaterThan(0);
  });

  it('stay steps where that is not so', () => {
    expect(stepsOf(attention(7, [8, 16], true)).filter((kernel) => kernel === 'Gather')).toHaveLength(2);
    const exact = { ...TARGET, products: 'float32' as const };
    expect(stepsOf(interaction(5, 8, true), exact).filter((kernel) => kernel === 'Gather')).toHaveLength(4);
    const ampere = { ...TARGET, tf32: { workgroupBytes: 100_000, byGroups: false } };
    expect(stepsOf(attention(7, [8, 16]), ampere).filter((kernel) => kernel === 'Gather')).toHaveLength(2);
  });
});

describe.skipIf(!testsCuda)('kernels that look up (BRAID_TEST_BACKEND=cuda)', () => {
  const random = new Random();
  let engine: GraphEngine;
  beforeAll(async () => {
    engine = new GraphEngine(await openBackend());
  });
  afterAll(() => engine.close());

  it.each(['float32', 'float16', 'int8'] as const)(`copy rows of any width, %s (seed ${SEED})`, async (tables) => {
    const b = new GraphBuilder('lookups');
    const types = ['int64', 'int32'] as const;
    const widths = [1, 3, 4, 5, 32, 64, 128, 200];
    const found = widths.map((width, i) => {
      const ids = b.input(`ids${i}`, types[i % 2]!, ['n']);
      return b.op('Gather', [b.constant(`table${i}`, random.floats([30, width], -1, 1)), ids]);
    });
    b.output(b.op('Concat', found, { axis: 1 }), 'float32');
    const graph = b.build();
    const model = await engine.load(graph, { precision: { tables } });
    for (const n of [0, 1, 7, 300, 6001]) {
      const inputs = Object.fromEntries(
        widths.map((_, i) => [`ids${i}`, random.tensor(types[i % 2]!, [n], -30, 30)] as const),
      );
      expect(await graphProblems(model, graph, inputs, 0, tables === 'float32' ? 0 : 0.01)).toEqual([]);
    }
    const ids = Object.fromEntries(
      widths.map((_, i) => [`ids${i}`, random.tensor(types[i % 2]!, [5], 0, 30)] as const),
    );
    (ids['ids4']!.data as BigInt64Array)[3] = 2n ** 32n;
    await expectRejection(
      'INDEX_OUT_OF_RANGE',
      /^input 'ids4': row 3, position 0: found id 4294967296/,
      model.run(ids),
    );
    await model.dispose();
  });

  it.each([
    [27, 128, true, 'tf32'],
    [9, 24, true, 'tf32'],
    [32, 8, false, 'tf32'],
    [2, 16, false, 'tf32'],
    [27, 128, true, 'float16'],
    [9, 24, false, 'float16'],
  ] as const)(
    `multiply %i vectors of %i among themselves, %s, %s (seed ${SEED})`,
    async (vectors, width, dense, products) => {
      const graph = interaction(vectors, width, dense);
      const model = await engine.load(graph, { products });
      const inputsOf = (n: number): Record<string, Tensor> => ({
        ids: idsOf(random, n, vectors),
        ...(dense ? { x: random.floats([n, width], -1, 1) } : {}),
      });
      for (const n of [1, 9, 140, 2500]) expect(await graphProblems(model, graph, inputsOf(n), 0, 2e-2)).toEqual([]);
      const wrong = inputsOf(6);
      wrong['ids']!.data[4 * vectors + 1] = 99n;
      const good = inputsOf(3);
      const right = graphProblems(model, graph, good, 0, 2e-2);
      const message = /^input 'ids': row 4, position 1: found id 99, expected -11 to 10/;
      await expectRejection('INDEX_OUT_OF_RANGE', message, model.run(wrong));
      expect(await right).toEqual([]);
      await model.dispose();
    },
  );

  it.each(
    [
      [100, [64, 64]],
      [7, [8, 16]],
      [64, [16]],
      [130, [16, 8, 16]],
      [1, [32]],
    ].flatMap(([length, widths]) =>
      (['tf32', 'float16'] as const).map(
        (products) => [length, widths, products] as [number, number[], typeof products],
      ),
    ),
  )(`attend to %i keys of tables %j, %s (seed ${SEED})`, async (length, widths, products) => {
    const graph = attention(length, widths);
    const model = await engine.load(graph, { products });
    const width = widths.reduce((a, w) => a + w, 0);
    const inputsOf = (n: number): Record<string, Tensor> => ({
      q: random.floats([n, width], -1, 1),
      ...Object.fromEntries(
        widths.map((_, i) => [`keys${i}`, random.tensor(i === 0 ? 'int64' : 'int32', [n, length], -20, 20)] as const),
      ),
    });
    for (const n of [1, 6, 140, 700]) expect(await graphProblems(model, graph, inputsOf(n), 0, 1e-2)).toEqual([]);
    const wrong = inputsOf(5);
    wrong['keys0']!.data[3 * length] = -21n;
    const message = /^input 'keys0': row 3, position 0: found id -21, expected -20 to 19/;
    await expectRejection('INDEX_OUT_OF_RANGE', message, model.run(wrong));
    expect(await graphProblems(model, graph, inputsOf(5), 0, 1e-2)).toEqual([]);
    await model.dispose();
  });
});
