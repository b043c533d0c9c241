import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, GraphBuilder, GraphEngine, printPlan, tensorOf, type Graph } from '../../../runtime/index.js';
import { buildZoo, zooNames } from '../../../src/zoo/index.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { openBothEngines } from '../../support/engines.js';
import { needsUnits, openNullDevice, UNITS, unitsPlan } from '../../support/units.js';

/** Values between steps that are stored as halves. */
function halvesOf(graph: Graph): string[] {
  const storages = unitsPlan(graph).program.steps.flatMap((s) => s.operands.map((o) => o.view.storage));
  return [...new Set(storages.filter((s) => s.kind === 'temp' && s.type === 'f16').map((s) => s.name))];
}

interface Layers {
  readonly table: number;
  readonly dense: number;
  readonly hidden: number;
  readonly columns: number;
}

/** [rows of a table, features] in two layers, the second one's result added to `h` where `keeps`, which adds up the first's. */
function layers({ table, dense, hidden, columns }: Layers, keeps = false): Graph {
  const random = new Random();
  const b = new GraphBuilder('layers');
  const rows = b.constant('table', random.floats([30, table], -1, 1));
  const looked = b.op('Gather', [rows, b.input('id', 'int64', ['n'])], { axis: 0 });
  const x = b.op('Concat', [b.input('dense', 'float32', ['n', dense]), looked], { axis: 1 });
  const layer = (from: string, name: string, k: number, n: number): string =>
    b.op('Gemm', [from, b.constant(name, random.floats([n, k], -1, 1)), b.constant(`${name} c`, random.floats([n]))], {
      transB: 1,
    });
  const h = b.op('Relu', [layer(x, 'a', table + dense, hidden)], {}, { outputs: ['h'] });
  b.output(layer(h, 'b', hidden, columns), 'float32');
  if (keeps)
    b.output(
      b.op('ReduceSum', [h, b.constant('axis', { dtype: 'int64', dims: [1], data: BigInt64Array.of(1n) })]),
      'float32',
    );
  return b.build();
}

/** Products of pairs of vectors that are looked up. */
function pairs(vectors: number, width: number): Graph {
  const random = new Random();
  const b = new GraphBuilder('pairs');
  const ids = b.input('ids', 'int64', ['n', vectors]);
  const x = b.op('Gather', [b.constant('table', random.floats([20, width], -1, 1)), ids], { axis: 0 });
  const products = b.op('MatMul', [x, b.op('Transpose', [x], { perm: [0, 2, 1] })]);
  const places = Array.from({ length: vectors * vectors }, (_, i) => i).filter(
    (i) => i % vectors < Math.floor(i / vectors),
  );
  const at = b.constant('at', tensorOf('int64', [places.length], places));
  b.output(b.op('Gather', [b.op('Flatten', [products], { axis: 1 }), at], { axis: 1 }), 'float32');
  return b.build();
}

/** Attention among vectors that are looked up, of heads of 8 features. */
function attention(vectors: number, heads: number): Graph {
  const random = new Random();
  const b = new GraphBuilder('attention');
  const looked = ['q', 'k', 'v'].map((name) =>
    b.op(
      'Gather',
      [b.constant(name, random.floats([20, heads * 8], -1, 1)), b.input(`${name} ids`, 'int64', ['n', vectors])],
      { axis: 0 },
    ),
  );
  const shape = b.constant('heads', tensorOf('int64', [4], [0, vectors, heads, 8]));
  const [q, k, v] = [
    [0, 2, 1, 3],
    [0, 2, 3, 1],
    [0, 2, 1, 3],
  ].map((perm, i) => b.op('Transpose', [b.op('Reshape', [looked[i]!, shape])], { perm })) as [string, string, string];
  b.output(b.op('MatMul', [b.op('Softmax', [b.op('MatMul', [q, k])], { axis: -1 }), v]), 'float32');
  return b.build();
}

// Larger than what becomes one kernel of several layers.
const WIDE: Layers = { table: 64, dense: 13, hidden: 1024, columns: 200 };

