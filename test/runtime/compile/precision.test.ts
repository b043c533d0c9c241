import { describe, expect, it } from 'vitest';
import {
  castTensor,
  compile,
  GraphBuilder,
  GraphEngine,
  tensorOf,
  type Graph,
  type Precision,
  type Tensor,
} from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, zooInputs } from '../../../src/zoo/index.js';
import { SOFTWARE_CAPS } from '../../support/caps.js';
import { floats, graphProblems, Random, SEED } from '../../support/cases.js';
import { openBackend } from '../../support/device.js';
import { openBothEngines } from '../../support/engines.js';
import { expectRejection } from '../../support/errors.js';
import { goldenPath } from '../../support/golden.js';
import { asStored, storedTypes } from '../../support/precision.js';

const OPTIONS = { maxBindingBytes: 2 ** 27 };
const INT8: Precision = { tables: 'int8', weights: 'float16' };
const HALF: Precision = { tables: 'float16', weights: 'float16' };

const plan = (graph: Graph, precision: Precision = {}, maxBindingBytes = OPTIONS.maxBindingBytes) =>
  compile(graph, { maxBindingBytes, precision, caps: SOFTWARE_CAPS });

/** Loads `graph` and compares it with the reference fed with the weights as they are stored. */
async function storedProblems(
  engine: GraphEngine,
  graph: Graph,
  precision: Precision,
  inputs: Record<string, Tensor>,
  maxBindingBytes = OPTIONS.maxBindingBytes,
): Promise<string[]> {
  const model = await engine.load(graph, { precision });
  try {
    const stored = asStored(graph, plan(graph, precision, maxBindingBytes));
    return await graphProblems(model, stored, inputs, 2e-5, 2e-5);
  } finally {
    await model.dispose();
  }
}

/** Lookups of every form, in tables of many widths. */
function lookups(random: Random, rows = random.int(2, 9)): { graph: Graph; inputs: Record<string, Tensor> } {
  const b = new GraphBuilder('lookups');
  const one = b.input('one', 'int64', ['n']);
  const two = b.input('two', 'int32', ['n', 3]);
  const bags = b.input('bags', 'int64', ['n', 4]);
  const output = (name: string, op: string, inputs: string[], attributes = {}, domain = ''): void =>
    b.output(b.op(op, inputs, attributes, { outputs: [name], domain }), 'float32');
  const parts: string[] = [];
  for (const width of [1, 3, 9, 12, 16, 31, 70]) {
    const spread = 10 ** random.int(-3, 3);
    const table = b.constant(`table${width}`, random.floats([rows, width], -spread, spread));
    // Into a window of a concatenation, whose rows begin anywhere.
    parts.push(b.op('Gather', [table, one]));
    output(`two of ${width}`, 'Gather', [table, two]);
  }
  b.output(b.op('Concat', parts, { axis: 1 }, { outputs: ['joined'] }), 'float32');
  output('of blocks', 'Gather', [b.constant('blocks', random.floats([rows, 3, 5])), two]);
  output('of numbers', 'Gather', [b.constant('numbers', random.floats([rows])), two]);
  output('of columns', 'Gather', [b.constant('columns', random.floats([5, rows])), two], { axis: 1 });
  for (const [mode, width] of [
    ['sum', 11],
    ['mean', 16],
    ['max', 20],
  ] as const) {
    const table = b.constant(`${mode} table`, random.floats([rows, width], -3, 1));
    output(mode, 'EmbeddingBag', [table, bags], { mode, padding_idx: 1 }, 'braid');
  }
  const n = random.int(1, 7);
  const ids = (dtype: 'int64' | 'int32', ...dims: number[]) => random.tensor(dtype, dims, -rows, rows);
  return { graph: b.build(), inputs: { one: ids('int64', n), two: ids('int32', n, 3), bags: ids('int64', n, 4) } };
}

type Size = readonly [m: number, n: number, k: number];

/**
 * Products with a matrix as it is and transposed, or one of them; of one row where m is 1. Weights are halves: what does not
 * lose is not loaded twice to be compared.
 */
function products(random: Random, sizes: readonly Size[], forms: readonly ('plain' | 'turned')[]): Graph {
  const b = new GraphBuilder('products');
  for (const [i, [m, n, k]] of sizes.entries()) {
    // A single row is one in the model; others are of a batch.
    const x = b.input(`x${i}`, 'float32', m === 1 ? [1, k] : ['n', m, k]);
    const halves = (...dims: [number, number]) => tensorOf('float16', dims, random.floats(dims).data as Float32Array);
    const plain = b.constant(`plain${i}`, castTensor(halves(k, n), 'float32'));
    if (forms.includes('plain')) b.output(b.op('MatMul', [x, plain], {}, { outputs: [`plain ${i}`] }), 'float32');
    if (!forms.includes('turned')) continue;
    const turned = b.constant(`turned${i}`, castTensor(halves(n, k), 'float32'));
    const flat = b.op('Reshape', [x, b.constant(`flat${i}`, tensorOf('int64', [2], [-1, k]))]);
    b.output(b.op('Gemm', [flat, turned], { transB: 1 }, { outputs: [`turned ${i}`] }), 'float32');
  }
  return b.build();
}

