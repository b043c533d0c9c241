import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, tensorOf, type Graph, type Plan } from '../../../runtime/index.js';
import { buildZoo } from '../../../src/zoo/index.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { needsUnits, openNullDevice, UNITS, unitsPlan } from '../../support/units.js';

/** Layers of so many columns over one value, the first with a bias and cut into heads of 4; their results concatenated. */
function layers(widths: readonly number[], activation?: 'Relu'): Graph {
  const random = new Random();
  const b = new GraphBuilder('layers');
  const x = b.input('x', 'float32', ['n', 5, 24]);
  const made = widths.map((n, i) => {
    const y = b.op('MatMul', [x, b.constant(`w${i}`, random.floats([24, n], -1, 1))]);
    if (i > 0) return activation ? b.op(activation, [y]) : y;
    const biased = b.op('Add', [y, b.constant('bias', random.floats([n], -1, 1))]);
    const heads = b.op('Reshape', [biased, b.constant('heads', tensorOf('int64', [4], [0, 0, -1, 4]))]);
    const added = b.op('Softmax', [heads], { axis: -1 });
    return b.op('Reshape', [added, b.constant('joined', tensorOf('int64', [3], [0, 0, n]))]);
  });
  b.output(b.op('Concat', made, { axis: -1 }, { outputs: ['y'] }), 'float32');
  return b.build();
}

function productsOf({ program }: Plan): string[] {
  return program.steps.filter((s) => s.kernel.startsWith('MatMul')).map((s) => / n=(\d+)/.exec(s.detail)![1]!);
}

describe('narrow layers over one value', () => {
  const refused = openNullDevice();
  const engines = openBothEngines();

  it('are one product in float16', async () => {
    const plan = unitsPlan(layers([16, 24, 32]));
    expect(productsOf(plan)).toEqual(['72']);
    expect(await refused(plan)).toEqual([]);
  });

  it('are left alone in float32, where columns do not come in eights, and where functions follow', () => {
    const plain = compile(layers([16, 24, 32]), { maxBindingBytes: 2 ** 31, caps: UNITS, products: 'float32' });
    expect(productsOf(plain)).toEqual(['16', '24', '32']);
    expect(productsOf(unitsPlan(layers([16, 20, 32])))).toEqual(['48', '20']);
    expect(productsOf(unitsPlan(layers([16, 24], 'Relu')))).toEqual(['16', '24']);
    expect(productsOf(unitsPlan(layers([16, 136])))).toEqual(['16', '136']);
  });

  it("are the queries, keys and values of the zoo's bst", async () => {
    const plan = unitsPlan(buildZoo('bst', 'demo'));
    expect(productsOf(plan)).toEqual(['192']);
    expect(await refused(plan)).toEqual([]);
  });

  it(`give nearly what the reference gives (seed ${SEED})`, async (context) => {
    await needsUnits(engines[1]!, 'float16', context);
    for (const widths of [
      [16, 24, 32],
      [8, 8],
      [16, 20, 32],
    ]) {
      const graph = layers(widths);
      const random = new Random();
      const model = await engines[1]!.load(graph, { products: 'float16' });
      for (const n of [1, 13])
        expect(await graphProblems(model, graph, { x: random.floats([n, 5, 24], -1, 1) }, 1e-2, 2e-2)).toEqual([]);
      await model.dispose();
    }
  });
});
