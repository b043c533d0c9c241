import { targetAttention } from '../../../shaders/target_attention.js';
import { groupedTargetAttention } from '../../../shaders/target_attention_groups.js';
import { MOST_ATTENTION_WORKGROUPS, targetAttentionHalves } from '../../../shaders/target_attention_halves.js';
import { nativeTargetAttention } from '../../../shaders/target_attention_native.js';
import type { LineActivation, TargetAttentionForm } from '../../../shaders/target_attention_parts.js';
import { MULTIPROCESSORS, type WebGpuProgram } from '../../../shaders/program.js';
import {
  ROUNDED,
  unitsOf,
  usesMatrixUnits,
  type Operand,
  type ParameterValue,
  type ProductPrecision,
  type RowLookup,
  type StepKernel,
} from '../../compile/kernel.js';
import type { Lowering } from '../../compile/lowering.js';
import { deviceType, isAligned, liesInEights, reshapeView, type View } from '../../compile/view.js';
import { equal, evaluate, mul, sub, type Dim } from '../../graph/dim.js';
import { chainCode, type Chain } from '../elementwise/chain.js';
import { trafficBytes } from '../elementwise/kernel.js';
import { fusedOperator } from '../fused.js';
import { finishForm, finishOf, othersOf } from '../matmul/finish.js';
import type { Operator } from '../operator.js';

/** The functions of a hidden layer: they read its elements, and constant lines by their position. */
export interface HiddenFunctions {
  readonly chain: Chain;
  readonly lines: readonly number[];
}

export interface TargetAttentionCall {
  /** As what the layers multiply, which decides how the parameters lie. */
  readonly products: ProductPrecision;
  readonly width: number;
  readonly length: number;
  readonly first: number;
  readonly second: number;
  readonly firstFunctions: HiddenFunctions;
  /** They read the elements alone. */
  readonly secondFunctions: Chain;
  /** Positions of the line of the first layer and of the target among the inputs. */
  readonly line: number;
  readonly target: number;
}

interface Activated {
  readonly activation?: LineActivation;
  readonly scalars: Readonly<Record<string, number>>;
}

/** A lookup of features of the keys, from `first` on. */
interface KeyLookup extends RowLookup {
  readonly first: number;
}

/** The lookups in the order of their features; undefined where they do not make up the keys [batch, length, width] exactly. */
function lookupsOf(keys: View, lookups: readonly RowLookup[]): readonly KeyLookup[] | undefined {
  const [, length, width] = keys.shape as [Dim, Dim, number];
  const placed = lookups.map((lookup): KeyLookup | undefined => {
    const { output, ids } = lookup;
    const first = sub(output.offset, keys.offset);
    const isPart =
      output.shape.length === 3 &&
      ids.shape.length === 2 &&
      equal(output.shape[1]!, length) &&
      output.strides.every((s, i) => equal(s, keys.strides[i]!));
    return isPart && typeof first === 'number' ? { ...lookup, first } : undefined;
  });
  if (!placed.every((p) => p !== undefined)) return undefined;
  placed.sort((a, b) => a.first - b.first);
  let end = 0;
  for (const { first, table } of placed) {
    if (first !== end || typeof table.shape[1] !== 'number') return undefined;
    end += table.shape[1];
  }
  return end === width && placed.length > 0 ? placed : undefined;
}

/** Parameters of a lookup, as shaders/target_attention_groups.ts names them. */
function lookupParameters({ table, ids, first, size, rowRuns, code }: KeyLookup, i: number) {
  const values: Record<string, ParameterValue> = {
    ids_start: { start: ids },
    ids_row: ids.strides[0]!,
    ids_step: ids.strides[1]!,
    start: { start: table },
    row: table.strides[0]!,
    first,
    size,
    row_runs: rowRuns,
    code,
  };
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`table${i}_${name}`, value]));
}

function activationOf({ chain, lines }: HiddenFunctions, layer: string): Activated {
  if (chain.length === 0) return { scalars: {} };
  const code = chainCode(chain, [{ of: 'result', type: 'f32' }, ...lines.map((of) => ({ of, type: 'f32' as const }))]);
  return {
    activation: { ...code, scalars: Object.keys(code.scalars), lines: lines.length },
    scalars: Object.fromEntries(Object.entries(code.scalars).map(([name, value]) => [`${layer}_${name}`, value])),
  };
}

/**
 * TargetAttention(K, parameters, , others of the scores .., c, q): of K [batch, length, width], c [batch, first] and q
 * [batch, width], the sum of the keys weighed by the softmax of their scores, [batch, width]; see
 * shaders/target_attention.ts and target_attention_halves.ts, which say how the parameters lie. What compile/target-attention.ts makes; no model has it.
 */