function productInputs(random: Random, { inputs }: Graph, n: number): Record<string, Tensor> {
  return Object.fromEntries(
    inputs.map(({ name, shape }) => [name, random.floats(shape!.map((d) => (d === 'n' ? n : (d as number))))]),
  );
}

describe('weights in fewer bits', () => {
  const engines = openBothEngines();

  it.each([INT8, HALF])(`give lookups what the reference gives for %o (seed ${SEED})`, async (precision) => {
    const random = new Random();
    for (const engine of engines) {
      const { graph, inputs } = lookups(random);
      const stored = storedTypes(plan(graph, precision));
      expect(Object.keys(stored)).toHaveLength(13);
      expect(stored['table70']).toBe(precision === INT8 ? 'i8' : 'f16');
      expect(await storedProblems(engine, graph, precision, inputs)).toEqual([]);
      const none = Object.fromEntries(
        Object.entries(inputs).map(([name, { dtype, dims }]) => [name, tensorOf(dtype, [0, ...dims.slice(1)], [])]),
      );
      expect(await storedProblems(engine, graph, precision, none)).toEqual([]);
    }
  });

  it(`give products what the reference gives (seed ${SEED})`, async () => {
    const random = new Random();
    const sizes = [1, 2, 3, 7, 8, 17, 33];
    const graph = products(
      random,
      Array.from({ length: 12 }, () => [random.pick(sizes), random.pick(sizes), random.pick(sizes)] as const),
      ['plain', 'turned'],
    );
    for (const n of [1, 3])
      expect(await storedProblems(engines[0]!, graph, {}, productInputs(random, graph, n))).toEqual([]);
  });

  // One row, few columns, few rows; tiles that read vectors along k, and across; single elements, k cut.
  it.each([
    { size: [1, 37, 12], form: 'plain', n: 2 },
    { size: [5, 3, 33], form: 'turned', n: 2 },
    { size: [5, 17, 33], form: 'plain', n: 2 },
    { size: [9, 36, 20], form: 'turned', n: 10 },
    { size: [9, 40, 128], form: 'plain', n: 10 },
    { size: [9, 37, 70], form: 'plain', n: 10 },
  ] as const)(
    `give products on a GPU what the reference gives: $form $size (seed ${SEED})`,
    async ({ size, form, n }) => {
      const random = new Random();
      const graph = products(random, [size], [form]);
      expect(plan(graph).precision).toMatchObject({ float16: 1, isLossy: false });
      expect(await storedProblems(engines[1]!, graph, {}, productInputs(random, graph, n))).toEqual([]);
    },
  );

  it('give the layer over a target and keys what the reference gives', async () => {
    const random = new Random();
    const b = new GraphBuilder('layer');
    const q = b.input('q', 'float32', ['n', 1, 8]);
    const k = b.input('k', 'float32', ['n', 5, 8]);
    const wide = b.op('Expand', [q, b.constant('times', tensorOf('int64', [3], [1, 5, 1]))]);
    const features = b.op('Concat', [wide, k, b.op('Sub', [q, k]), b.op('Mul', [q, k])], { axis: -1 });
    // Sums of these are halves too, so that storing the weights that the layer is split into loses nothing.
    const quarters = Array.from({ length: 32 * 12 }, () => random.int(-64, 64) / 64);
    const product = b.op('MatMul', [features, b.constant('w', floats([32, 12], quarters))]);
    b.output(b.op('Relu', [product], {}, { outputs: ['y'] }), 'float32');
    const graph = b.build();
    const { program, precision } = plan(graph);
    expect(program.steps.some((s) => s.kernel.startsWith('ModulatedMatMul'))).toBe(true);
    expect(precision).toMatchObject({ float16: 2, isLossy: false });
    for (const engine of engines) {
      const inputs = { q: random.floats([3, 1, 8]), k: random.floats([3, 5, 8]) };
      expect(await storedProblems(engine, graph, {}, inputs)).toEqual([]);
    }
  });

  it.each([INT8, HALF])(
    `give tables of several bindings what the reference gives for %o (seed ${SEED})`,
    async (precision) => {
      const most = 300;
      const engine = new GraphEngine(await openBackend({ maxBindingBytes: most, arenaBytes: 2 ** 20 }));
      const { graph, inputs } = lookups(new Random(), 40);
      const parts = plan(graph, precision, most).program.steps.filter((s) => s.detail.includes('from row'));
      expect(new Set(parts.map((s) => s.kernel))).toEqual(new Set(['Gather', 'EmbeddingBag']));
      expect(await storedProblems(engine, graph, precision, inputs, most)).toEqual([]);
      await engine.close();
    },
  );
});

