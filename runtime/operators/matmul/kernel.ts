import { DIRECT_WORKGROUP, matMul, type MatMulTile } from '../../../shaders/matmul.js';
import type { DeviceCaps, ParameterValue, Step } from '../../compile/kernel.js';
import { type View } from '../../compile/view.js';
import { evaluate, mul, product, type Dim } from '../../graph/dim.js';
import { trafficBytes } from '../elementwise/kernel.js';
import type { Scalars } from '../elementwise/table.js';

/** A batched product whose batch dimensions have been merged to two. */
export interface MatMulCall {
  readonly name: string;
  /** [outer, inner, m, k], [outer, inner, k, n], [outer, inner, m, n]. */
  readonly a: View;
  readonly b: View;
  readonly output: View;
  /** Broadcast to the output's shape. */
  readonly bias?: View;
  readonly alpha: number;
  readonly beta: number;
  /** A function of the finished elements. */
  readonly activation?: {
    readonly name: string;
    readonly expression: string;
    readonly helpers: string;
    readonly scalars: Scalars;
  };
}

const TILES = {
  wide: { kind: 'tiled', tileM: 64, tileN: 64, tileK: 16, threadM: 4, threadN: 4 },
  small: { kind: 'tiled', tileM: 32, tileN: 32, tileK: 16, threadM: 4, threadN: 4 },
  thin: { kind: 'tiled', tileM: 64, tileN: 4, tileK: 32, threadM: 1, threadN: 4 },
  direct: { kind: 'direct', threadM: 8, threadN: 4 },
  directThin: { kind: 'direct', threadM: 4, threadN: 1 },
} satisfies Record<string, MatMulTile>;

/** Few columns: one invocation a row. Few columns or rows: small tiles waste less. */
function chooseTile(m: Dim, n: Dim, caps: DeviceCaps): MatMulTile {
  const most = (dim: Dim, limit: number): boolean => typeof dim === 'number' && dim <= limit;
  if (caps.software) return most(n, 2) ? TILES.directThin : TILES.direct;
  if (most(n, 4)) return TILES.thin;
  return most(n, 32) || most(m, 32) ? TILES.small : TILES.wide;
}

/** Workgroups that cover m x n `batches` times. */
function workgroupsOf(tile: MatMulTile, m: number, n: number, batches: number): number {
  const [rows, columns] = tile.kind === 'tiled' ? [tile.tileM, tile.tileN] : [tile.threadM, tile.threadN];
  const tiles = Math.ceil(m / rows) * Math.ceil(n / columns) * batches;
  return tile.kind === 'tiled' ? tiles : Math.ceil(tiles / DIRECT_WORKGROUP);
}

/** The step of one product. Operations: 2 m n k a batch. */
export function matMulStep(call: MatMulCall): Omit<Step, 'node'> {
  const { a, b, output, bias } = call;
  const [outer, inner, m, n] = output.shape as [Dim, Dim, Dim, Dim];
  const k = a.shape[3]!;
  const views = [a, b, ...(bias ? [bias] : [])];
  const place = (name: string, v: View): Record<string, ParameterValue> => ({
    [`${name}_start`]: { start: v },
    [`${name}_outer`]: v.strides[0]!,
    [`${name}_inner`]: v.strides[1]!,
    [`${name}_row`]: v.strides[2]!,
    [`${name}_column`]: v.strides[3]!,
  });
  return {
    kernel: call.activation ? `${call.name}+${call.activation.name}` : call.name,
    operands: [...views.map((view) => ({ view, access: 'read' as const })), { view: output, access: 'write' }],
    cost: { operations: mul(product([outer, inner, m, n, k]), 2), bytes: trafficBytes([...views, output]) },
    bound: 'arithmetic',
    detail: `m=${m} n=${n} k=${k} batches=${mul(outer, inner)}`,
    webgpu(caps) {
      const tile = chooseTile(m, n, caps);
      return {
        program: matMul({
          tile,
          hasBias: bias !== undefined,
          ...(call.activation
            ? { activation: { ...call.activation, scalars: Object.keys(call.activation.scalars) } }
            : {}),
        }),
        dispatch: {
          parameters: {
            m,
            n,
            k,
            batches: mul(outer, inner),
            batch_inner: inner,
            ...place('a', a),
            ...place('b', b),
            ...place('out', output),
            ...(bias
              ? place('bias', bias)
              : { bias_start: 0, bias_outer: 0, bias_inner: 0, bias_row: 0, bias_column: 0 }),
            alpha: { f32: call.alpha },
            beta: { f32: call.beta },
            ...Object.fromEntries(
              Object.entries(call.activation?.scalars ?? {}).map(([name, f32]) => [`act_${name}`, { f32 }]),
            ),
          },
          workgroups(bindings) {
            const at = (dim: Dim): number => evaluate(dim, bindings);
            return Math.min(caps.maxWorkgroupsPerDimension, workgroupsOf(tile, at(m), at(n), at(outer) * at(inner)));
          },
        },
      };
    },
  };
}