describe('values between products of float16', () => {
  const refused = openNullDevice();

  it('are halves where products alone read them', () => {
    expect(halvesOf(layers(WIDE))).toEqual([expect.stringMatching(/^Concat/), 'h']);
    // Rows begin on multiples of 8.
    expect(printPlan(unitsPlan(layers(WIDE))).join('\n')).toContain('float32[n, 64] as f16 @13 strides [80, 1]');
  });

  it('stay float32 where something else reads them, where they are outputs, and in float32', () => {
    expect(halvesOf(layers(WIDE, true))).toEqual([expect.stringMatching(/^Concat/)]);
    const { program } = compile(layers(WIDE), { maxBindingBytes: 2 ** 31, caps: UNITS, products: 'float32' });
    const types = program.steps.flatMap((s) => s.operands.map((o) => o.view.storage.type));
    expect(types).not.toContain('f16');
  });

  it('stay float32 where kernels of few columns read them, or columns do not come in fours', () => {
    expect(halvesOf(layers({ ...WIDE, hidden: 1022 }))).not.toContain('h');
  });

  it.each(zooNames)("have kernels that Dawn takes, in the zoo's %s", async (name) => {
    for (const scale of ['tiny', 'demo']) {
      const graph = buildZoo(name, scale);
      expect(await refused(unitsPlan(graph))).toEqual([]);
    }
    expect(halvesOf(buildZoo(name, 'demo')).length).toBeGreaterThan(1);
  });

  it.each([WIDE, { ...WIDE, dense: 16 }, { ...WIDE, dense: 3, table: 17 }, { ...WIDE, hidden: 1030, columns: 77 }])(
    'have kernels that Dawn takes: $dense + $table features',
    async (form) => {
      expect(await refused(unitsPlan(layers(form)))).toEqual([]);
    },
  );

  it('are multiplied by lines of columns in eights, in long steps where the sum is long, in large tiles where there are many', () => {
    const products = (form: Layers): { first: string; chosen: (n: number) => string }[] =>
      unitsPlan(layers(form))
        .program.steps.filter((s) => s.kernel.startsWith('Gemm'))
        .map((step) => {
          const { program, dispatch } = step.webgpu(UNITS);
          const chosen = (n: number): string =>
            (dispatch.alternatives?.find((a) => a.suits(new Map([['n', n]])))?.program ?? program).key;
          return { first: program.key, chosen };
        });
    const [short, long] = products(WIDE);
    expect(short!.first).toContain('MatMul_f16_64x64x32_s32x32_kn_');
    expect(long!.first).toContain('MatMul_f16_64x64x64_s32x32_kn_');
    // 4 tiles of 64 columns: 264 of 64x64 are 66 rows of them.
    expect(long!.chosen(64 * 65)).toBe(long!.first);
    expect(long!.chosen(64 * 66)).not.toBe(long!.first);
    expect(products({ ...WIDE, hidden: 1032, columns: 204 })[1]!.first).toContain('_kk_');
  });

  describe('on the adapter there is', () => {
    const engines = openBothEngines();

    it.for([
      WIDE,
      { table: 64, dense: 365, hidden: 1028, columns: 17 },
      { table: 17, dense: 3, hidden: 36, columns: 20 },
    ])(`give nearly what the reference gives: $dense + $table features (seed ${SEED})`, async (form, context) => {
      await needsUnits(engines[1]!, 'float16', context);
      const graph = layers(form);
      const random = new Random();
      const model = await engines[1]!.load(graph, { products: 'float16' });
      for (const n of [1, 5, 67]) {
        const inputs = { id: random.tensor('int64', [n], 0, 30), dense: random.floats([n, form.dense], -1, 1) };
        // Both layers round factors to 11 bits; sums are of up to 1,030 of them.
        expect(await graphProblems(model, graph, inputs, 1e-2, 0.3)).toEqual([]);
      }
      await model.dispose();
    });
  });

  describe('that kernels without matrix units read', () => {
    let engine: GraphEngine;
    beforeAll(async () => {
      const backend = await openBackend({ software: false });
      // None of the products below takes matrix units; those of CUDA read no halves.
      const { tf32: _, ...caps } = backend.caps;
      Object.defineProperty(backend, 'caps', { value: { ...caps, multipliesHalves: true } });
      engine = new GraphEngine(backend);
    });
    afterAll(() => engine.close());

    it.each([
      [27, 128],
      [5, 16],
      [9, 12],
    ])(`give nearly what the reference gives: ${SEED}, pairs of %i of %i`, async (vectors, width) => {
      const graph = pairs(vectors, width);
      expect(halvesOf(graph)).toHaveLength(1);
      const random = new Random();
      const model = await engine.load(graph, { products: 'float16' });
      for (const n of [1, 9]) {
        const inputs = { ids: random.tensor('int64', [n, vectors], 0, 20) };
        expect(await graphProblems(model, graph, inputs, 1e-2, 2e-2)).toEqual([]);
      }
      await model.dispose();
    });

    it.each([
      [21, 8],
      [4, 1],
      [5, 3],
    ])(`give nearly what the reference gives: ${SEED}, attention among %i of %i heads`, async (vectors, heads) => {
      const graph = attention(vectors, heads);
      expect(halvesOf(graph)).toHaveLength(3);
      const random = new Random();
      const model = await engine.load(graph, { products: 'float16' });
      for (const n of [1, 9]) {
        const inputs = Object.fromEntries(
          ['q', 'k', 'v'].map((name) => [`${name} ids`, random.tensor('int64', [n, vectors], 0, 20)]),
        );
        expect(await graphProblems(model, graph, inputs, 1e-2, 2e-2)).toEqual([]);
      }
      await model.dispose();
    });
  });
});
