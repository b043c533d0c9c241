import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  evaluateGraph,
  GraphBuilder,
  GraphEngine,
  tensorOf,
  toFloat64,
  type Graph,
} from '../../../runtime/index.js';
import { openBackend } from '../../support/device.js';

const compileFor = (graph: Graph) => compile(graph, { maxBindingBytes: 2 ** 30 });
const copies = (graph: Graph) => compileFor(graph).program.steps.filter((s) => s.kernel === 'Copy').length;

/** concat(x, concat(relu(x), x)) and the like: `make` gets a value computed from the input. */
function graphOf(make: (b: GraphBuilder, value: string) => string): Graph {
  const b = new GraphBuilder('concat');
  b.input('x', 'float32', ['batch', 3]);
  b.op('Identity', [make(b, b.op('Relu', ['x']))], {}, { outputs: ['out'] });
  b.output('out', 'float32');
  return b.build();
}

const concat = (b: GraphBuilder, ...values: string[]) => b.op('Concat', values, { axis: 1 });

const CASES: [name: string, copies: number, graph: Graph][] = [
  ['both parts in place', 0, graphOf((b, v) => concat(b, b.op('Exp', [v]), b.op('Neg', [v])))],
  [
    'a concat inside a concat',
    0,
    graphOf((b, v) => concat(b, b.op('Exp', [v]), concat(b, b.op('Neg', [v]), b.op('Abs', [v])))),
  ],
  ['a part that is computed from another part', 1, graphOf((b, v) => concat(b, v, b.op('Neg', [v])))],
  ['a part that occurs twice', 2, graphOf((b, v) => concat(b, v, v))],
  [
    'a part that occurs in an inner and an outer concat',
    2,
    graphOf((b, v) => concat(b, v, concat(b, v, b.op('Neg', ['x'])))),
  ],
  ['a part that is an input', 1, graphOf((b, v) => concat(b, 'x', v))],
];

describe('Concat', () => {
  let engine: GraphEngine;
  beforeAll(async () => {
    engine = new GraphEngine(await openBackend());
  });
  afterAll(() => engine.close());

  it.each(CASES)('%s takes %i copies', (_, count, graph) => {
    expect(copies(graph)).toBe(count);
  });

  it.each(CASES)('%s computes what the reference does', async (_, __, graph) => {
    const x = tensorOf('float32', [2, 3], [-2, -1, 0, 1, 2, 0.5]);
    const model = await engine.load(graph);
    const { out } = await model.run({ x });
    const expected = evaluateGraph(graph, new Map([['x', x]])).get('out')!;
    expect(out!.dims).toEqual(expected.dims);
    toFloat64(out!).forEach((v, i) => expect(v).toBeCloseTo(expected.data[i]!, 5));
    await model.dispose();
  });
});
