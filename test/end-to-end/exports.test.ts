import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  evaluateGraph,
  GraphEngine,
  tensorOf,
  toFloat64,
  type Graph,
  type Node,
  type Tensor,
} from '../../runtime/index.js';
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

  async function fixture(name: string): Promise<{ graph: Graph; inputs: Record<string, Tensor>; expected: Tensor }> {
    const graph = await importOnnxFile(new URL(`${name}.onnx`, FOLDER).pathname);
    const tensors = readSafetensors(await readFile(new URL(`${name}.safetensors`, FOLDER)), name);
    return { graph, inputs: split(tensors, 'in.'), expected: tensors.get('out.out')! };
  }

  async function check(graph: Graph, inputs: Record<string, Tensor>, expected: Tensor): Promise<void> {
    const model = await engine.load(graph);
    expect((await model.summary()).plan.some((step) => step.startsWith('EmbeddingBag'))).toBe(true);
    const { out } = await model.run(inputs);
    expect(difference(out!, { ...expected, data: toFloat64(expected) })).toBeUndefined();
    await model.dispose();
  }

  it('are bags whatever order loops carry their values in', async () => {
    const { graph, inputs, expected } = await fixture('bag_matrix.dynamo');
    // The exporter's order is that of a set of names, another in another process.
    await check(swapCarried(graph), inputs, expected);
  });

  it('are bags where the last offset ends the last bag, so that there may be none', async () => {
    const { graph, inputs, expected } = await fixture('bag_sum.dynamo');
    const nodes = graph.nodes.flatMap((node) => {
      if (node.outputs[0] === 'offsets_7') return [{ ...node, op: 'Identity', inputs: ['offsets'], attributes: {} }];
      if (node.outputs[0] !== 'num_bag') return [node];
      const less: Node = { ...node, op: 'Sub', name: 'bags', inputs: ['sizes', 'one'], outputs: ['num_bag'] };
      return [{ ...node, outputs: ['sizes'] }, less];
    });
    const constants = new Map([...graph.constants, ['one', tensorOf('int64', [], [1])] as const]);
    const offsets = [...toFloat64(inputs['offsets']!), inputs['values']!.dims[0]!];
    const closed = { ...inputs, offsets: tensorOf('int64', [offsets.length], offsets) };
    await check({ ...graph, nodes, constants }, closed, expected);
  });
});

/** The graph with the two values that each of its loops carries in the other order. */
function swapCarried(graph: Graph): Graph {
  const swapped = <T>(list: readonly T[], first: number): T[] =>
    list.length === first + 2 ? [...list.slice(0, first), list[first + 1]!, list[first]!] : [...list];
  const nodes = graph.nodes.map((node): Node => {
    const attributes = Object.fromEntries(
      Object.entries(node.attributes).map(([name, value]) => {
        if (typeof value !== 'object' || !('nodes' in value)) return [name, value];
        const body = swapCarried(value);
        const carried = { inputs: swapped(body.inputs, 2), outputs: swapped(body.outputs, 1) };
        return [name, node.op === 'Loop' ? { ...body, ...carried } : body];
      }),
    );
    if (node.op !== 'Loop') return { ...node, attributes };
    return { ...node, attributes, inputs: swapped(node.inputs, 2), outputs: swapped(node.outputs, 0) };
  });
  return { ...graph, nodes };
}
