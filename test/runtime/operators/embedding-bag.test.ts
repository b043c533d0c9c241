import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, type Graph, type Tensor } from '../../../runtime/index.js';
import { data, deviceProblems, difference, floats, known, Random, SEED, type Case } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { expectRejection } from '../../support/errors.js';
import { testLiteral } from '../../support/literal.js';

const list = (...values: number[]): Tensor => tensorOf('int64', [values.length], values);
const table = floats([4, 2], [1, 10, 2, 20, 3, 30, 4, 40]);
const scales = floats([3], [2, 3, 10]);

const bag = (
  title: string,
  extra: Partial<Case> & { attributes?: Record<string, string | number> },
  expected: number[],
): Case => ({
  title,
  op: 'EmbeddingBag',
  domain: 'braid',
  // Two bags around an empty one.
  inputs: [known(table), data(list(0, 3, 1), ['n']), data(list(0, 2, 2), ['bags'])],
  ...extra,
  expected: [floats([expected.length / 2, 2], expected)],
});

const LITERAL: Case[] = [
  bag('sum', {}, [5, 50, 0, 0, 2, 20]),
  bag('mean', { attributes: { mode: 'mean' } }, [2.5, 25, 0, 0, 2, 20]),
  bag('max', { attributes: { mode: 'max' } }, [4, 40, 0, 0, 2, 20]),
  bag('without the padding', { attributes: { mode: 'mean', padding_idx: 3 } }, [1, 10, 0, 0, 2, 20]),
  bag('without the padding from the end', { attributes: { mode: 'max', padding_idx: -1 } }, [1, 10, 0, 0, 2, 20]),
  bag('with the last offset', { attributes: { include_last_offset: 1 } }, [5, 50, 0, 0]),
  bag(
    'weighted',
    { inputs: [known(table), data(list(0, 3, 1)), data(tensorOf('int32', [2], [0, 1])), data(scales)] },
    [2, 20, 32, 320],
  ),
  bag(
    'with ends, apart and over one another',
    { inputs: [data(table), data(list(0, 3, 1)), data(list(0, 1)), undefined, data(list(1, 3))] },
    [1, 10, 6, 60],
  ),
  bag(
    'of equal lengths',
    { inputs: [known(table), data(tensorOf('int64', [2, 2], [0, 3, -1, 1]), ['rows', 2])] },
    [5, 50, 6, 60],
  ),
];

function randomCases(random: Random): Case[] {
  return Array.from({ length: 12 }, (_, i): Case => {
    const [rows, width] = [random.int(2, 9), random.int(1, 9)];
    const lengths = Array.from({ length: random.int(1, 6) }, () => random.int(0, 4));
    const ends = lengths.map((_, j) => lengths.slice(0, j + 1).reduce((a, b) => a + b, 0));
    const total = Math.max(1, ends.at(-1)!);
    const mode = ['sum', 'mean', 'max'][i % 3]!;
    return {
      title: `random ${i} ${mode} of ${lengths.join()}`,
      op: 'EmbeddingBag',
      domain: 'braid',
      inputs: [
        known(random.floats([rows, width])),
        data(random.tensor('int64', [total], 0, rows), ['n']),
        data(list(0, ...ends.slice(0, -1)), ['bags']),
        ...(mode === 'max' ? [] : [data(random.floats([total]), ['n'])]),
      ],
      attributes: { mode, padding_idx: random.int(0, rows - 1) },
    };
  });
}

/** torch.nn.EmbeddingBag as PyTorch's TorchScript exporter writes it. */
function exported(reduce: string, weighted: boolean, weights: Tensor): Graph {
  const b = new GraphBuilder('exported', 13);
  const constant = (name: string, ...values: number[]) => b.constant(name, list(...values));
  const indices = b.input('input', 'int64', ['n']);
  const offsets = b.input('offsets', 'int64', ['bags']);
  const samples = weighted ? b.input('samples', 'float32', ['n']) : '';
  b.constant('weight', weights);
  b.constant('go', tensorOf('bool', [], [1]));
  const at = b.constant('at', tensorOf('int64', [], [0]));
  const [zero, one, most] = [constant('zero', 0), constant('one', 1), constant('most', Number.MAX_SAFE_INTEGER)];
  const length = b.op('Unsqueeze', [b.op('Gather', [b.op('Shape', [indices]), at]), zero]);
  const all = b.op('Concat', [offsets, length], { axis: 0 });
  const starts = b.op('Slice', [all, zero, most, zero, one], {}, { outputs: ['starts'] });
  const ends = b.op('Slice', [all, one, most, zero, one], {}, { outputs: ['ends'] });
  const trips = b.op('Gather', [b.op('Shape', [ends]), at]);

  const body = new GraphBuilder('body', 13);
  const i = body.input('i', 'int64', []);
  body.input('cond', 'bool', []);
  const first = body.constant('axes', list(0));
  const edge = (of: string): string => body.op('Unsqueeze', [body.op('Gather', [of, i], { axis: 0 }), first]);
  const [from, to] = [edge(starts), edge(ends)];
  const row = body.op('Slice', [indices, from, to, zero]);
  let rows = body.op('Gather', ['weight', row], { axis: 0 });
  if (weighted) {
    const scale = body.op('Slice', [samples, from, to, zero]);
    rows = body.op('Mul', [rows, body.op('Unsqueeze', [scale, body.constant('columns', list(1))])]);
  }
  body.output(body.op('Cast', ['go'], { to: 9 }), 'bool');
  const axes = reduce === 'ReduceSum' ? [rows, first] : [rows];
  body.output(body.op(reduce, axes, { keepdims: 0, ...(axes.length === 1 ? { axes: [0] } : {}) }), 'float32');

  b.output(b.op('Loop', [trips, 'go'], { body: body.build() }, { outputs: ['y'] }), 'float32');
  return b.build();
}

