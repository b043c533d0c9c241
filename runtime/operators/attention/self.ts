import {
  attentionColumns,
  selfAttention,
  selfAttentionCut,
  type SelfAttentionForm,
} from '../../../shaders/self_attention.js';
import { NATIVE_BLOCKS, NATIVE_SEQUENCES, nativeSelfAttention } from '../../../shaders/self_attention_native.js';
import type { WebGpuProgram } from '../../../shaders/program.js';
import { unitsOf, type StepKernel } from '../../compile/kernel.js';
import type { Lowering } from '../../compile/lowering.js';
import { liesInFours } from '../../compile/view.js';
import { evaluate, mul } from '../../graph/dim.js';
import { trafficBytes } from '../elementwise/kernel.js';
import { fusedOperator } from '../fused.js';
import type { Operator } from '../operator.js';

/** Sequences of a workgroup. */
function sequencesAtOnce(rows: number, length: number): number {
  return Math.floor(rows / length);
}

function lower(lowering: Lowering, form: SelfAttentionForm, onUnits: boolean): void {
  const { length, features, heads, width, valueWidth } = form;
  const [given, weights, output] = [lowering.view(0), lowering.view(1), lowering.output(0)];
  // Matrix units' kernel reads four features at a time.
  const x = onUnits && !liesInFours(given) ? lowering.dense(given) : given;
  const [sequences] = x.shape as [(typeof x.shape)[number]];
  const places = mul(sequences, length);
  const kernelOf = (program: WebGpuProgram, held: number, most: number): StepKernel => ({
    program,
    dispatch: {
      parameters: {
        sequences,
        weights_start: { start: weights },
        x_start: { start: x },
        x_sequence: x.strides[0]!,
        x_place: x.strides[1]!,
        x_feature: x.strides[2]!,
        out_start: { start: output },
        out_sequence: output.strides[0]!,
        out_place: output.strides[1]!,
        out_head: output.strides[2]!,
        out_feature: output.strides[3]!,
      },
      workgroups: (bindings) => Math.min(most, Math.ceil(evaluate(sequences, bindings) / held)),
    },
  });
  lowering.emit({
    kernel: 'SelfAttention',
    operands: [
      { view: x, access: 'read' },
      { view: weights, access: 'read' },
      { view: output, access: 'write' },
    ],
    cost: {
      operations: mul(places, 2 * features * attentionColumns(form) + heads * length * (2 * (width + valueWidth) + 10)),
      bytes: trafficBytes([x, weights, output]),
    },
    bound: 'arithmetic',
    detail: `sequences=${sequences} places=${length} ${features}-${heads}x${width}`,
    webgpu(caps) {
      if (onUnits) throw new Error('an attention on matrix units has no kernel for WebGPU');
      const cut = selfAttentionCut(form, caps)!;
      const held = sequencesAtOnce(cut.block.rows, length);
      const inFours = liesInFours(x) && features % 4 === 0;
      const program = selfAttention({ ...form, inFours, outFours: liesInFours(output), cut });
      return kernelOf(program, held, caps.maxWorkgroupsPerDimension);
    },
    cuda(target) {
      if (!onUnits) return undefined;
      // Few sequences are dealt to as many blocks as leave each something to do.
      return kernelOf(nativeSelfAttention(form, unitsOf(target).halves), NATIVE_SEQUENCES / 2, NATIVE_BLOCKS);
    },
  });
}

/**
 * SelfAttention(X, parameters) = softmax(Q K) V of X [sequences, places, features], with Q, K and V = X W + b, as
 * [sequences, places, heads, values]. The parameters are W [features, columns], the columns of a head together, queries
 * first, and b; on matrix units they lie as shaders/self_attention_native.ts has them. What compile/self-attention.ts makes; no
 * model has it.
 * @param onUnits computed on the matrix units of CUDA.
 */
export function selfAttentionOperator(form: SelfAttentionForm, onUnits: boolean): Operator {
  return fusedOperator('SelfAttention', (lowering) => lower(lowering, form, onUnits));
}
