import { describe, expect, it } from 'vitest';
import { analyze } from '../../../runtime/compile/analyze.js';
import { analyzeRows, liftRows, rowFactor } from '../../../runtime/compile/rows.js';
import { compile } from '../../../runtime/compile/plan.js';
import { evaluateGraph, GraphBuilder, tensor, tensorOf, type Graph } from '../../../runtime/index.js';
import { floorDivide, mul, shapeText, symbol } from '../../../runtime/graph/dim.js';
import { Random } from '../../support/cases.js';
import { expectError } from '../../support/errors.js';
import { randomGraph, RANDOM_INPUTS } from '../../support/graphs.js';

const ints = (...values: number[]) => tensorOf('int64', [values.length], values);

type Build = (b: GraphBuilder, x: string) => string;

function graphOf(build: Build, leading: number | string = 'n'): Graph {
  const b = new GraphBuilder('rows');
  b.output(build(b, b.input('x', 'float32', [leading, 4])), 'float32');
  return b.build();
}

const named = { name: 'it' };
const weights = (b: GraphBuilder, ...dims: number[]): string =>
  b.constant(`w${dims.join()}`, new Random(1).floats(dims));

const PARALLEL: [string, Build][] = [
  ['a dense layer', (b, x) => b.op('Gemm', [x, weights(b, 4, 3)])],
  ['softmax of a row', (b, x) => b.op('Softmax', [x])],
  ['a lookup by rows', (b, x) => b.op('Gather', [weights(b, 5, 2), b.op('Cast', [x], { to: 7 })])],
  [
    'columns of a row',
    (b, x) => b.op('Slice', [x, b.constant('s', ints(1)), b.constant('e', ints(3)), b.constant('a', ints(1))]),
  ],
  [
    'all of the rows',
    (b, x) => b.op('Slice', [x, b.constant('s', ints(0)), b.constant('e', ints(2 ** 40)), b.constant('a', ints(0))]),
  ],
  [
    'rows split in two and joined',
    (b, x) =>
      b.op('Reshape', [
        b.op('Relu', [b.op('Reshape', [x, b.constant('s', ints(-1, 2))])]),
        b.constant('t', ints(-1, 4)),
      ]),
  ],
  [
    'attention within a row',
    (b, x) => {
      const tokens = b.op('Reshape', [x, b.constant('s', ints(-1, 2, 2))]);
      return b.op('MatMul', [tokens, b.op('Transpose', [tokens], { perm: [0, 2, 1] })]);
    },
  ],
  [
    'pairs of a row picked with the rows behind',
    (b, x) => {
      const behind = b.op(
        'Flatten',
        [b.op('Transpose', [b.op('Unsqueeze', [x], { axes: [1] })], { perm: [1, 2, 0] })],
        {
          axis: 2,
        },
      );
      const picked = b.op('Gather', [b.op('Exp', [behind]), b.constant('picked', ints(2, 0, 2))]);
      return b.op('Transpose', [picked]);
    },
  ],
  [
    'tuples picked with the rows behind',
    (b, x) => {
      const at = b.constant('at', tensorOf('int64', [2, 1], [3, 1]));
      return b.op('Transpose', [b.op('GatherND', [b.op('Transpose', [x]), at])]);
    },
  ],
  [
    'attention with the rows behind the steps, as PyTorch writes it',
    (b, x) => {
      const at = (...v: number[]): string => b.constant(`at${v.join()}`, ints(...v));
      const steps = b.op('Transpose', [b.op('Reshape', [x, at(-1, 2, 2)])], { perm: [1, 0, 2] });
      const q = b.op('MatMul', [steps, weights(b, 2, 4)]);
      const heads = b.op('Transpose', [b.op('Reshape', [q, at(2, -1, 2)])], { perm: [1, 0, 2] });
      const scores = b.op('Softmax', [b.op('MatMul', [heads, b.op('Transpose', [heads], { perm: [0, 2, 1] })])]);
      const seen = b.op('Transpose', [b.op('MatMul', [scores, heads])], { perm: [1, 0, 2] });
      // Steps and rows as one dimension, which has all rows time and again.
      const flat = b.op('Gemm', [b.op('Reshape', [seen, at(-1, 4)]), weights(b, 4, 2)]);
      return b.op('Transpose', [b.op('Reshape', [flat, at(2, -1, 2)])], { perm: [1, 0, 2] });
    },
  ],
  ['a reduction of constants', (b, x) => b.op('Add', [x, b.op('Expand', [weights(b, 1, 4), b.op('Shape', [x])])])],
];

