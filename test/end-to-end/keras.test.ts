import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, type Graph, type Tensor } from '../../runtime/index.js';
import { exportOnnx, importOnnx } from '../../src/onnx/index.js';
import { graphProblems, Random } from '../support/cases.js';
import { openBackend } from '../support/device.js';

const ROWS = 5;
const [FLOAT, INT32, INT64, BOOL] = [1, 6, 7, 9];
const random = new Random();
const ids = (dims: number[], most: number, dtype: 'int32' | 'int64' | 'float32' = 'int32'): Tensor =>
  tensorOf(
    dtype,
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.int(0, most - 1)),
  );

interface Exported {
  readonly name: string;
  readonly opset: number;
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Adds nodes; returns the output. */
  build(b: Builder): string;
}

/** GraphBuilder with what exporters write over and over. */
class Builder extends GraphBuilder {
  #next = 0;

  list(...values: number[]): string {
    return this.constant(`const_fold_opt__${this.#next++}`, tensorOf('int64', [values.length], values));
  }

  int32(...values: number[]): string {
    return this.constant(`const__${this.#next++}`, tensorOf('int32', [values.length], values));
  }

  scalar(value: number, dtype: 'int32' | 'int64' | 'float32' = 'int64'): string {
    return this.constant(`zero__${this.#next++}`, tensorOf(dtype, [], [value]));
  }

  weight(...dims: number[]): string {
    return this.constant(`StatefulPartitionedCall/model/w${this.#next++}/ReadVariableOp:0`, random.floats(dims));
  }

  cast(x: string, to: number): string {
    return this.op('Cast', [x], { to });
  }

  dense(x: string, from: number, to: number): string {
    return this.op('Add', [this.op('MatMul', [x, this.weight(from, to)]), this.weight(to)]);
  }
}

/** tf2onnx's StridedSlice of one element of a shape: an int32, cast, sliced and squeezed. */
function sizeOf(b: Builder, x: string, axis: number): string {
  const shape = b.cast(b.op('Shape', [x]), INT32);
  return b.op('Squeeze', [b.op('Slice', [shape, b.list(axis), b.list(axis + 1), b.list(0)])], { axes: [0] });
}

/** A Dense layer on rank 3, which TensorFlow computes by Tensordot: every size of it by arithmetic on shapes. */
function tensordot(b: Builder, x: string, from: number, to: number, byFloat: boolean): string {
  const shape = b.cast(b.op('Shape', [x]), INT32);
  const free = b.op('Gather', [shape, b.int32(0, 1)], { axis: 0 });
  const axes = b.op('Gather', [shape, b.int32(2)], { axis: 0 });
  // ReduceProd of integers came late, so that older versions go by way of float.
  const product = (of: string): string =>
    byFloat
      ? b.cast(b.op('ReduceProd', [b.cast(of, FLOAT)], { axes: [0], keepdims: 0 }), INT32)
      : b.op('ReduceProd', [of], { axes: [0], keepdims: 0 });
  const pair = [free, axes].map((part) => b.op('Unsqueeze', [product(part)], { axes: [0] }));
  const flat = b.cast(b.op('Concat', pair, { axis: 0 }), INT64);
  const multiplied = b.op('MatMul', [
    b.op('Reshape', [b.op('Transpose', [x], { perm: [0, 1, 2] }), flat]),
    b.weight(from, to),
  ]);
  const back = b.cast(b.op('Concat', [free, b.int32(to)], { axis: 0 }), INT64);
  return b.op('Add', [b.op('Reshape', [multiplied, back]), b.weight(to)]);
}

