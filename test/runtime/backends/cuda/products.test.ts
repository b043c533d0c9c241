import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { groupLaunches } from '../../../../runtime/backends/cuda/launches.js';
import { loadProduct, ProductChoices } from '../../../../runtime/backends/cuda/products.js';
import type { NativeDevice, NativeProduct } from '../../../../runtime/backends/cuda/addon.js';
import { repack } from '../../../../runtime/backends/cuda/repack.js';
import {
  compile,
  evaluateGraph,
  GraphBuilder,
  GraphEngine,
  type Backend,
  type Graph,
} from '../../../../runtime/index.js';
import type { LibraryProduct, ProductPrecision } from '../../../../runtime/compile/kernel.js';
import { HOPPER_CAPS } from '../../../support/caps.js';
import { Random, SEED } from '../../../support/cases.js';
import { openBackend, testsCuda } from '../../../support/device.js';

interface Form {
  readonly k: number;
  readonly n: number;
  readonly bias: boolean;
  readonly end: 'Relu' | 'LeakyRelu' | 'none';
  readonly turned?: boolean;
  readonly alpha?: number;
}

/** A product between two functions, so that nothing of it is an input or an output of the model. */
function product({ k, n, bias, end, turned = false, alpha = 1 }: Form): Graph {
  const random = new Random();
  const b = new GraphBuilder('product');
  const x = b.op('Tanh', [b.input('x', 'float32', ['n', k])]);
  const bound = 2 / Math.sqrt(k);
  const weight = b.constant('w', random.floats(turned ? [n, k] : [k, n], -bound, bound));
  const line = bias ? [b.constant('b', random.floats([n]))] : [];
  const made = b.op('Gemm', [x, weight, ...line], { transB: turned ? 1 : 0, alpha });
  b.output(end === 'none' ? made : b.op(end, [made]), 'float32');
  return b.build();
}

/** What a library is asked for in the model's launches. */
function asked(graph: Graph, products: ProductPrecision): LibraryProduct[] {
  const target = { ...HOPPER_CAPS, products };
  const plan = compile(graph, { maxBindingBytes: 2 ** 30, caps: target, products });
  return groupLaunches(repack(plan, target), target, () => 0).flatMap(({ steps }) => steps[0]!.dispatch.library ?? []);
}

describe('products that a library may make', () => {
  const large: Form = { k: 429, n: 1024, bias: true, end: 'Relu' };

  it('are large ones with no more than bias and ReLU behind them', () => {
    expect(asked(product(large), 'tf32')).toHaveLength(1);
    expect(asked(product({ ...large, bias: false, end: 'none' }), 'tf32')).toHaveLength(1);
    expect(asked(product({ ...large, end: 'LeakyRelu' }), 'tf32')).toEqual([]);
    expect(asked(product({ ...large, alpha: 0.5 }), 'tf32')).toEqual([]);
    expect(asked(product({ ...large, n: 64 }), 'tf32')).toEqual([]);
    expect(asked(product(large), 'float16')).toEqual([]);
  });

  it('say how their operands lie', () => {
    const sizes = { n: 1024, k: 429, outPitch: 1024, hasBias: true, relu: true };
    expect(asked(product(large), 'tf32')[0]).toMatchObject({ ...sizes, turned: true, bPitch: 432, tf32: true });
    expect(asked(product(large), 'float32')[0]).toMatchObject({ ...sizes, turned: false, bPitch: 1024, tf32: false });
  });

  it('name the words of the argument that say where operands begin', () => {
    const target = { ...HOPPER_CAPS, products: 'tf32' as const };
    const plan = compile(product(large), { maxBindingBytes: 2 ** 30, caps: target, products: 'tf32' });
    const groups = groupLaunches(repack(plan, target), target, () => 0);
    const group = groups.find(({ steps }) => steps[0]!.dispatch.library)!;
    const given: NativeProduct[] = [];
    const device = { loadProduct: (p: NativeProduct) => given.push(p) - 1 } as Pick<NativeDevice, 'loadProduct'>;
    expect(loadProduct(device, group, 16)).toMatchObject({ index: 0, key: 'cublasLt_tf32_bias_Relu' });
    const { a, b, bias, out } = given[0]!;
    // Four operands of four words each, then five words of sizes; each operand has five of its own.
    expect([a, b, out, bias]).toEqual([
      [0, 21],
      [4, 26],
      [12, 31],
      [8, 36],
    ]);
    const refuses = {
      loadProduct: () => {
        throw new Error('cuBLASLt is missing');
      },
    };
    expect(loadProduct(refuses, group, 16)).toBeUndefined();
  });
});

describe('ProductChoices', () => {
  it('takes the library where it was faster at the nearest number of rows', () => {
    const choices = new ProductChoices();
    expect(choices.prefersLibrary(0, 100)).toBe(false);
    choices.add(0, { m: 100, own: 10, library: 20 });
    choices.add(0, { m: 1600, own: 40, library: 20 });
    expect([1, 100, 399, 401, 5000].map((m) => choices.prefersLibrary(0, m))).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
    expect(choices.prefersLibrary(1, 5000)).toBe(false);
    // By too little, of the time and in microseconds.
    choices.add(1, { m: 100, own: 200, library: 197 });
    choices.add(2, { m: 100, own: 8, library: 6.5 });
    expect([1, 2].map((launch) => choices.prefersLibrary(launch, 100))).toEqual([false, false]);
    expect(choices.count).toBe(1);
  });

  it('takes none once it fails', () => {
    const choices = new ProductChoices();
    choices.add(0, { m: 100, own: 20, library: 10 });
    expect([choices.prefersLibrary(0, 100), choices.refusal]).toEqual([true, undefined]);
    choices.refuse('not supported');
    expect([choices.prefersLibrary(0, 100), choices.count, choices.refusal]).toEqual([false, 0, 'not supported']);
  });
});

describe.skipIf(!testsCuda)('large products on CUDA (BRAID_TEST_BACKEND=cuda)', () => {
  const random = new Random();
  let backend: Backend;
  let engine: GraphEngine;
  beforeAll(async () => {
    backend = await openBackend();
    engine = new GraphEngine(backend);
  });
  afterAll(() => engine.close());

  const forms = [
    { k: 429, n: 1024, bias: true, end: 'Relu' },
    { k: 479, n: 1024, bias: false, end: 'Relu' },
    { k: 1024, n: 512, bias: true, end: 'none', turned: true },
    { k: 1024, n: 1000, bias: false, end: 'none' },
  ] as const;
  it.each(forms)(
    `$k x $n, bias $bias, $end (seed ${SEED})`,
    async (form) => {
      const graph = product(form);
      for (const products of ['tf32', 'float32'] as const) {
        const model = await engine.load(graph, { products });
        for (const rows of [1, 7, 65, 257, 1300]) {
          const given = { x: random.floats([rows, form.k], -1, 1) };
          const [output] = Object.values(await model.run(given));
          const [expected] = evaluateGraph(graph, new Map(Object.entries(given))).values();
          const found = output!.data as Float32Array;
          const worst = found.reduce((most, v, i) => Math.max(most, Math.abs(v - Number(expected!.data[i]!))), 0);
          expect(found.length).toBe(expected!.data.length);
          expect(worst).toBeLessThan(products === 'tf32' ? 5e-3 : 1e-4);
        }
        await model.dispose();
      }
    },
    120_000,
  );
});
