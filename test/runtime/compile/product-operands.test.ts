import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, GraphEngine, printPlan, tensorOf, type Graph } from '../../../runtime/index.js';
import { SOFTWARE_CAPS } from '../../support/caps.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';

const OPTIONS = { maxBindingBytes: 2 ** 27 };
const WIDTH = 67;

/** What is joined, its layer, and what else reads the joined value or the weight. */
function graphOf(reads: 'nothing' | 'joined' | 'weight' = 'nothing'): Graph {
  const random = new Random();
  const b = new GraphBuilder('joined');
  const [x, y] = [b.input('x', 'float32', ['n', 13]), b.input('y', 'float32', ['n', WIDTH - 13])];
  const joined = b.op('Concat', [b.op('Relu', [x]), y], { axis: 1 });
  const weight = b.constant('w', random.floats([40, WIDTH]));
  b.output(b.op('Gemm', [joined, weight, b.constant('c', random.floats([40]))], { transB: 1 }), 'float32');
  if (reads === 'joined') b.output(b.op('Neg', [joined]), 'float32');
  if (reads === 'weight') b.output(b.op('Gather', [weight, b.input('i', 'int64', ['n'])], { axis: 0 }), 'float32');
  return b.build();
}

const productOf = (graph: Graph, options = {}) =>
  compile(graph, { ...OPTIONS, ...options }).program.steps.find((s) => s.kernel === 'Gemm')!;
const operands = (graph: Graph, options = {}) => productOf(graph, options).operands.map((o) => o.view);

describe('operands of products', () => {
  it('rows that products alone read begin on multiples of 4, and weights lie k by k', () => {
    const [a, b] = operands(graphOf());
    expect(a!.shape.slice(2)).toMatchObject([expect.anything(), WIDTH]);
    expect(a!.strides.slice(2)).toEqual([68, 1]);
    expect([b!.shape.slice(2), b!.strides.slice(2)]).toEqual([
      [WIDTH, 40],
      [40, 1],
    ]);
  });

  it('rows that others read too lie dense, and so does a weight that is a table', () => {
    expect(operands(graphOf('joined'))[0]!.strides.slice(2)).toEqual([WIDTH, 1]);
    expect(operands(graphOf('weight'))[1]!.strides.slice(2)).toEqual([1, WIDTH]);
  });

  it('a software adapter keeps both, and products of float16 their weights', () => {
    const [a, b] = operands(graphOf(), { caps: SOFTWARE_CAPS });
    expect([a!.strides.slice(2), b!.strides.slice(2)]).toEqual([
      [WIDTH, 1],
      [1, WIDTH],
    ]);
    expect(operands(graphOf(), { products: 'float16' })[1]!.strides.slice(2)).toEqual([1, WIDTH]);
  });

  it('of columns that are no whole fours a weight stays as it was', () => {
    const b = operands(narrow(38))[1]!;
    expect(b.strides.slice(2)).toEqual([1, WIDTH]);
  });

  it('a weight that is turned is stored as float16 where that is asked for', () => {
    const plan = compile(graphOf(), { ...OPTIONS, precision: { weights: 'float16' } });
    expect(plan.precision.float16).toBe(1);
    expect(printPlan(plan).join('\n')).toContain('w:float32[1, 1, 67, 40] as f16');
  });

  it.each(['nothing', 'joined', 'weight'] as const)(
    `give the same result, read by %s else (seed ${SEED})`,
    async (reads) => {
      const engine = new GraphEngine(await openBackend({ software: false }));
      const random = new Random();
      const graph = graphOf(reads);
      const model = await engine.load(graph);
      for (const n of [1, 33]) {
        const inputs = {
          x: random.floats([n, 13]),
          y: random.floats([n, WIDTH - 13]),
          ...(reads === 'weight'
            ? {
                i: tensorOf(
                  'int64',
                  [n],
                  Array.from({ length: n }, (_, i) => i % 40),
                ),
              }
            : {}),
        };
        expect(await graphProblems(model, graph, inputs)).toEqual([]);
      }
      await engine.close();
    },
  );
});

function narrow(columns: number): Graph {
  const random = new Random();
  const b = new GraphBuilder('narrow');
  const x = b.op('Relu', [b.input('x', 'float32', ['n', WIDTH])]);
  b.output(b.op('Gemm', [x, b.constant('w', random.floats([columns, WIDTH]))], { transB: 1 }), 'float32');
  return b.build();
}
