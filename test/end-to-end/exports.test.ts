import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateGraph, GraphEngine, tensorOf, toFloat64, type Tensor } from '../../runtime/index.js';
import { readSafetensors } from '../../src/io/index.js';
import { importOnnxFile } from '../../src/onnx/index.js';
import { difference } from '../support/cases.js';
import { openBackend } from '../support/device.js';

const FOLDER = new URL('../fixtures/exports/', import.meta.url);
const NAMES = readdirSync(FOLDER).flatMap((f) => (f.endsWith('.onnx') ? [f.replace('.onnx', '')] : []));

/** Bags between offsets: where one starts, those of all queries together do not say. */
const RAGGED = /^bag_(sum|mean|max|weighted)\./;

function split(tensors: ReadonlyMap<string, Tensor>, prefix: string): Record<string, Tensor> {
  return Object.fromEntries(
    [...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), t]),
  );
}

/** Row `row` of each tensor. */
function rowOf(tensors: Record<string, Tensor>, row: number): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => {
      const width = t.data.length / t.dims[0]!;
      const values = toFloat64(t).slice(row * width, (row + 1) * width);
      return [name, tensorOf(t.dtype, [1, ...t.dims.slice(1)], values)];
    }),
  );
}

/** Models by bench/exports/export.py, written by both of PyTorch's exporters, beside what PyTorch computed. */
describe('models exported by PyTorch', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  it.each(NAMES)('%s gives what PyTorch gave', async (name) => {
    const graph = await importOnnxFile(new URL(`${name}.onnx`, FOLDER).pathname);
    const file = `${name}.safetensors`;
    const tensors = readSafetensors(await readFile(new URL(file, FOLDER)), file);
    const inputs = split(tensors, 'in.');
    const reference = evaluateGraph(graph, new Map(Object.entries(inputs)));
    const model = await engine.load(graph);
    const found = await model.run(inputs);
    for (const [output, expected] of Object.entries(split(tensors, 'out.'))) {
      expect(difference(found[output]!, { ...expected, data: toFloat64(expected) })).toBeUndefined();
      expect(difference(found[output]!, reference.get(output)!)).toBeUndefined();
    }
    const { rowsMixedBy, plan } = await model.summary();
    if (RAGGED.test(name)) expect(rowsMixedBy).toMatch(/EmbeddingBag/);
    else {
      expect(rowsMixedBy).toBeUndefined();
      // Queries of a row each, all at once: those that share a wave get what each gets alone.
      const rows = Object.values(inputs)[0]!.dims[0]!;
      const alone = await Promise.all(Array.from({ length: 3 * rows }, (_, i) => model.run(rowOf(inputs, i % rows))));
      alone.forEach((one, i) => {
        for (const [output, expected] of Object.entries(rowOf(split(tensors, 'out.'), i % rows)))
          expect(difference(one[output]!, { ...expected, data: toFloat64(expected) })).toBeUndefined();
      });
    }
    // One operator a bag, whatever loop the exporter made of it; a bag of one index is a lookup.
    if (name.startsWith('bag_')) expect(plan.some((step) => step.startsWith('EmbeddingBag'))).toBe(true);
    await model.dispose();
  });
});
