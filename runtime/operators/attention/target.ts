import { targetAttention } from '../../../shaders/target_attention.js';
import { MOST_ATTENTION_WORKGROUPS, targetAttentionHalves } from '../../../shaders/target_attention_halves.js';
import { nativeTargetAttention } from '../../../shaders/target_attention_native.js';
import type { LineActivation, TargetAttentionForm } from '../../../shaders/target_attention_parts.js';
import type { WebGpuProgram } from '../../../shaders/program.js';
import {
  ROUNDED,
  usesMatrixUnits,
  type DeviceCaps,
  type Operand,
  type ProductPrecision,
  type StepKernel,
} from '../../compile/kernel.js';
import type { Lowering } from '../../compile/lowering.js';
import { isAligned, liesInEights, reshapeView, type View } from '../../compile/view.js';
import { equal, evaluate, mul, type Dim } from '../../graph/dim.js';
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
    const read = [keys, weights, c, q, ...others];
    const inHalves = products === 'float16';
    // Keys are factors of two products, the target of one.
    const rounds = (view: View): boolean =>
      inHalves && (view === q || (view === keys && width % 8 === 0 && liesInEights(keys)));
    const perKey = 2 * (width * first + first * second + second + width);
    const kernelOf = (program: WebGpuProgram, caps: DeviceCaps, most = caps.maxWorkgroupsPerDimension): StepKernel => {
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
      cost: { operations: mul(batch, length * perKey), bytes: trafficBytes([...read, output]) },
      bound: 'arithmetic',
      detail: `keys=${length} ${width}-${first}-${second}-1`,
      webgpu(target) {
        if (!inHalves) return kernelOf(targetAttention({ ...form, length }), target);
        const [ofKeys, ofTarget, out] = [keys, q, output].map((v) => v.storage.type === 'f16') as [
          boolean,
          boolean,
          boolean,
        ];
        const stored = { keys: ofKeys, target: ofTarget, out };
        return kernelOf(targetAttentionHalves({ ...form, length, stored }), target, MOST_ATTENTION_WORKGROUPS);
      },
      cuda(target) {
        if (!usesMatrixUnits(target)) return undefined;
        const program = nativeTargetAttention({ ...form, length }, target.tf32!.workgroupBytes);
        return program && kernelOf(program, target);
      },
    });
  });
}
