import type { DeviceCaps } from '../../runtime/compile/kernel.js';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, evaluateGraph, GraphEngine, toFloat64, type Precision, type Tensor } from '../../runtime/index.js';
import { readSafetensors } from '../../src/io/index.js';
import { importOnnxFile } from '../../src/onnx/index.js';
import { openBackend } from '../support/device.js';
import { GOLDEN_MODELS, goldenPath } from '../support/golden.js';
import { asStored } from '../support/precision.js';
import { runCommand } from '../support/built.js';

/** How far outputs, which are probabilities, may be from PyTorch's: halves round to 2^-12 of a value, codes to 2^-9 of a row's range. */
const SETTINGS: readonly (readonly [Precision, number])[] = [
  [{ tables: 'float16' }, 2e-3],
  [{ weights: 'float16' }, 1e-3],
  [{ tables: 'int8' }, 5e-3],
  [{ tables: 'int8', weights: 'float16' }, 5e-3],
];

async function recorded(file: string, prefix: string): Promise<Record<string, Tensor>> {
  const tensors = readSafetensors(await readFile(goldenPath(file)), file);
  return Object.fromEntries(
    [...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), t]),
  );
}

describe.each(GOLDEN_MODELS)('%s exported by PyTorch', (name) => {
  let engine: GraphEngine;
  let caps: DeviceCaps;

  beforeAll(async () => {
    const backend = await openBackend({ arenaBytes: 2 ** 26 });
    engine = new GraphEngine(backend);
    ({ caps } = backend);
  });
  afterAll(() => engine.close());

  it('stays near what PyTorch computes, whatever its weights are stored as, and says how near', async () => {
    const graph = await importOnnxFile(goldenPath(`${name}.onnx`));
    const inputs = await recorded(`${name}.b64.safetensors`, 'in.');
    const expected = toFloat64((await recorded(`${name}.b64.safetensors`, 'out.'))['out']!);
    const full = await engine.load(graph);
    const { weightBytes } = (await full.summary()).memory;
    await full.dispose();
    for (const [precision, tolerance] of SETTINGS) {
      const model = await engine.load(graph, { precision });
      const found = toFloat64((await model.run(inputs))['out']!);
      const worst = Math.max(...found.map((v, i) => Math.abs(v - expected[i]!)));
      expect(worst, JSON.stringify(precision)).toBeLessThan(tolerance);
      // DIN's first layer is split, Wide&Deep's sums are joined before they are rounded, which the reference does not do.
      const stored = asStored(graph, compile(graph, { maxBindingBytes: 2 ** 27, precision, caps }));
      const reference = evaluateGraph(stored, new Map(Object.entries(inputs))).get('out')!.data;
      const changed: Readonly<Record<string, number>> = precision.weights ? { din: 1e-3, wnd: 1e-4 } : {};
      const near = changed[name] ?? 2e-5;
      expect(Math.max(...found.map((v, i) => Math.abs(v - reference[i]!))), JSON.stringify(precision)).toBeLessThan(
        near,
      );
      // Something was rounded.
      expect(worst, JSON.stringify(precision)).toBeGreaterThan(1e-7);
      const { memory, precision: summary } = await model.summary();
      const { accuracy } = summary;
      if (!accuracy || 'notMeasured' in accuracy) throw new Error(`not measured: ${JSON.stringify(accuracy)}`);
      // Other rows than those recorded, of the same kind.
      expect(accuracy.outputs[0]!.maxAbsolute).toBeLessThan(tolerance);
      expect(accuracy.outputs[0]!.maxAbsolute).toBeGreaterThan(worst / 20);
      // Buffers are made of regions of 256 bytes.
      expect(weightBytes - memory.weightBytes).toBeGreaterThan(
        summary.savedBytes - 256 * (summary.float16 + summary.int8),
      );
      await model.dispose();
    }
  });
});

describe('the command line', () => {
  it('checks a model with its weights in fewer bits', async () => {
    const check = (atol: string) => {
      const files = [goldenPath('din.onnx'), goldenPath('din.b7.safetensors')];
      return runCommand(['check', ...files, '--tables', 'int8', '--weights', 'float16', '--rtol', '0', '--atol', atol]);
    };
    expect(await check('5e-3')).toMatchObject({ code: 0, stdout: expect.stringContaining('passed at rtol 0') });
    expect(await check('1e-7')).toMatchObject({ code: 1 });
  });

  it('shows what it cost', async () => {
    const { code, stdout } = await runCommand(['inspect', 'zoo:wnd:tiny', '--tables', 'float16']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/\nstored +\d+ as float16; .* less than as float32\n/);
    expect(stdout).toMatch(
      /notices\n {2}weights stored in fewer bits: \d+ as float16; 'out' differs from that of float32 by at most \S+ \(relative \S+\) on 64 random rows\n/,
    );
  });
});
