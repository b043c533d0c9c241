import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, type Graph } from '../../../runtime/index.js';
import { importOnnxFile } from '../../../src/onnx/index.js';
import { buildZoo, zooInputs } from '../../../src/zoo/index.js';
import { SOFTWARE_CAPS } from '../../support/caps.js';
import { graphProblems, Random, SEED } from '../../support/cases.js';
import { openBothEngines } from '../../support/engines.js';
import { goldenPath } from '../../support/golden.js';
import { perceptron, PERCEPTRON_FORMS as FORMS } from '../../support/perceptrons.js';

const kernels = (graph: Graph): string[] =>
  compile(graph, { maxBindingBytes: 2 ** 27 }).program.steps.map((s) => s.kernel);

describe('layers that follow each other', () => {
  const engines = openBothEngines();

  it.each(FORMS)('are one kernel, but for what is before a normalization: $title', (form) => {
    const found = kernels(perceptron(form));
    expect(found).toHaveLength(form.ends.includes('norm') ? form.widths.length : 1);
    expect(found.at(-1)).toMatch(/^Perceptron/);
  });

  it.each(FORMS)(`give what the reference gives: $title (seed ${SEED})`, async (form) => {
    const random = new Random();
    const graph = perceptron(form);
    const model = await engines[1]!.load(graph);
    // The last is enough for workgroups of many rows.
    for (const n of [1, 6, form.title === 'feed-forward layers of a block' ? 820 : 70]) {
      const inputs = Object.fromEntries(
        graph.inputs.map(({ name, shape }) => [name, random.floats([n, ...(shape!.slice(1) as number[])])]),
      );
      expect(await graphProblems(model, graph, inputs)).toEqual([]);
    }
    await model.dispose();
  });

  it.each(['wnd', 'din', 'dlrm', 'bst'])('are found in %s, built and exported', async (name) => {
    for (const graph of [
      buildZoo(name, 'tiny'),
      buildZoo(name, 'demo'),
      await importOnnxFile(goldenPath(`${name}.onnx`)),
    ]) {
      const found = kernels(graph);
      expect(found.filter((k) => k.startsWith('Perceptron')).length).toBeGreaterThanOrEqual(name === 'bst' ? 3 : 1);
      expect(found).not.toContain('LayerNormalization');
    }
  });

  it.each(['wnd', 'dlrm', 'bst'])('leave %s what it was', async (name) => {
    const graph = buildZoo(name, 'tiny');
    const model = await engines[1]!.load(graph);
    expect(await graphProblems(model, graph, zooInputs(name, 'tiny', 9, 1))).toEqual([]);
    await model.dispose();
  });

  it('are left alone where a value between them is read elsewhere, weights are many, or data', () => {
    const b = new GraphBuilder('left');
    const random = new Random();
    const x = b.input('x', 'float32', ['n', 8]);
    const layer = (value: string, k: number, n: number, name: string): string =>
      b.op('MatMul', [value, b.constant(name, random.floats([k, n]))]);
    const hidden = b.op('Relu', [layer(x, 8, 4, 'a')]);
    b.output(hidden, 'float32');
    b.output(layer(hidden, 4, 2, 'b'), 'float32');
    b.output(b.op('MatMul', [layer(x, 8, 3, 'c'), b.input('w', 'float32', [3, 2])]), 'float32');
    b.output(layer(layer(x, 8, 600, 'd'), 600, 2, 'e'), 'float32');
    expect(kernels(b.build()).filter((k) => k.startsWith('Perceptron'))).toEqual([]);
  });

  it('are products of their own on a software adapter', () => {
    const { program } = compile(perceptron(FORMS[0]!), { maxBindingBytes: 2 ** 27, caps: SOFTWARE_CAPS });
    expect(program.steps).toHaveLength(2);
  });
});