export function targetAttentionOperator(call: TargetAttentionCall): Operator {
  return fusedOperator('TargetAttention', (lowering: Lowering) => {
    const { products, width, length, first, second } = call;
    const [batch] = lowering.context.input(0).shape as [Dim];
    const as = (view: View, shape: readonly Dim[]): View =>
      reshapeView(view, shape) ?? reshapeView(lowering.dense(view), shape)!;
    const given = as(lowering.view(0), [batch, length, width]);
    const isVector = equal(given.strides[2]!, 1) && isAligned(given, [0, 1]);
    const keys = isVector ? given : lowering.dense(given);
    const weights = lowering.view(1);
    const [c, q] = [as(lowering.view(call.line), [batch, first]), as(lowering.view(call.target), [batch, width])];
    const others = othersOf(lowering, [batch, length]);
    const { finish } = finishOf(lowering);
    const target = lowering.output(0);
    const output = reshapeView(target, [batch, width])!;
    const [one, two] = [
      activationOf(call.firstFunctions, 'first'),
      activationOf({ chain: call.secondFunctions, lines: [] }, 'second'),
    ];
    const form: TargetAttentionForm = {
      width,
      first,
      second,
      ...(one.activation ? { firstActivation: one.activation } : {}),
      ...(two.activation ? { secondActivation: two.activation } : {}),
      ...finishForm(finish, others),
    };
    const beside = [weights, c, q, ...others];
    const read = [keys, ...beside];
    const inHalves = products === 'float16';
    // Keys are factors of two products, the target of one.
    const rounds = (view: View): boolean =>
      inHalves && (view === q || (view === keys && width % 8 === 0 && liesInEights(keys)));
    const perKey = 2 * (width * first + first * second + second + width);
    const operations = mul(batch, length * perKey);
    const kernelOf = (
      program: WebGpuProgram,
      most: number,
      more: Readonly<Record<string, ParameterValue>> = {},
    ): StepKernel => {
      const place = (name: string, view: View, step: string): Record<string, Dim | { start: View }> => ({
        [`${name}_start`]: { start: view },
        [`${name}_row`]: view.strides[0]!,
        [`${name}_${step}`]: view.strides[1]!,
      });
      return {
        program,
        dispatch: {
          parameters: {
            m: batch,
            weights_start: { start: weights },
            ...place('k', keys, 'step'),
            ...place('c', c, 'column'),
            ...place('q', q, 'column'),
            ...place('out', output, 'column'),
            ...Object.assign({}, ...others.map((view, i) => place(`other${i}`, view, 'step'))),
            ...Object.fromEntries(
              Object.entries({ ...one.scalars, ...two.scalars, ...finish?.scalars }).map(([n, f32]) => [n, { f32 }]),
            ),
            ...more,
          },
          workgroups: (bindings) => Math.min(most, evaluate(batch, bindings)),
        },
      };
    };
    lowering.emit({
      kernel: finish ? `TargetAttention+${finish.name}` : 'TargetAttention',
      operands: [
        ...read.map((view): Operand => ({ view, access: 'read', ...(rounds(view) ? { packed: ROUNDED } : {}) })),
        { view: output, access: 'write', ...(inHalves ? { packed: ROUNDED } : {}) },
      ],
      cost: { operations, bytes: trafficBytes([...read, output]) },
      bound: 'arithmetic',
      detail: `keys=${length} ${width}-${first}-${second}-1`,
      webgpu({ maxWorkgroupsPerDimension: most }) {
        if (!inHalves) return kernelOf(targetAttention({ ...form, length }), most);
        const [ofKeys, ofTarget, out] = [keys, q, output].map((v) => v.storage.type === 'f16') as [
          boolean,
          boolean,
          boolean,
        ];
        const stored = { keys: ofKeys, target: ofTarget, out };
        return kernelOf(targetAttentionHalves({ ...form, length, stored }), Math.min(most, MOST_ATTENTION_WORKGROUPS));
      },
      cuda(target) {
        if (!usesMatrixUnits(target)) return undefined;
        const units = unitsOf(target);
        const grouped = units.byGroups ? groupedTargetAttention({ ...form, length }, [], units) : undefined;
        // A block keeps the weights for all of its rows.
        if (grouped) return kernelOf(grouped, MULTIPROCESSORS);
        const program = nativeTargetAttention({ ...form, length }, units);
        return program && kernelOf(program, target.maxWorkgroupsPerDimension);
      },
      absorb(given, target) {
        const lookups = usesMatrixUnits(target) && target.tf32!.byGroups ? lookupsOf(keys, given) : undefined;
        if (!lookups) return undefined;
        const tables = lookups.map(({ ids }) => ({ ids: deviceType(ids.dtype) === 'i64' ? 'i64' : 'i32' }) as const);
        const program = groupedTargetAttention({ ...form, length }, tables, unitsOf(target));
        if (!program) return undefined;
        const [first, ...rest] = lookups.map(({ table }) => table) as [View, ...View[]];
        const reads = [first, ...beside, ...lookups.map(({ ids }) => ids), ...rest];
        const parameters = Object.assign({}, ...lookups.map((lookup, i) => lookupParameters(lookup, i)));
        const moved = [...beside, ...lookups.flatMap((l) => [l.ids, l.output]), output];
        return {
          operands: [
            ...reads.map((view) => ({ view, access: 'read' as const })),
            { view: output, access: 'write' as const },
          ],
          cost: { operations, bytes: trafficBytes(moved) },
          kernel: kernelOf(program, MULTIPROCESSORS, parameters),
        };
      },
    });
  });
}