describe('EmbeddingBag', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  testLiteral('embedding-bag', LITERAL, () => engine);

  it(`agrees with the reference on random bags (seed ${SEED})`, async () => {
    expect(await deviceProblems(engine, randomCases(new Random()))).toEqual([]);
  });

  it.each(['ReduceSum', 'ReduceMean', 'ReduceMax'])(
    'stands for the loop of %s that PyTorch exports',
    async (reduce) => {
      const random = new Random();
      for (const weighted of [false, true]) {
        const weights = random.floats([6, 5]);
        const graph = exported(reduce, weighted, weights);
        const model = await engine.load(graph);
        expect((await model.summary()).plan.filter((step) => step.startsWith('EmbeddingBag')).length).toBe(1);
        // Different numbers of bags and of indices, on one plan.
        for (const lengths of [[1], [2, 1, 3], [4, 1]]) {
          const total = lengths.reduce((a, b) => a + b, 0);
          const offsets = list(...lengths.map((_, j) => lengths.slice(0, j).reduce((a, b) => a + b, 0)));
          const inputs: { input: Tensor; offsets: Tensor; samples?: Tensor } = {
            input: random.tensor('int64', [total], 0, 6),
            offsets,
            ...(weighted ? { samples: random.floats([total]) } : {}),
          };
          // By hand: the reference takes the same short cut.
          let at = 0;
          const expected = lengths.flatMap((length) => {
            const places = Array.from({ length }, () => at++);
            return Array.from({ length: 5 }, (_, f) => {
              const values = places.map((j) => {
                const value = Number(weights.data[Number(inputs.input.data[j]) * 5 + f]);
                return value * Number(inputs.samples?.data[j] ?? 1);
              });
              if (reduce === 'ReduceMax') return Math.max(...values);
              return values.reduce((a, b) => a + b, 0) / (reduce === 'ReduceMean' ? length : 1);
            });
          });
          const { y } = await model.run(inputs as Record<string, Tensor>);
          expect(difference(y!, { dtype: 'float32', dims: [lengths.length, 5], data: expected })).toBeUndefined();
        }
        await model.dispose();
      }
    },
  );

  it('cuts a table that is larger than a binding', async () => {
    const small = await openBackend({ arenaBytes: 2 ** 24 });
    Object.defineProperty(small, 'maxBindingBytes', { value: 64 });
    const cut = new GraphEngine(small);
    const random = new Random();
    const cases = ['sum', 'mean', 'max'].map((mode): Case => ({
      title: mode,
      op: 'EmbeddingBag',
      domain: 'braid',
      inputs: [known(random.floats([9, 5])), data(list(8, 0, 4, 5, 3), ['n']), data(list(0, 3, 3), ['bags'])],
      attributes: { mode },
    }));
    expect(await deviceProblems(cut, cases)).toEqual([]);
    await cut.close();
  });

  it('names indices and offsets that are out of range', async () => {
    const b = new GraphBuilder('checked');
    const inputs = [b.constant('table', table), b.input('ids', 'int64', ['n']), b.input('offsets', 'int64', ['bags'])];
    b.output(b.op('EmbeddingBag', inputs, {}, { outputs: ['y'], domain: 'braid' }), 'float32');
    const model = await engine.load(b.build());
    const run = (ids: number[], offsets: number[]) => model.run({ ids: list(...ids), offsets: list(...offsets) });
    expect((await run([0, 1, 2], [0, 2]))['y']!.data).toEqual(Float32Array.of(3, 30, 3, 30));
    await expectRejection(
      'INDEX_OUT_OF_RANGE',
      /input 'ids': position 2: found id 4, expected -4 to 3 for table 'table'/,
      run([0, 1, 4], [0, 2]),
    );
    await expectRejection(
      'INDEX_OUT_OF_RANGE',
      /input 'offsets': position 1: found id 5, expected 0 to 3 for table 'ids'/,
      run([0, 1, 2], [0, 5]),
    );
    await expectRejection('INDEX_OUT_OF_RANGE', /input 'offsets': position 0: found id -1/, run([0, 1, 2], [-1, 2]));
    await model.dispose();
  });

  it('keeps rows of equal lengths apart, so that queries share a wave', async () => {
    const b = new GraphBuilder('fixed');
    const ids = b.input('ids', 'int64', ['n', 2]);
    b.output(
      b.op('EmbeddingBag', [b.constant('table', table), ids], {}, { outputs: ['y'], domain: 'braid' }),
      'float32',
    );
    const model = await engine.load(b.build());
    expect((await model.summary()).rowsMixedBy).toBeUndefined();
    const run = (...ids: number[]) => model.run({ ids: tensorOf('int64', [ids.length / 2, 2], ids) });
    const [first, bad, second] = await Promise.allSettled([run(0, 1, 2, 3), run(0, 0, 1, 7), run(3, 3)]);
    expect(first).toMatchObject({ status: 'fulfilled', value: { y: { data: Float32Array.of(3, 30, 7, 70) } } });
    expect(second).toMatchObject({ status: 'fulfilled', value: { y: { data: Float32Array.of(8, 80) } } });
    expect(String((bad as PromiseRejectedResult).reason)).toMatch(/row 1, position 1: found id 7/);
    await model.dispose();
  });
});