const MIXING: [string, RegExp, Build][] = [
  [
    'steps and rows as one dimension, taken apart the other way around',
    /Reshape 'it' mixes rows/,
    (b, x) => {
      const at = (...v: number[]): string => b.constant(`at${v.join()}`, ints(...v));
      const steps = b.op('Transpose', [b.op('Reshape', [x, at(-1, 2, 2)])], { perm: [1, 0, 2] });
      return b.op('Reshape', [b.op('Relu', [b.op('Reshape', [steps, at(-1, 2)])]), at(-1, 4)], {}, named);
    },
  ],
  [
    'steps and rows as one dimension, given out',
    /Reshape 'it' makes shape \[2\*n, 2\]/,
    (b, x) => {
      const at = (...v: number[]): string => b.constant(`at${v.join()}`, ints(...v));
      const steps = b.op('Transpose', [b.op('Reshape', [x, at(-1, 2, 2)])], { perm: [1, 0, 2] });
      return b.op('Reshape', [steps, at(-1, 2)], {}, named);
    },
  ],
  [
    'rows taken apart behind others',
    /Reshape 'it' makes shape \[2, 2\*n\]|Reshape 'it' mixes rows/,
    (b, x) => b.op('Reshape', [b.op('Transpose', [x]), b.constant('s', ints(2, -1))], {}, named),
  ],
  [
    'a product with the rows behind',
    /MatMul 'it' mixes rows|MatMul 'it' makes shape/,
    (b, x) => b.op('MatMul', [weights(b, 3, 4), b.op('Transpose', [x])], {}, named),
  ],
  ['a softmax over rows', /Softmax 'it' mixes rows/, (b, x) => b.op('Softmax', [x], { axis: 0 }, named)],
  [
    'a softmax over all that follows, before opset 13',
    /Softmax 'it' mixes rows/,
    (b, x) => b.op('Softmax', [x], { axis: -2 }, named),
  ],
  [
    'a mean over rows',
    /ReduceMean 'it' reduces over the rows/,
    (b, x) => b.op('ReduceMean', [x], { axes: [0] }, named),
  ],
  ['a mean over everything', /ReduceMean 'it' reduces over the rows/, (b, x) => b.op('ReduceMean', [x], {}, named)],
  ['a concatenation of rows', /Concat 'it' mixes rows/, (b, x) => b.op('Concat', [x, x], { axis: 0 }, named)],
  ['a transpose', /Transpose 'it' makes shape \[4, n\]/, (b, x) => b.op('Transpose', [x], {}, named)],
  ['a product over rows', /Gemm 'it' reduces over the rows/, (b, x) => b.op('Gemm', [x, x], { transA: 1 }, named)],
  ['the scores of all pairs', /Gemm 'it' makes shape \[n, n\]/, (b, x) => b.op('Gemm', [x, x], { transB: 1 }, named)],
  [
    'a lookup in the rows',
    /Gather 'it' reduces over the rows/,
    (b, x) => b.op('Gather', [x, b.constant('first', ints(0, 0))], {}, named),
  ],
  [
    'a single row',
    /Gather 'it' reduces over the rows/,
    (b, x) => b.op('Gather', [x, b.constant('first', tensorOf('int64', [], [0]))], {}, named),
  ],
  [
    'all rows but the first',
    /Slice 'it' makes shape \[n \+ -1, 4\]/,
    (b, x) =>
      b.op('Slice', [x, b.constant('s', ints(1)), b.constant('e', ints(2 ** 40)), b.constant('a', ints(0))], {}, named),
  ],
  [
    'the rows backwards',
    /Slice 'it' mixes rows/,
    (b, x) =>
      b.op(
        'Slice',
        [
          x,
          b.constant('s', ints(-1)),
          b.constant('e', ints(-(2 ** 40))),
          b.constant('a', ints(0)),
          b.constant('p', ints(-1)),
        ],
        {},
        named,
      ),
  ],
  [
    'a flattening of everything',
    /Flatten 'it' makes shape \[1, 4\*n\]/,
    (b, x) => b.op('Flatten', [x], { axis: 0 }, named),
  ],
];