const EXPORTS: readonly Exported[] = [
  {
    name: 'DeepFM by tf2onnx: float ids, squares of sums, Identity outputs',
    opset: 11,
    inputs: { user: ids([ROWS, 1], 9, 'float32'), item: ids([ROWS, 1], 7, 'float32'), dense: random.floats([ROWS, 3]) },
    build(b) {
      const [user, item, dense] = ['user', 'item', 'dense'] as const;
      const embeddings = [
        [user, 9],
        [item, 7],
      ].map(([name, size]) =>
        b.op('Gather', [b.weight(size as number, 4), b.cast(name as string, INT32)], { axis: 0 }),
      );
      const fields = b.op('Concat', embeddings, { axis: 1 });
      const sum = b.op('ReduceSum', [fields], { axes: [1], keepdims: 1 });
      const squares = b.op('ReduceSum', [b.op('Mul', [fields, fields])], { axes: [1], keepdims: 1 });
      const cross = b.op('Mul', [
        b.op('ReduceSum', [b.op('Sub', [b.op('Mul', [sum, sum]), squares])], { axes: [2], keepdims: 0 }),
        b.scalar(0.5, 'float32'),
      ]);
      const flat = b.op('Reshape', [fields, b.list(-1, 8)]);
      const deep = b.op('Relu', [b.dense(b.op('Concat', [flat, dense], { axis: -1 }), 11, 6)]);
      // Keras' BatchNormalization of a matrix, as arithmetic.
      const variance = b.op('Abs', [b.weight(6)]);
      const inverse = b.op('Reciprocal', [b.op('Sqrt', [b.op('Add', [variance, b.scalar(0.001, 'float32')])])]);
      const scale = b.op('Mul', [inverse, b.weight(6)]);
      const shift = b.op('Sub', [b.weight(6), b.op('Mul', [b.weight(6), scale])]);
      const normal = b.op('Add', [b.op('Mul', [deep, scale]), shift]);
      const logit = b.op('Add', [b.dense(normal, 6, 1), cross]);
      return b.op('Identity', [b.op('Sigmoid', [logit])]);
    },
  },
  {
    name: 'DIN by tf2onnx: Tensordot, tiled candidate, masked scores',
    opset: 9,
    inputs: { history: ids([ROWS, 6], 20), candidate: ids([ROWS, 1], 20) },
    build(b) {
      const table = b.weight(20, 4);
      const [history, candidate] = ['history', 'candidate'].map((n) => b.op('Gather', [table, n], { axis: 0 })) as [
        string,
        string,
      ];
      // A keras Lambda that tiles by the length of the history.
      const shape = b.op('Slice', [b.op('Shape', [history])], { starts: [1], ends: [2], axes: [0] });
      const repeats = b.op('Concat', [b.list(1), shape, b.list(1)], { axis: 0 });
      const query = b.op('Tile', [candidate, repeats]);
      const pair = b.op('Concat', [query, history, b.op('Sub', [query, history]), b.op('Mul', [query, history])], {
        axis: 2,
      });
      const scores = tensordot(b, b.op('Sigmoid', [tensordot(b, pair, 16, 5, true)]), 5, 1, true);
      const mask = b.op('Not', [b.op('Equal', ['history', b.scalar(0, 'int32')])]);
      const padded = b.op('Sub', [b.scalar(1, 'float32'), b.cast(mask, FLOAT)]);
      const turned = b.op('Transpose', [scores], { perm: [0, 2, 1] });
      const masked = b.op('Sub', [
        turned,
        b.op('Mul', [b.op('Unsqueeze', [padded], { axes: [1] }), b.scalar(1e9, 'float32')]),
      ]);
      // Softmax of rank 3 on the last axis: before opset 13, tf2onnx flattens around it.
      const pooled = b.op('MatMul', [b.op('Softmax', [masked], { axis: 2 }), history]);
      const interest = b.op('Squeeze', [pooled], { axes: [1] });
      const chosen = b.op('Squeeze', [candidate], { axes: [1] });
      return b.op('Identity', [b.op('Sigmoid', [b.dense(b.op('Concat', [interest, chosen], { axis: 1 }), 8, 1)])]);
    },
  },
  {
    name: 'BST by tf2onnx: positions by Range, attention heads by dynamic Reshape, masks by Where',
    opset: 12,
    inputs: { history: ids([ROWS, 6], 20, 'int64') },
    build(b) {
      const x0 = b.op('Gather', [b.weight(20, 8), 'history'], { axis: 0 });
      const length = sizeOf(b, 'history', 1);
      const positions = b.op('Range', [b.scalar(0, 'int32'), length, b.scalar(1, 'int32')]);
      const x = b.op('Add', [x0, b.op('Gather', [b.weight(6, 8), positions], { axis: 0 })]);
      const rows = sizeOf(b, x, 0);
      const pack = (...parts: string[]): string =>
        b.cast(
          b.op(
            'Concat',
            parts.map((p) => b.op('Unsqueeze', [p], { axes: [0] })),
            { axis: 0 },
          ),
          INT64,
        );
      const heads = (of: string): string => {
        const split = b.op('Reshape', [
          of,
          pack(rows, b.scalar(-1, 'int32'), b.scalar(2, 'int32'), b.scalar(4, 'int32')),
        ]);
        return b.op('Transpose', [split], { perm: [0, 2, 1, 3] });
      };
      const [q, k, v] = [0, 1, 2].map(() => heads(tensordot(b, x, 8, 8, true))) as [string, string, string];
      const depth = b.op('Sqrt', [b.cast(sizeOf(b, k, 3), FLOAT)]);
      const scores = b.op('Div', [b.op('MatMul', [q, b.op('Transpose', [k], { perm: [0, 1, 3, 2] })]), depth]);
      const known = b.op('Unsqueeze', [b.cast('history', BOOL)], { axes: [1, 2] });
      const masked = b.op('Where', [known, scores, b.scalar(-1e4, 'float32')]);
      const largest = b.op('ReduceMax', [masked], { axes: [-1], keepdims: 1 });
      const powers = b.op('Exp', [b.op('Sub', [masked, largest])]);
      const weights = b.op('Div', [powers, b.op('ReduceSum', [powers], { axes: [-1], keepdims: 1 })]);
      const joined = b.op('Transpose', [b.op('MatMul', [weights, v])], { perm: [0, 2, 1, 3] });
      const merged = b.op('Reshape', [joined, pack(rows, b.scalar(-1, 'int32'), b.scalar(8, 'int32'))]);
      const residual = b.op('Add', [x, tensordot(b, merged, 8, 8, false)]);
      const mean = b.op('ReduceMean', [residual], { axes: [-1], keepdims: 1 });
      const centred = b.op('Sub', [residual, mean]);
      const variance = b.op('ReduceMean', [b.op('Mul', [centred, centred])], { axes: [-1], keepdims: 1 });
      const inverse = b.op('Reciprocal', [b.op('Sqrt', [b.op('Add', [variance, b.scalar(1e-3, 'float32')])])]);
      const normal = b.op('Mul', [centred, inverse]);
      const pooled = b.op('ReduceMean', [b.op('LeakyRelu', [normal], { alpha: 0.2 })], { axes: [1], keepdims: 0 });
      return b.op('Identity', [b.dense(pooled, 8, 1)]);
    },
  },
  {
    name: 'text matching by tf2onnx: Conv1D between transposes, one-hot slots, expanded bias, folded ids',
    opset: 13,
    inputs: { words: ids([ROWS, 7], 30, 'int64'), slot: ids([ROWS], 3) },
    build(b) {
      // FloorMod: ids are hashed into the table.
      const hashed = b.op('Mod', ['words', b.scalar(11)]);
      const embedded = b.op('Gather', [b.weight(11, 4), hashed], { axis: 0 });
      const image = b.op('Unsqueeze', [embedded, b.list(1)]);
      const first = b.op('Transpose', [image], { perm: [0, 3, 1, 2] });
      const conv = b.op('Conv', [first, b.weight(5, 4, 1, 3), b.weight(5)], {
        pads: [0, 1, 0, 1],
        kernel_shape: [1, 3],
        strides: [1, 1],
        dilations: [1, 1],
        group: 1,
      });
      const last = b.op('Transpose', [conv], { perm: [0, 2, 3, 1] });
      const text = b.op('ReduceMax', [b.op('Relu', [b.op('Squeeze', [last, b.list(1)])])], { axes: [1], keepdims: 0 });
      const values = b.constant('on_off', tensorOf('float32', [2], [0, 1]));
      const slots = b.op('OneHot', ['slot', b.scalar(3), values], { axis: -1 });
      const bias = b.op('MatMul', [slots, b.weight(3, 5)]);
      const rows = b.op('Slice', [b.op('Shape', ['words']), b.list(0), b.list(1), b.list(0)]);
      const shape = b.op('Concat', [rows, b.list(5)], { axis: 0 });
      const zeros = b.op('Expand', [b.scalar(0.25, 'float32'), shape]);
      return b.op('Identity', [
        b.op('ReduceSum', [b.op('Mul', [b.op('Add', [text, zeros]), bias]), b.list(-1)], { keepdims: 1 }),
      ]);
    },
  },
  {
    name: 'GRU4Rec by keras2onnx: float ids, lengths of the mask, states squeezed',
    opset: 11,
    inputs: { history: ids([ROWS, 4], 12, 'float32') },
    build(b) {
      const table = b.weight(12, 3);
      const embedded = b.op('Identity', [b.op('Gather', [table, b.cast('history', INT32)], { axis: 0 })]);
      const present = b.cast(b.op('Not', [b.op('Equal', [b.cast('history', INT32), b.scalar(0, 'int32')])]), INT32);
      const lengths = b.op('ReduceSum', [present], { axes: [-1], keepdims: 0 });
      const steps = b.op('Transpose', [embedded], { perm: [1, 0, 2] });
      const rows = b.op('Slice', [b.op('Shape', ['history']), b.list(0), b.list(1)]);
      const zeros = b.op('ConstantOfShape', [b.op('Concat', [b.list(1), rows, b.list(4)], { axis: 0 })], {
        value: tensorOf('float32', [1], [0]),
      });
      const inputs = [steps, b.weight(1, 12, 3), b.weight(1, 12, 4), b.weight(1, 24), lengths, zeros];
      b.op(
        'GRU',
        inputs,
        {
          hidden_size: 4,
          direction: 'forward',
          activations: ['HardSigmoid', 'Tanh'],
          activation_alpha: [0.2],
          activation_beta: [0.5],
        },
        { outputs: ['Y', 'Y_h'], name: 'gru' },
      );
      const last = b.op('Squeeze', ['Y_h'], { axes: [0] });
      const all = b.op('Transpose', [b.op('Squeeze', ['Y'], { axes: [1] })], { perm: [1, 0, 2] });
      const pooled = b.op('ReduceMean', [all], { axes: [1], keepdims: 0 });
      return b.op('Gemm', [b.op('Concat', [last, pooled], { axis: 1 }), b.weight(8, 1), b.weight(1)]);
    },
  },
  {
    name: 'bidirectional LSTM by keras2onnx',
    opset: 7,
    inputs: { history: random.floats([ROWS, 3, 2]) },
    build(b) {
      const steps = b.op('Transpose', ['history'], { perm: [1, 0, 2] });
      const inputs = [steps, b.weight(2, 16, 2), b.weight(2, 16, 4), b.weight(2, 32)];
      const attributes = {
        hidden_size: 4,
        direction: 'bidirectional',
        activations: ['Sigmoid', 'Tanh', 'Tanh', 'Sigmoid', 'Tanh', 'Tanh'],
      };
      b.op('LSTM', inputs, attributes, { outputs: ['Y', 'Y_h'], name: 'lstm' });
      // [steps, directions, rows, hidden] to [rows, steps, directions * hidden].
      const turned = b.op('Transpose', ['Y'], { perm: [2, 0, 1, 3] });
      const all = b.op('Reshape', [turned, b.list(-1, 3, 8)]);
      const states = b.op('Reshape', [b.op('Transpose', ['Y_h'], { perm: [1, 0, 2] }), b.list(-1, 8)]);
      const first = b.op('Slice', [all], { axes: [1], starts: [0], ends: [1] });
      return b.dense(b.op('Add', [b.op('Squeeze', [first], { axes: [1] }), states]), 8, 1);
    },
  },
  {
    name: 'updates by ScatterND: features written into a row of defaults',
    opset: 11,
    inputs: { values: random.floats([ROWS, 2]) },
    build(b) {
      const rows = b.op('Gather', [b.op('Shape', ['values']), b.scalar(0)], { axis: 0 });
      const shape = b.op('Concat', [b.op('Unsqueeze', [rows], { axes: [0] }), b.list(4)], { axis: 0 });
      const defaults = b.op('Transpose', [b.op('Expand', [b.scalar(0.5, 'float32'), shape])], { perm: [1, 0] });
      const columns = b.constant('columns', tensorOf('int64', [2, 1], [3, 1]));
      const written = b.op('ScatterND', [defaults, columns, b.op('Transpose', ['values'], { perm: [1, 0] })]);
      return b.dense(b.op('Transpose', [written], { perm: [1, 0] }), 4, 1);
    },
  },
];

function graphOf({ name, opset, inputs, build }: Exported): Graph {
  const b = new Builder(name, opset);
  let unknown = 0;
  for (const [input, { dtype, dims }] of Object.entries(inputs))
    b.input(input, dtype, [`unk__${100 + unknown++}`, ...dims.slice(1)]);
  b.output(build(b), 'float32');
  return b.build();
}

/**
 * tf2onnx and keras2onnx are no part of the tests; these graphs are what they write for models of the field, by hand, in
 * the operators and the opsets that they use.
 */
describe('models as Keras exporters write them', () => {
  let engine: GraphEngine;

  beforeAll(async () => {
    engine = new GraphEngine(await openBackend({ arenaBytes: 2 ** 24 }));
  });
  afterAll(() => engine.close());

  it.each(EXPORTS)('$name', async (exported) => {
    const graph = importOnnx(exportOnnx(graphOf(exported)));
    const model = await engine.load(graph);
    expect(await graphProblems(model, graph, exported.inputs)).toEqual([]);
    expect((await model.summary()).rowsMixedBy).toBeUndefined();
    await model.dispose();
  });
});
