import { fromBinary } from '@bufbuild/protobuf';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { ModelProtoSchema } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { BraidError } from '../../../runtime/errors.js';
import { OPSET_RANGE, exportOnnx, importOnnx, importOnnxFile } from '../../../src/onnx/index.js';
import { sharedFolder, whyAbsent } from '../../support/shared.js';
import { comparable } from './models.js';

const nodeTests = sharedFolder('onnx-node');
const real = sharedFolder('real');

const models = (): [name: string, bytes: Uint8Array][] =>
  readdirSync(nodeTests!, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => [entry.name, readFileSync(path.join(nodeTests!, entry.name, 'model.onnx'))]);

/** What the importer has to say about a model, found apart from it: its opset, or a type that its values have or lack. */
function refusal(bytes: Uint8Array): RegExp | undefined {
  const { graph, opsetImport } = fromBinary(ModelProtoSchema, bytes);
  const opset = Number(opsetImport.find(({ domain }) => domain === '')!.version);
  if (opset < OPSET_RANGE.min || opset > OPSET_RANGE.max) return new RegExp(`opset ${opset} of the ONNX domain`);
  for (const { name, type } of [...graph!.input, ...graph!.output]) {
    if (type!.value.case !== 'tensorType') return new RegExp(`'${name}' is of`);
    // 1 to 7, 9 to 13 and 16 are the types of DataType; the rest are strings, complex, and 8 bits or fewer.
    const { elemType } = type!.value.value;
    if (elemType === 8 || (elemType > 13 && elemType !== 16)) return new RegExp(`'${name}' has element type`);
  }
  return undefined;
}

const typesOf = (bytes: Uint8Array) =>
  fromBinary(ModelProtoSchema, bytes)
    .graph!.node.filter((node) => node.opType !== 'Constant')
    .map((node) => node.attribute.map(({ name, type }) => `${node.opType}.${name}: ${type}`));

describe(`ONNX's node tests${whyAbsent('onnx-node')}`, () => {
  it.skipIf(!nodeTests)('import, or are refused for their opset or types', () => {
    let imported = 0;
    let refused = 0;
    for (const [name, bytes] of models()) {
      const reason = refusal(bytes);
      try {
        const graph = importOnnx(bytes, { name });
        expect([name, reason]).toEqual([name, undefined]);
        expect(graph.nodes.length + graph.constants.size).toBeGreaterThan(0);
        imported++;
      } catch (error) {
        if (!(error instanceof BraidError)) throw error;
        expect([name, error.code, error.message]).toEqual([name, 'MODEL_UNSUPPORTED', expect.stringMatching(reason!)]);
        refused++;
      }
    }
    expect(imported).toBeGreaterThan(400);
    expect(imported + refused).toBe(models().length);
    console.log(`onnx-node: ${imported} models import, ${refused} are refused`);
  });

  it.skipIf(!nodeTests)('come back the same from an export', () => {
    for (const [name, bytes] of models()) {
      if (refusal(bytes)) continue;
      const graph = importOnnx(bytes, { name });
      const again = importOnnx(exportOnnx(graph), { name });
      expect(comparable({ ...again, notices: [] })).toEqual(comparable({ ...graph, notices: [] }));
    }
  });

  it.skipIf(!nodeTests)('keep the attribute types that they had', () => {
    for (const [name, bytes] of models()) {
      if (refusal(bytes)) continue;
      expect([name, typesOf(exportOnnx(importOnnx(bytes)))]).toEqual([name, typesOf(bytes)]);
    }
  });
});

describe(`a recommendation model of IR 3${whyAbsent('real')}`, () => {
  it.skipIf(!real)('imports with its weights as constants and only its two inputs', async () => {
    const graph = await importOnnxFile(path.join(real!, 'ncf', 'ncf.onnx'));
    expect(graph.inputs).toEqual([
      { name: 'user_input_0', dtype: 'int64', shape: [1, 1] },
      { name: 'item_input_0', dtype: 'int64', shape: [1, 1] },
    ]);
    expect(graph.constants.get('W1')!.dims).toEqual([6040, 8]);
    expect(graph.nodes).toHaveLength(39);
    expect(new Set(graph.nodes.map((node) => node.opset))).toEqual(new Set([7]));
  });
});
