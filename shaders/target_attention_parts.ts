import type { Finish } from './matmul_parts.js';
import type { Activation } from './perceptron_parts.js';
import { declareParameters, declareStorage, type ElementType, type ParameterField } from './program.js';

/** A layer's function, `chain(z, x, line0, ..)`: the lines are constants, one value a column. */
export interface LineActivation extends Activation {
  readonly lines: number;
}

export interface TargetAttentionForm {
  /** Features of a key, a multiple of 4, and of the two hidden layers. */
  readonly width: number;
  readonly first: number;
  readonly second: number;
  readonly firstActivation?: LineActivation;
  readonly secondActivation?: Activation;
  /** What is done to a score; reads one value a key of each of its others. */
  readonly finish?: Finish;
}

export interface TargetAttentionOptions extends TargetAttentionForm {
  readonly length: number;
}

/** Where the parts of the parameters begin, in vectors of 4 words. */
export interface AttentionLayout {
  readonly keyWeights: number;
  readonly pairWeights: number;
  readonly firstLines: number;
  readonly secondWeights: number;
  readonly secondBias: number;
  readonly scoreWeights: number;
  readonly scoreBias: number;
  readonly total: number;
}

export function attentionFields({ firstActivation, secondActivation, finish }: TargetAttentionForm): ParameterField[] {
  const scalar = (name: string, type: 'u32' | 'f32' = 'u32'): ParameterField => ({ name, type, length: 1 });
  return [
    scalar('m'),
    scalar('weights_start'),
    ...['k_start', 'k_row', 'k_step', 'c_start', 'c_row', 'c_column'].map((n) => scalar(n)),
    ...['q_start', 'q_row', 'q_column', 'out_start', 'out_row', 'out_column'].map((n) => scalar(n)),
    ...(finish?.others ?? []).flatMap((_, i) => ['start', 'row', 'step'].map((part) => scalar(`other${i}_${part}`))),
    ...(firstActivation?.scalars ?? []).map((s) => scalar(`first_${s}`, 'f32')),
    ...(secondActivation?.scalars ?? []).map((s) => scalar(`second_${s}`, 'f32')),
    ...(finish?.scalars ?? []).map((s) => scalar(s, 'f32')),
  ];
}

/**
 * The parameter block, the bindings, and the functions `chain_first`, `chain_second` and `chain`.
 * @param more fields and declarations of operands in front of the result.
 */
export function declareAttention(
  form: TargetAttentionForm,
  weights: 'f32' | 'u32',
  more: { readonly fields: readonly ParameterField[]; readonly operands: number } = { fields: [], operands: 0 },
): string {
  const { firstActivation, secondActivation, finish } = form;
  const others = finish?.others ?? [];
  const seen = new Set([...(finish?.functions ?? '').matchAll(/^fn (\w+)/gm)].map((m) => m[1]!));
  return `${declareParameters([...attentionFields(form), ...more.fields])}
${declareStorage(1, 'keys', 'f32', 'read', true)}
@group(0) @binding(2) var<storage, read> weights: array<vec4<${weights}>>;
${declareStorage(3, 'c', 'f32', 'read')}
${declareStorage(4, 'q', 'f32', 'read')}
${others.map((type: ElementType, i) => declareStorage(5 + i, `other${i}`, type, 'read')).join('\n')}
${declareStorage(5 + others.length + more.operands, 'out', 'f32', 'read_write')}
${finish?.functions ?? ''}
${named(firstActivation, 'first', seen)}
${named(secondActivation, 'second', seen)}`;
}

/** Tells the form apart in the names of kernels. */
export function attentionName(options: TargetAttentionOptions): string {
  const { width, first, second, length, firstActivation, secondActivation, finish } = options;
  const name = (a: Activation | undefined): string => (a ? `_${a.name}` : '');
  return `${length}x${width}_${first}${name(firstActivation)}_${second}${name(secondActivation)}${finish ? `_${finish.name}` : ''}`;
}

/** The functions of an activation under the name of its layer. */
function named(activation: Activation | undefined, layer: string, seen: Set<string>): string {
  return (activation?.functions ?? '')
    .split(/^(?=fn )/m)
    .filter((f) => f.startsWith('fn '))
    .flatMap((code) => {
      const name = /^fn (\w+)/.exec(code)![1]!;
      const isOwn = name === 'chain' || /^link\d+$/.test(name);
      if (!isOwn && seen.has(name)) return [];
      seen.add(name);
      return code
        .trimEnd()
        .replaceAll(/\b(chain|link\d+)\b/g, `$1_${layer}`)
        .replaceAll('blocks[z].', `blocks[z].${layer}_`);
    })
    .join('\n');
}
