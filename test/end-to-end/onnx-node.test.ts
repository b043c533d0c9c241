import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missingOperators } from '../../runtime/compile/analyze.js';
import { castTensor, GraphEngine, toFloat64, type Graph, type Tensor } from '../../runtime/index.js';
import { readTensorPb } from '../../src/io/index.js';
import { importOnnx } from '../../src/onnx/index.js';
import { difference } from '../support/cases.js';
import { openBackend } from '../support/device.js';
import { sharedFolder, whyAbsent } from '../support/shared.js';

const folder = sharedFolder('onnx-node');

/** Folders whose operators Braid has, that fail all the same, and why. A folder that starts to pass has to leave. */
const FAILING: Readonly<Record<string, string>> = {
  test_nonzero_example: 'the size of the result would depend on it',
};

/** A model that Braid imports and whose operators it has, or undefined. */
function supported(name: string): Graph | undefined {
  try {
    const graph = importOnnx(readFileSync(path.join(folder!, name, 'model.onnx')), { name });
    return missingOperators(graph).length === 0 ? graph : undefined;
  } catch {
    // What the importer refuses, and why, is the matter of test/src/onnx.
    return undefined;
  }
}

/** The tensors of a data set in order. */
function tensors(dir: string, kind: 'input' | 'output'): Tensor[] {
  const files = readdirSync(dir).filter((f) => f.startsWith(`${kind}_`));
  return files.map((_, i) => {
    const file = path.join(dir, `${kind}_${i}.pb`);
    return readTensorPb(readFileSync(file), file).tensor;
  });
}

/**
 * Operands that say what an operator does rather than hold what it works on. Models of the field have them as constants,
 * and Braid wants them known at load; node tests hand them in as inputs.
 */
function parametersOf(graph: Graph): Set<string> {
  const parameters = graph.nodes.flatMap(({ op, inputs }) => {
    if (op.startsWith('Reduce') || SECOND.has(op)) return inputs.slice(1, 2);
    if (op === 'Slice' || op === 'Clip' || op === 'Pad') return inputs.slice(1);
    if (op === 'ConstantOfShape' || op === 'Range') return inputs;
    // Range written as a Loop: what gives the trip count.
    return op === 'Loop' ? ['start', 'limit', 'delta'] : [];
  });
  return new Set(parameters);
}

const SECOND = new Set('Reshape Expand Split Squeeze Unsqueeze CumSum CumProd OneHot Tile TopK'.split(' '));

/** What goes wrong in a folder, or undefined. */
async function problemOf(engine: GraphEngine, name: string, declared: Graph): Promise<string | undefined> {
  const parameters = parametersOf(declared);
  try {
    const sets = readdirSync(path.join(folder!, name)).filter((f) => f.startsWith('test_data_set_'));
    for (const set of sets) {
      const tensorsOf = tensors(path.join(folder!, name, set), 'input');
      const given = new Map(declared.inputs.map((info, i) => [info.name, tensorsOf[i]!]));
      const fixed = declared.inputs
        .filter((i) => parameters.has(i.name))
        .map((i) => [i.name, given.get(i.name)!] as const);
      const graph: Graph = {
        ...declared,
        inputs: declared.inputs.filter((i) => !parameters.has(i.name)),
        constants: new Map([...declared.constants, ...fixed]),
      };
      const model = await engine.load(graph);
      try {
        // float64 is narrowed on import; the tensors follow.
        const inputs = model.inputs.map((spec) => [spec.name, castTensor(given.get(spec.name)!, spec.dtype)] as const);
        const found = await model.run(Object.fromEntries(inputs));
        for (const [i, expected] of tensors(path.join(folder!, name, set), 'output').entries()) {
          const output = found[declared.outputs[i]!.name];
          if (!output) continue;
          const dtype = expected.dtype === 'float64' ? output.dtype : expected.dtype;
          const problem = difference(output, { dtype, dims: expected.dims, data: toFloat64(expected) }, 1e-3, 1e-5);
          if (problem) return problem;
        }
      } finally {
        await model.dispose();
      }
    }
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

describe(`ONNX's node tests on the device${whyAbsent('onnx-node')}`, () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    if (folder) engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine?.close());

  it.skipIf(!folder)('pass where Braid has their operators, but for those listed', { timeout: 120_000 }, async () => {
    const all = readdirSync(folder!, { withFileTypes: true }).filter((e) => e.isDirectory());
    const failed: Record<string, string> = {};
    let count = 0;
    for (const { name } of all) {
      const graph = supported(name);
      if (!graph) continue;
      count++;
      const problem = await problemOf(engine, name, graph);
      if (problem !== undefined) failed[name] = problem;
    }
    const passed = count - Object.keys(failed).length;
    console.log(`onnx-node: ${passed} folders pass of ${count} with operators that Braid has, of ${all.length} in all`);
    const listed = Object.entries(FAILING).map(([name, reason]) => [name, expect.stringContaining(reason)]);
    expect(failed).toEqual(Object.fromEntries(listed));
    // A selection that goes missing must not pass for one that passes.
    expect(count).toBeGreaterThan(500);
  });
});