describe('row analysis', () => {
  it.each(PARALLEL)('lets rows of %s share waves', (_, build) => {
    const graph = graphOf(build);
    expect(analyzeRows(analyze(graph))).toEqual({ parallel: true });
    expect(compile(graph, { maxBindingBytes: 2 ** 20 }).concatenable).toBe(true);
  });

  it.each(MIXING)('keeps queries of %s apart, naming the node', (what, reason, build) => {
    const graph = graphOf(build);
    const early = what.includes('opset')
      ? { ...graph, nodes: graph.nodes.map((n) => Object.assign(n, { opset: 11 })) }
      : graph;
    expect(analyzeRows(analyze(early))).toEqual({ parallel: false, reason: expect.stringMatching(reason) });
  });

  it('says why there are no rows at all', () => {
    expect(analyzeRows(analyze(graphOf((b, x) => b.op('Relu', [x]), 3)))).toEqual({
      parallel: false,
      reason: 'no input has a symbolic leading dimension',
    });
  });

  it('names the input that carries rows elsewhere', () => {
    const b = new GraphBuilder('columns');
    b.input('x', 'float32', ['n', 2]);
    b.output(b.op('Relu', [b.input('turned', 'float32', [2, 'n'])]), 'float32');
    expect(analyzeRows(analyze(b.build()))).toEqual({ parallel: false, reason: "input 'turned' has shape [2, n]" });
  });

  it('keeps queries apart where values are reckoned from the number of rows', () => {
    const graph = graphOf((b, x) => {
      const first = b.constant('first', tensorOf('int64', [], [0]));
      const rows = b.op('Cast', [b.op('Gather', [b.op('Shape', [x]), first])], { to: 1 }, { outputs: ['count'] });
      return b.op('Mul', [x, rows]);
    });
    const { rowAnalysis, concatenable } = compile(graph, { maxBindingBytes: 2 ** 20 });
    expect(rowAnalysis).toEqual({ parallel: false, reason: "'count' reckons with the number of rows" });
    expect(concatenable).toBe(false);
  });

  it('does not concatenate where an input is shared by all rows', () => {
    const b = new GraphBuilder('shared');
    b.output(b.op('Add', [b.input('x', 'float32', ['n', 2]), b.input('bias', 'float32', [2])]), 'float32');
    const plan = compile(b.build(), { maxBindingBytes: 2 ** 20 });
    expect([plan.rowAnalysis.parallel, plan.concatenable]).toEqual([true, false]);
  });

  it('counts how often rows lead a shape', () => {
    const n = symbol('n');
    expect(rowFactor([n, 3], 'n')).toBe(1);
    expect(rowFactor([mul(4, n), 3], 'n')).toBe(4);
    expect(rowFactor([3, 4], 'n')).toBe(0);
    expect(rowFactor([], 'n')).toBe(0);
    expect(rowFactor([3, n], 'n')).toBeUndefined();
    expect(rowFactor([floorDivide(n, 2)], 'n')).toBeUndefined();
    expect(rowFactor([mul(n, symbol('d'))], 'n')).toBeUndefined();
  });

  it('never calls rows parallel that the reference computes from other rows', () => {
    // Whatever is called parallel gives a row the same result alone as among others.
    const random = new Random();
    for (let round = 0; round < 40; round++) {
      const graph = randomGraph(random);
      expect(analyzeRows(analyze(graph))).toEqual({ parallel: true });
      const inputs = Object.entries(RANDOM_INPUTS).map(([name, dims]) => [name, random.floats([3, ...dims])] as const);
      const together = evaluateGraph(graph, new Map(inputs));
      const alone = evaluateGraph(
        graph,
        new Map(
          inputs.map(([name, t]) => {
            const width = t.data.length / 3;
            return [name, { ...t, dims: [1, ...t.dims.slice(1)], data: t.data.slice(width, 2 * width) }];
          }),
        ),
      );
      for (const [name, { data }] of alone) {
        const found = [...together.get(name)!.data.subarray(data.length, 2 * data.length)];
        found.forEach((v, i) => expect(v).toBeCloseTo(data[i]!, 12));
      }
    }
  });
});

