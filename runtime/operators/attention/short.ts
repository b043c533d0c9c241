import { flatWorkgroupSize } from '../../../shaders/program.js';
import { NATIVE_THREADS, nativeShortAttention, shortAttention } from '../../../shaders/short_attention.js';
import { ROUNDED, type DeviceCaps, type StepKernel } from '../../compile/kernel.js';
import type { WebGpuProgram } from '../../../shaders/program.js';
import type { Lowering } from '../../compile/lowering.js';
import { broadcastView, collapse, isAligned, nonEmpty, transposeView, type View } from '../../compile/view.js';
import { add, divideExact, equal, mul, product, type Dim } from '../../graph/dim.js';
import { flatWorkgroups, trafficBytes } from '../elementwise/kernel.js';
import { fusedOperator } from '../fused.js';

/** Invocations of a workgroup: few, for each holds many registers. */
const WORKGROUP = 64;

/** Most features that the queries of an invocation and their results have. */
const MOST_FEATURES = 64;

/** The first of some numbers that divides `dim`; 1 where none does, or it is not known. */
function divisorOf(dim: Dim, candidates: readonly number[]): number {
  return (typeof dim === 'number' ? candidates.find((n) => dim % n === 0) : undefined) ?? 1;
}

function isHalf({ storage }: View): boolean {
  return storage.type === 'f16';
}

