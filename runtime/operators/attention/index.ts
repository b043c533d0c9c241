import { compare, divideExact, mul, sub, type Dim } from '../../graph/dim.js';
import type { DataType } from '../../graph/dtype.js';
import type { Composite, Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';

/** A row whose greatest bias is below this, the least finite number or near it, has every key masked. */
const masked = (dtype: DataType): number => (dtype === 'float16' ? -65_504 : -3e38);

/** [batch, sequence, heads * size] as [batch, heads, sequence, size]; values of rank 4 are that already. */
function heads(context: NodeContext, scope: Scope, index: number, attribute: string): string {
  const value = context.node.inputs[index]!;
  const { shape } = context.input(index);
  if (shape.length === 4) return value;
  if (shape.length !== 3) throw context.invalid(`input ${index} of rank ${shape.length}, expected 3 or 4`);
  const count = context.attributes.requiredNumber(attribute);
  const size = divideExact(shape[2]!, count);
  if (size === undefined) throw context.invalid(`dimension ${shape[2]} does not divide into ${count} heads`);
  return scope.transpose(scope.reshape(value, [shape[0]!, shape[1]!, count, size]), [0, 2, 1, 3]);
}

/** Positions 0, 1, .. `length` as a column or a row of a matrix. */
function positions(scope: Scope, length: Dim, axis: 0 | 1): string {
  const range = scope.add('Range', [scope.int(0), scope.int(length), scope.int(1)]);
  return scope.add('Unsqueeze', [range, scope.ints(axis === 0 ? 1 : 0)]);
}

/** What is added to the scores of [query, key]: the mask, -inf above the diagonal and behind the last key. */
function biasOf(context: NodeContext, scope: Scope, queries: Dim, keys: Dim, past: Dim): string | undefined {
  const { dtype } = context.input(0);
  const [zero, never] = [scope.scalar(dtype, 0), scope.scalar(dtype, -Infinity)];
  const mask = context.optional(3);
  const lengths = context.optional(6) && scope.reshape(context.node.inputs[6]!, [context.input(6).shape[0]!, 1, 1, 1]);
  let bias: string | undefined;
  if (mask) {
    bias = context.node.inputs[3]!;
    if (mask.dtype === 'bool') bias = scope.add('Where', [bias, zero, never]);
    // A mask may end before the keys do: what it does not speak of is masked.
    const last = mask.shape.at(-1)!;
    if (last !== 1 && compare(last, keys) === -1) {
      const before = mask.shape.map(() => 0);
      const after = [...before.slice(1), sub(keys, last)];
      bias = scope.add('Pad', [bias, scope.ints(...before, ...after), never]);
    }
  }
  const allow = (allowed: string): string => scope.add('Where', [allowed, bias ?? zero, never]);
  if (context.attributes.number('is_causal', 0) !== 0) {
    const row = positions(scope, queries, 0);
    // Queries follow the keys of the past; with the lengths of the keys given, they are the last of them.
    const first = lengths ? scope.add('Sub', [lengths, scope.int(queries)]) : scope.int(past);
    const until = scope.add('Add', [row, first]);
    bias = allow(scope.add('LessOrEqual', [positions(scope, keys, 1), until]));
  }
  if (lengths) bias = allow(scope.add('Less', [positions(scope, keys, 1), lengths]));
  return bias;
}

/**
 * Attention(Q, K, V, attn_mask, past_key, past_value): scaled dot products of queries and keys, masked, and the values
 * they pick. Heads of queries that share keys are a batch dimension of their own, so that no key is repeated.
 */
const ATTENTION: Composite = {
  type: 'Attention',
  types: ['f32'],
  opsets: [23, 27],
  expand(context, scope) {
    const { attributes } = context;
    const query = heads(context, scope, 0, 'q_num_heads');
    const joined = (index: number, pastIndex: number): string => {
      const now = heads(context, scope, index, 'kv_num_heads');
      const past = context.optional(pastIndex) ? context.node.inputs[pastIndex]! : undefined;
      return past === undefined ? now : scope.add('Concat', [past, now], { axis: 2 });
    };
    const [key, value] = [joined(1, 4), joined(2, 5)];
    scope.output(1, key);
    scope.output(2, value);

    const [batch, queryHeads, queries, size] = scope.shape(query) as [Dim, Dim, Dim, Dim];
    const [, keyHeads, keys] = scope.shape(key) as [Dim, Dim, Dim, Dim];
    const valueSize = scope.shape(value)[3]!;
    const group = divideExact(queryHeads, keyHeads);
    if (group === undefined) throw context.invalid(`${queryHeads} heads of queries for ${keyHeads} of keys`);
    const grouped = (v: string): string =>
      group === 1 ? v : scope.reshape(v, [batch, keyHeads, group, ...scope.shape(v).slice(2)]);
    const single = (v: string): string => (group === 1 ? v : scope.add('Unsqueeze', [v, scope.ints(2)]));
    const ungrouped = (v: string, last: Dim): string =>
      group === 1 ? v : scope.reshape(v, [batch, queryHeads, queries, last]);

    const { dtype } = context.input(0);
    if (!attributes.has('scale') && typeof size !== 'number')
      throw context.unsupported(`the scale follows from head size ${size}, which is no constant`);
    const scale = attributes.number('scale', 1 / Math.sqrt(size as number));
    const scaled = scope.add('Mul', [query, scope.scalar(dtype, scale)]);
    const transposed = scope.transpose(key, [0, 1, 3, 2]);
    let scores = ungrouped(scope.add('MatMul', [grouped(scaled), single(transposed)]), keys);

    const mode = attributes.number('qk_matmul_output_mode', 0);
    const report = (stage: number): void => {
      if (mode === stage) scope.output(3, scores);
    };
    report(0);
    const softcap = attributes.number('softcap', 0);
    if (softcap > 0) {
      const cap = scope.scalar(dtype, softcap);
      scores = scope.add('Mul', [scope.add('Tanh', [scope.add('Div', [scores, cap])]), cap]);
    }
    report(1);
    const past = context.optional(4)?.shape[2] ?? 0;
    const bias = biasOf(context, scope, queries, keys, past);
    if (bias !== undefined) scores = scope.add('Add', [scores, bias]);
    report(2);
    scores = scope.add('Softmax', [scores], { axis: -1 });
    if (bias !== undefined && (context.optional(3) || context.optional(6))) {
      // A query that may see no key at all sees nothing.
      const greatest = scope.add('ReduceMax', [bias], { axes: [-1], keepdims: 1 });
      const blind = scope.add('Less', [greatest, scope.scalar(dtype, masked(dtype))]);
      scores = scope.add('Where', [blind, scope.scalar(dtype, 0), scores]);
    }
    report(3);
    const result = ungrouped(scope.add('MatMul', [grouped(scores), single(value)]), valueSize);
    const flat = context.input(0).shape.length === 3;
    scope.output(
      0,
      flat
        ? scope.reshape(scope.transpose(result, [0, 2, 1, 3]), [batch, queries, mul(queryHeads, valueSize)])
        : result,
    );
  },
};

/** RotaryEmbedding(X, cos_cache, sin_cache, position_ids): pairs of features turned by the angle of their position. */
const ROTARY_EMBEDDING: Composite = {
  type: 'RotaryEmbedding',
  types: ['f32'],
  opsets: [23, 27],
  expand(context, scope) {
    const { attributes } = context;
    const { shape } = context.input(0);
    const flat = shape.length === 3;
    const x = flat ? heads(context, scope, 0, 'num_heads') : context.node.inputs[0]!;
    const [, , length, size] = scope.shape(x) as [Dim, Dim, Dim, Dim];
    const declared = attributes.number('rotary_embedding_dim', 0);
    const turned: Dim = declared === 0 ? size : declared;
    const half = divideExact(turned, 2);
    if (half === undefined) throw context.invalid(`${turned} features do not pair`);
    const cache = (index: number): string => {
      const table = context.node.inputs[index]!;
      const angles = context.optional(3) ? scope.add('Gather', [table, context.node.inputs[3]!], { axis: 0 }) : table;
      return scope.add('Unsqueeze', [angles, scope.ints(1)]);
    };
    const [cos, sin] = [cache(1), cache(2)];
    const slice = (from: Dim, to: Dim, step: number): string =>
      scope.add('Slice', [x, scope.ints(from), scope.ints(to), scope.ints(3), scope.ints(step)]);
    const interleaved = attributes.number('interleaved', 0) !== 0;
    const first = interleaved ? slice(0, turned, 2) : slice(0, half, 1);
    const second = interleaved ? slice(1, turned, 2) : slice(half, turned, 1);
    const times = (a: string, b: string): string => scope.add('Mul', [a, b]);
    let parts = [
      scope.add('Sub', [times(first, cos), times(second, sin)]),
      scope.add('Add', [times(first, sin), times(second, cos)]),
    ];
    if (interleaved) {
      const pairs = parts.map((part) => scope.add('Unsqueeze', [part, scope.ints(4)]));
      const woven = scope.add('Concat', pairs, { axis: 4 });
      parts = [scope.reshape(woven, [...scope.shape(x).slice(0, 3), turned])];
    }
    if (declared !== 0) parts.push(slice(turned, size, 1));
    const result = parts.length === 1 ? parts[0]! : scope.add('Concat', parts, { axis: 3 });
    scope.output(
      0,
      flat ? scope.reshape(scope.transpose(result, [0, 2, 1, 3]), [shape[0]!, length, shape[2]!]) : result,
    );
  },
};

export const ATTENTION_OPERATORS: readonly Composite[] = [ATTENTION, ROTARY_EMBEDDING];
