import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  GraphBuilder,
  GraphEngine,
  printPlan,
  tensorOf,
  type Graph,
  type Plan,
} from '../../../runtime/index.js';
import { colorStorages } from '../../../runtime/memory/colors.js';
import { planCost } from '../../../runtime/compile/plan.js';
import { evaluate } from '../../../runtime/graph/dim.js';
import { floats, graphProblems, Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { randomGraph, RANDOM_INPUTS } from '../../support/graphs.js';

const ints = (...values: number[]) => tensorOf('int64', [values.length], values);
const compiled = (graph: Graph): Plan => compile(graph, { maxBindingBytes: 2 ** 27 });
const kernels = (plan: Plan): string[] => plan.program.steps.map((s) => s.kernel);

/** A graph with input x of [n, 2, 3] and one output. */
function graphOf(build: (b: GraphBuilder, x: string) => string): Graph {
  const b = new GraphBuilder('lower');
  b.output(build(b, b.input('x', 'float32', ['n', 2, 3])), 'float32');
  return b.build();
}

/** Every value that a plan puts into concatenations is there once, and what they share never clashes. */
const CONCATENATIONS: [what: string, copies: number, build: (b: GraphBuilder, x: string) => string][] = [
  ['two results', 0, (b, x) => b.op('Concat', [b.op('Relu', [x]), b.op('Exp', [x])], { axis: 1 })],
  [
    'results behind reshapes and transposes',
    0,
    (b, x) => {
      const turned = b.op('Transpose', [b.op('Relu', [x])], { perm: [0, 2, 1] });
      const flat = b.op('Reshape', [b.op('Exp', [x]), b.constant('s', ints(0, 3, 2))]);
      return b.op('Concat', [turned, flat], { axis: 1 });
    },
  ],
  [
    'results behind a flattening',
    0,
    (b, x) => b.op('Concat', [b.op('Flatten', [b.op('Relu', [x])]), b.op('Flatten', [b.op('Exp', [x])])], { axis: 1 }),
  ],
  [
    'nested concatenations',
    0,
    (b, x) => {
      const inner = b.op('Concat', [b.op('Relu', [x]), b.op('Exp', [x])], { axis: 1 });
      return b.op('Concat', [inner, b.op('Neg', [x])], { axis: 1 });
    },
  ],
  ['an input of the model', 1, (b, x) => b.op('Concat', [x, b.op('Relu', [x])], { axis: 1 })],
  // One of the two has to be computed outside, since a kernel may not read the buffer it writes.
  [
    'a value and what is computed from it',
    1,
    (b, x) => {
      const a = b.op('Relu', [x]);
      return b.op('Concat', [a, b.op('Exp', [a])], { axis: 1 });
    },
  ],
  [
    'what is computed from a value, and the value',
    1,
    (b, x) => {
      const a = b.op('Relu', [x]);
      return b.op('Concat', [b.op('Exp', [a]), a], { axis: 1 });
    },
  ],
  // Twice the same: the second goes through scratch memory.
  [
    'a value twice',
    2,
    (b, x) => {
      const a = b.op('Relu', [x]);
      return b.op('Concat', [a, a], { axis: 1 });
    },
  ],
  [
    'a value and a window on it',
    2,
    (b, x) => {
      const a = b.op('Relu', [x]);
      const window = b.op('Slice', [a, b.constant('s', ints(1)), b.constant('e', ints(2)), b.constant('a', ints(1))]);
      return b.op('Concat', [a, window], { axis: 1 });
    },
  ],
  [
    'a value through a reshape of a window on it',
    2,
    (b, x) => {
      const a = b.op('Relu', [x]);
      const column = b.op('Gather', [a, b.constant('at', tensorOf('int64', [], [1]))], { axis: 1 });
      return b.op('Concat', [a, b.op('Unsqueeze', [column, b.constant('a', ints(1))])], { axis: 1 });
    },
  ],
  [
    'two concatenations of one value, joined',
    2,
    (b, x) => {
      const a = b.op('Relu', [x]);
      const first = b.op('Concat', [a, b.op('Neg', [x])], { axis: 1 });
      const second = b.op('Concat', [b.op('Exp', [x]), a], { axis: 1 });
      return b.op('Concat', [first, second], { axis: 1 });
    },
  ],
  [
    'parts of a split',
    2,
    (b, x) => {
      b.op('Split', [b.op('Relu', [x]), b.constant('s', ints(1, 2))], { axis: 2 }, { outputs: ['l', 'r'] });
      return b.op('Concat', ['r', 'l'], { axis: 2 });
    },
  ],
];

describe('lowering', () => {
  it.each(CONCATENATIONS)('concatenates %s with %i copies', (_, copies, build) => {
    const plan = compiled(graphOf(build));
    expect(kernels(plan).filter((k) => k === 'Copy')).toHaveLength(copies);
  });

  it('emits nothing for views', () => {
    const graph = graphOf((b, x) => {
      const turned = b.op('Transpose', [x], { perm: [0, 2, 1] });
      const window = b.op('Slice', [
        turned,
        b.constant('s', ints(1)),
        b.constant('e', ints(3)),
        b.constant('a', ints(1)),
      ]);
      return b.op('Relu', [
        b.op('Expand', [b.op('Unsqueeze', [window, b.constant('u', ints(1))]), b.constant('t', ints(1, 4, 1, 1))]),
      ]);
    });
    expect(kernels(compiled(graph))).toEqual(['Relu']);
    expect(printPlan(compiled(graph))).toEqual([
      expect.stringMatching(
        /^Relu\(x:float32\[n, 4, 2, 2\] @1 strides \[6, 0, 1, 3\]\) -> Relu_\d+:0:float32\[n, 4, 2, 2\]/,
      ),
    ]);
  });

  it('copies once where strides cannot express a reshape', () => {
    const graph = graphOf((b, x) =>
      b.op('Relu', [b.op('Reshape', [b.op('Transpose', [x], { perm: [0, 2, 1] }), b.constant('s', ints(0, 6))])]),
    );
    expect(kernels(compiled(graph))).toEqual(['Copy', 'Relu']);
  });

  it('copies outputs that lie in inputs, or with gaps', () => {
    const graph = graphOf((b, x) => {
      b.output(x, 'float32');
      const y = b.op('Relu', [x]);
      b.output(b.op('Transpose', [y], { perm: [2, 1, 0] }), 'float32');
      return y;
    });
    expect(kernels(compiled(graph)).toSorted()).toEqual(['Copy', 'Copy', 'Relu']);
  });

  it('makes a weight for each constant that a kernel reads, once', () => {
    const graph = graphOf((b, x) => {
      const c = b.constant('c', floats([3], [1, 2, 3]));
      b.constant('unused', floats([1], [1]));
      return b.op('Add', [b.op('Mul', [x, c]), c]);
    });
    const plan = compiled(graph);
    expect(plan.program.weights.map((w) => w.storage.name)).toEqual(['c']);
    expect(plan.parameters).toBe(3);
  });

  it('tells the operations and bytes of a product as a formula over the rows', () => {
    const b = new GraphBuilder('cost');
    b.output(
      b.op('MatMul', [b.input('x', 'float32', ['n', 5]), b.constant('w', new Random().floats([5, 7]))]),
      'float32',
    );
    const { operations, bytes } = planCost(compiled(b.build()));
    const n = new Map([['n', 11]]);
    expect([evaluate(operations, n), evaluate(bytes, n)]).toEqual([2 * 11 * 5 * 7, 4 * (11 * 5 + 5 * 7 + 11 * 7)]);
  });

  it(`never lets a step read what it writes, on random graphs (seed ${SEED})`, () => {
    const random = new Random();
    for (let round = 0; round < 300; round++) {
      const { steps } = compiled(randomGraph(random, 20)).program;
      const colors = colorStorages(steps);
      const written = new Set<unknown>();
      for (const { operands } of steps) {
        const storages = (access: 'read' | 'write') =>
          operands.filter((o) => o.access === access).map((o) => o.view.storage);
        const reads = storages('read');
        const writes = storages('write');
        // Temporaries are written before they are read, and no buffer is on both sides.
        for (const r of reads) if (r.kind === 'temp') expect(written.has(r)).toBe(true);
        for (const w of writes) {
          expect(w.kind).toBe('temp');
          expect(reads).not.toContain(w);
          const readColors = reads.filter((r) => r.kind === 'temp').map((r) => colors.get(r));
          expect(readColors).not.toContain(colors.get(w));
          written.add(w);
        }
      }
    }
  });
});

describe('lowered graphs on the device', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 22 }));
  });
  afterAll(() => engine.close());

  it.each(CONCATENATIONS)('give what the reference gives for %s', async (_, __, build) => {
    const graph = graphOf(build);
    const model = await engine.load(graph);
    expect(await graphProblems(model, graph, { x: new Random().floats([3, 2, 3]) })).toEqual([]);
    await model.dispose();
  });

  it(`give what the reference gives for random graphs (seed ${SEED})`, async () => {
    const random = new Random();
    for (let round = 0; round < 40; round++) {
      const graph = randomGraph(random);
      const model = await engine.load(graph);
      const plan = (await model.summary()).plan;
      // Queries together in one wave, so that rows of one must not reach another.
      const problems = await Promise.all(
        [1, 4, 2].map((rows) => {
          const inputs = Object.entries(RANDOM_INPUTS).map(([name, dims]) => [name, random.floats([rows, ...dims])]);
          return graphProblems(model, graph, Object.fromEntries(inputs));
        }),
      );
      expect([plan, problems.flat()]).toEqual([plan, []]);
      await model.dispose();
    }
  });
});