function lower(lowering: Lowering): void {
  const { context } = lowering;
  const { attributes } = context;
  const [query, keys, values, mask] = [0, 1, 2, 3].map((i) => lowering.optional(i)) as [View, View, View, View?];
  const perm = attributes.numbers('perm') ?? [];
  const written = lowering.output(0);
  // The result as the products shape it; where a Transpose follows, it is written as that leaves it.
  const output =
    perm.length === 0
      ? written
      : transposeView(
          written,
          perm.map((_, i) => perm.indexOf(i)),
        );
  const batch = output.shape.slice(0, -2);
  const queries = output.shape.at(-2)!;
  const [length, width, valueWidth] = [keys.shape.at(-1)!, query.shape.at(-1) as number, values.shape.at(-1) as number];
  const over = (view: View, rows: Dim, columns: Dim): View => broadcastView(view, [...batch, rows, columns]);
  const operands = {
    q: over(query, queries, width),
    k: over(keys, width, length),
    v: over(values, length, valueWidth),
    ...(mask ? { mask: over(mask, queries, length) } : {}),
    out: output,
  };
  const entries: [string, View][] = Object.entries(operands);
  const axes = output.shape.map((_, i) => i);
  const [first, last] = [axes.slice(0, -1), axes.filter((i) => i !== axes.length - 2)];
  const isWhole = divideExact(width, 4) !== undefined && divideExact(valueWidth, 4) !== undefined;
  const vectors =
    isWhole &&
    [operands.q, operands.v, output].every((v) => equal(v.strides.at(-1)!, 1) && isAligned(v, first)) &&
    equal(operands.k.strides.at(-2)!, 1) &&
    isAligned(operands.k, last);
  // Eights of halves, where all that writes them makes those.
  const inEights = (view: View, features: number, [feature, along]: readonly [number, readonly number[]]): boolean =>
    vectors && features % 8 === 0 && equal(view.strides.at(feature)!, 1) && isAligned(view, along, 8);
  const rounds: Readonly<Record<string, boolean>> = {
    q: inEights(operands.q, width, [-1, first]),
    k: inEights(operands.k, width, [-2, last]),
    v: inEights(operands.v, valueWidth, [-1, first]),
  };
  const scores = mul(product([...batch, queries]), length);
  /** The kernel's options and its dispatch, with `each` queries to an invocation. */
  const walk = (each: number) => {
    // Keys and values are the same for all queries of a batch.
    const walked = (name: string, view: View): readonly Dim[] => [
      ...view.strides.slice(0, -2),
      name === 'k' || name === 'v' ? 0 : mul(view.strides.at(-2)!, each),
    ];
    const taken = [...batch, each === 1 ? queries : (queries as number) / each];
    const space = collapse({ shape: taken, strides: entries.map(([name, view]) => walked(name, view)) });
    return { count: product(taken), space, rank: Math.max(1, space.shape.length) };
  };
  const kernelOf = (program: WebGpuProgram, threads: number, caps: DeviceCaps, each: number): StepKernel => {
    const { count, space } = walk(each);
    const nexts = each > 1 ? entries.filter(([name]) => name !== 'k' && name !== 'v') : [];
    return {
      program,
      dispatch: {
        parameters: {
          count,
          length,
          scale: { f32: attributes.number('scale', 1) },
          ...Object.fromEntries(entries.map(([name, view]) => [`${name}_start`, { start: view }])),
          k_step: operands.k.strides.at(-1)!,
          v_step: operands.v.strides.at(-2)!,
          ...(operands.mask ? { mask_step: operands.mask.strides.at(-1)! } : {}),
          q_feature: operands.q.strides.at(-1)!,
          k_feature: operands.k.strides.at(-2)!,
          v_feature: operands.v.strides.at(-1)!,
          out_feature: output.strides.at(-1)!,
          ...Object.fromEntries(nexts.map(([name, view]) => [`${name}_next`, view.strides.at(-2)!])),
          shape: nonEmpty(space.shape, 1),
          ...Object.fromEntries(entries.map(([name], i) => [`${name}_strides`, nonEmpty(space.strides[i]!, 0)])),
        },
        workgroups: flatWorkgroups(count, threads, caps.maxWorkgroupsPerDimension),
      },
    };
  };
  const form = { width, valueWidth, hasMask: mask !== undefined, vectors };
  lowering.emit({
    kernel: 'ShortAttention',
    operands: [
      ...entries.slice(0, -1).map(([name, view]) => ({
        view,
        access: 'read' as const,
        ...(rounds[name] ? { packed: ROUNDED } : {}),
      })),
      { view: output, access: 'write', ...(vectors ? { packed: ROUNDED } : {}) },
    ],
    cost: {
      operations: mul(scores, add(mul(add(width, valueWidth), 2), 20)),
      bytes: trafficBytes(entries.map(([, view]) => view)),
    },
    bound: 'memory',
    detail: `queries=${queries} keys=${length} features=${width}`,
    webgpu(caps) {
      const workgroupSize = Math.min(WORKGROUP, flatWorkgroupSize(caps.maxWorkgroupInvocations));
      const most = MOST_FEATURES / (width + valueWidth);
      const each = caps.software
        ? 1
        : divisorOf(
            queries,
            [4, 3, 2].filter((n) => n <= most),
          );
      const keysAtOnce = caps.software ? 1 : divisorOf(length, [4, 3, 2]);
      const program = shortAttention({
        ...form,
        rank: walk(each).rank,
        workgroupSize,
        queries: each,
        keys: keysAtOnce,
        halves: { q: isHalf(operands.q), k: isHalf(operands.k), v: isHalf(operands.v) },
        outHalves: isHalf(output),
      });
      return kernelOf(program, workgroupSize, caps, each);
    },
    cuda(caps) {
      if (entries.some(([, view]) => isHalf(view)) || typeof length !== 'number') return undefined;
      const program = nativeShortAttention({ ...form, rank: walk(1).rank }, length);
      return program && kernelOf(program, NATIVE_THREADS, caps, 1);
    },
  });
}

/**
 * ShortAttention(Q, K, V, mask) = softmax(scale Q K + mask) V, of Q [.., queries, width], K [.., width, keys] and
 * V [.., keys, values], leading dimensions broadcast; transposed by `perm` where it has any. What
 * compile/short-attention.ts makes; no model has it.
 */
export const SHORT_ATTENTION = fusedOperator('ShortAttention', lower);