describe('lifting rows', () => {
  const lifted = (build: Build, batch = 1): Graph => liftRows(graphOf(build, batch));

  it.each<[string, number, Build]>([
    ['a dense layer', 1, (b, x) => b.op('Gemm', [x, weights(b, 4, 3)])],
    [
      'a reshape with the batch written out',
      1,
      (b, x) => b.op('Reshape', [b.op('Relu', [x]), b.constant('s', ints(1, 2, 2))]),
    ],
    ['a reshape of several rows', 5, (b, x) => b.op('Reshape', [x, b.constant('s', ints(5, 2, 2))])],
    [
      'rows split in two and joined',
      3,
      (b, x) =>
        b.op('Reshape', [
          b.op('Relu', [b.op('Reshape', [x, b.constant('s', ints(6, 2))])]),
          b.constant('t', ints(3, 4)),
        ]),
    ],
    ['a flattening', 1, (b, x) => b.op('Flatten', [b.op('Reshape', [x, b.constant('s', ints(1, 2, 2))])])],
    ['a bias', 1, (b, x) => b.op('Add', [x, weights(b, 1, 4)])],
  ])('frees the batch of %s, and computes each row as before', (_, batch, build) => {
    const fixed = graphOf(build, batch);
    const graph = liftRows(fixed);
    expect(graph.notices.at(-1)).toContain(`leading dimension ${batch}`);
    const plan = compile(graph, { maxBindingBytes: 2 ** 20 });
    expect([plan.concatenable, shapeText(plan.inputs[0]!.shape)]).toEqual([true, '[rows, 4]']);
    const x = new Random().floats([2 * batch, 4]);
    const [y] = evaluateGraph(graph, new Map([['x', x]])).values();
    const halves: number[] = [];
    for (const i of [0, 1]) {
      const data = x.data.slice(i * batch * 4, (i + 1) * batch * 4);
      const half = tensor('float32', [batch, 4], data);
      const [result] = evaluateGraph(fixed, new Map([['x', half]])).values();
      halves.push(...result!.data);
    }
    expect([...y!.data]).toEqual(halves);
  });

  it.each<[string, RegExp, Build]>([
    [
      'a softmax over rows',
      /rows cannot be lifted: Softmax 'it' mixes rows/,
      (b, x) => b.op('Softmax', [x], { axis: 0 }, named),
    ],
    ['a transpose', /rows cannot be lifted: Transpose 'it' makes shape/, (b, x) => b.op('Transpose', [x], {}, named)],
    [
      'a mean over rows',
      /rows cannot be lifted: ReduceMean 'it' reduces/,
      (b, x) => b.op('ReduceMean', [x], { axes: [0] }, named),
    ],
    [
      'a squeeze that took the batch with it',
      /rows cannot be lifted: output 'it:0' became \[rows, 4\] from \[4\]/,
      (b, x) => b.op('Squeeze', [x], {}, named),
    ],
  ])('refuses %s, naming the node', (_, message, build) => {
    expectError('MODEL_UNSUPPORTED', message, () => lifted(build));
  });

  it('refuses inputs that share no fixed leading dimension, naming them', () => {
    const b = new GraphBuilder('apart');
    b.input('a', 'float32', [1, 2]);
    b.output(b.op('Relu', [b.input('b', 'float32', [2, 2])]), 'float32');
    expectError('MODEL_UNSUPPORTED', /found 'a' \[1, 2\], 'b' \[2, 2\]/, () => liftRows(b.build()));
    expectError('MODEL_UNSUPPORTED', /found 'x' \[n, 4\]/, () => liftRows(graphOf((g, x) => g.op('Relu', [x]))));
  });

  it('refuses broadcasts that only a batch of 1 allowed', () => {
    expectError('MODEL_INVALID', /Add 'it': shapes \[rows, 4\] and \[3, 4\] do not broadcast/, () =>
      lifted((b, x) => b.op('Add', [x, weights(b, 3, 4)], {}, named)),
    );
  });
});