describe('the setting', () => {
  const table = (b: GraphBuilder, width: number, name = 'table') => b.constant(name, new Random().floats([20, width]));

  it('is refused where it is wrong', async () => {
    const b = new GraphBuilder('g');
    b.output(b.op('Gather', [table(b, 16), b.input('ids', 'int64', ['n'])]), 'float32');
    const graph = b.build();
    const refused = (precision: object, message: RegExp) =>
      expectRejection('REQUEST_INVALID', message, (async () => plan(graph, precision as Precision))());
    await refused({ tables: 'int4' }, /precision: tables is "int4", expected one of float32, float16, int8/);
    await refused({ weights: 'int8' }, /precision: weights is "int8", expected one of float32, float16/);
    await refused({ table: 'int8' }, /precision: unknown setting 'table', expected one of tables, weights/);
  });

  it('leaves alone what it does not speak of, and float32 means it', () => {
    const b = new GraphBuilder('g');
    const looked = b.op('Gather', [table(b, 16), b.input('ids', 'int64', ['n'])]);
    b.output(b.op('MatMul', [looked, b.constant('w', new Random().floats([16, 3]))]), 'float32');
    const exact = b.constant(
      'exact',
      floats(
        [16, 2],
        Array.from({ length: 32 }, (_, i) => i / 8),
      ),
    );
    b.output(b.op('MatMul', [looked, exact]), 'float32');
    const graph = b.build();
    expect(storedTypes(plan(graph))).toEqual({ exact: 'f16' });
    expect(plan(graph).precision.isLossy).toBe(false);
    expect(storedTypes(plan(graph, { weights: 'float32' }))).toEqual({});
    expect(storedTypes(plan(graph, { tables: 'int8' }))).toEqual({ table: 'i8', exact: 'f16' });
    expect(storedTypes(plan(graph, HALF))).toEqual({ table: 'f16', w: 'f16', exact: 'f16' });
    expect(plan(graph, INT8).precision).toMatchObject({
      float16: 2,
      int8: 1,
      storedBytes: 20 * 24 + 2 * 16 * 5,
      savedBytes: 20 * (64 - 24) + 2 * 16 * 5,
      isLossy: true,
    });
  });

  it('takes the most precise of the uses of a weight, and what all of them can read', () => {
    const b = new GraphBuilder('uses');
    const ids = b.input('ids', 'int64', ['n']);
    const out = (name: string): void => void b.output(name, 'float32');
    // As a table and as a matrix.
    const tied = table(b, 16, 'tied');
    const user = b.op('Gather', [tied, ids]);
    out(b.op('Gemm', [user, tied], { transB: 1 }));
    // A lookup, and an operator that reads weights as they are.
    const added = table(b, 16, 'added');
    out(b.op('Gather', [added, ids]));
    out(b.op('Add', [b.input('x', 'float32', ['n', 20, 16]), added]));
    // Along columns: rows of codes are of no use.
    out(b.op('Gather', [table(b, 16, 'columns'), ids], { axis: 1 }));
    // Rows of codes would be larger than of halves.
    out(b.op('Gather', [table(b, 8, 'narrow'), ids]));
    // Of the result, not of a weight.
    out(b.op('Identity', [table(b, 16, 'result')]));
    const graph = b.build();
    expect(storedTypes(plan(graph, { tables: 'int8' }))).toEqual({ columns: 'f16', narrow: 'f16' });
    expect(storedTypes(plan(graph, INT8))).toEqual({ tied: 'f16', columns: 'f16', narrow: 'f16' });
    expect(storedTypes(plan(graph, { tables: 'int8', weights: 'float32' }))).toEqual({ columns: 'f16', narrow: 'f16' });
  });

  it('keeps values that a type cannot hold, and says so', () => {
    const b = new GraphBuilder('large');
    const ids = b.input('ids', 'int64', ['n']);
    const row = (...values: number[]) => floats([1, 12], [...values, ...Array.from({ length: 10 }, () => 0.3)]);
    for (const [name, value] of [
      ['large', 1e6],
      ['largest', 3e38],
      ['nan', Number.NaN],
    ] as const)
      b.output(b.op('Gather', [b.constant(name, row(0.1, value)), ids]), 'float32');
    const graph = b.build();
    expect(storedTypes(plan(graph, { tables: 'float16' }))).toEqual({ nan: 'f16' });
    expect(storedTypes(plan(graph, { tables: 'int8' }))).toEqual({ large: 'i8', nan: 'f16' });
    expect(plan(graph, { tables: 'int8' }).notices).toEqual([
      "weight 'largest' is stored in more bits than asked: these do not hold its values",
      "weight 'nan' is stored in more bits than asked: these do not hold its values",
    ]);
  });

  it('makes tables of more rows fit a binding', () => {
    const b = new GraphBuilder('cut');
    b.output(b.op('Gather', [table(b, 16), b.input('ids', 'int64', ['n'])]), 'float32');
    const parts = (tables: NonNullable<Precision['tables']>) => plan(b.build(), { tables }, 256).program.weights.length;
    // Rows of 64, 32 and 24 bytes.
    expect([parts('float32'), parts('float16'), parts('int8')]).toEqual([5, 3, 2]);
  });

  it('shows in the cost of steps', () => {
    const b = new GraphBuilder('cost');
    const looked = b.op('Gather', [table(b, 16), b.input('ids', 'int64', [10])]);
    b.output(b.op('MatMul', [looked, b.constant('w', new Random().floats([16, 3]))]), 'float32');
    const bytes = (precision: Precision) => plan(b.build(), precision).program.steps.map((s) => s.cost.bytes);
    const [written, ids] = [10 * 64, 10 * 8];
    expect(bytes({})).toEqual([written + 640 + ids, 640 + 192 + 120]);
    expect(bytes(HALF)).toEqual([written + 320 + ids, 640 + 96 + 120]);
    expect(bytes(INT8)).toEqual([written + 160 + 80 + ids, 640 + 96 + 120]);
  });
});

/** `graph` with its float32 constants as halves, cast to float32 where they are used. */
function halved(graph: Graph): Graph {
  const constants = new Map(graph.constants);
  const casts = [...graph.constants].flatMap(([name, tensor]) => {
    if (tensor.dtype !== 'float32') return [];
    constants.delete(name);
    constants.set(`${name}.half`, tensorOf('float16', tensor.dims, tensor.data as Float32Array));
    const cast = { name: `cast ${name}`, op: 'Cast', domain: '', opset: 17, attributes: { to: 1 } };
    return [{ ...cast, inputs: [`${name}.half`], outputs: [name] }];
  });
  return { ...graph, constants, nodes: [...casts, ...graph.nodes] };
}

describe('a half-precision model', () => {
  const engines = openBothEngines();
  const tables = ['e.0.weight', 'e.25.weight'];

  it('keeps halves that are cast to float32, without being asked', async () => {
    const graph = halved(await importOnnxFile(goldenPath('dlrm.onnx')));
    const { precision, program } = plan(graph);
    const stored = storedTypes(plan(graph));
    for (const name of tables) expect(stored[name]).toBe('f16');
    expect(precision).toMatchObject({ isLossy: false, int8: 0, savedBytes: precision.storedBytes });
    // All that kernels take as halves: what is left are biases and places.
    const rest = program.weights.filter((w) => !stored[w.value]).reduce((n, w) => n + w.tensor.data.length, 0);
    expect(rest).toBeLessThan(2000);
    const model = await engines[0]!.load(graph);
    expect(model.notices).toEqual(graph.notices);
    expect((await model.summary()).precision).not.toHaveProperty('accuracy');
    const random = new Random();
    const inputs = { dense: random.floats([7, 13]), sparse: random.tensor('int64', [7, 26], 0, 300) };
    expect(await graphProblems(model, graph, inputs)).toEqual([]);
    await model.dispose();
  });

  it('of float16 throughout keeps its weights as halves and computes in float32', async () => {
    const source = buildZoo('dlrm', 'tiny');
    const half = (dtype: Tensor['dtype']) => (dtype === 'float32' ? 'float16' : dtype);
    const graph: Graph = {
      ...source,
      inputs: source.inputs.map((i) => ({ ...i, dtype: half(i.dtype) })),
      constants: new Map(
        [...source.constants].map(([name, t]) => [
          name,
          t.dtype === 'float32' ? tensorOf('float16', t.dims, t.data as Float32Array) : t,
        ]),
      ),
    };
    const { precision } = plan(graph);
    expect(precision.isLossy).toBe(false);
    expect(precision.float16).toBeGreaterThan(25);
    const inputs = zooInputs('dlrm', 'tiny', 5, 1);
    inputs['dense'] = tensorOf('float16', inputs['dense']!.dims, inputs['dense']!.data as Float32Array);
    const model = await engines[0]!.load(graph);
    // Outputs are rounded to float16, whose steps are 2^-11 of a value.
    expect(await graphProblems(model, graph, inputs, 1e-3, 1e-3)).toEqual([]);
    await model.dispose();
  });
});
