import type { Finish } from './matmul_parts.js';
import type { Activation } from './perceptron_parts.js';
import { declareMade, declareRead, type MadeType } from './packed.js';
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

/** What is stored as float16: keys in eights of features, the target, the result. */
export interface StoredHalves {
  readonly keys: boolean;
  readonly target: boolean;
  readonly out: boolean;
}

const NO_HALVES: StoredHalves = { keys: false, target: false, out: false };

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
 * @param more what is stored as halves; fields, and a number of operands in front of the result, that the kernel declares itself.
 */
export function declareAttention(
  form: TargetAttentionForm,
  weights: 'f32' | 'u32',
  more: {
    readonly stored?: StoredHalves;
    readonly fields?: readonly ParameterField[];
    readonly operands?: number;
  } = {},
): string {
  const { stored = NO_HALVES, fields = [], operands = 0 } = more;
  const { firstActivation, secondActivation, finish } = form;
  const others = finish?.others ?? [];
  const made: MadeType = stored.out ? 'f16' : 'f32';
  const seen = new Set([...(finish?.functions ?? '').matchAll(/^fn (\w+)/gm)].map((m) => m[1]!));
  return `${declareParameters([...attentionFields(form), ...fields])}
${declareStorage(1, 'keys', stored.keys ? 'u32' : 'f32', 'read', true)}
@group(0) @binding(2) var<storage, read> weights: array<vec4<${weights}>>;
${declareStorage(3, 'c', 'f32', 'read')}
${declareRead(4, 'q', stored.target ? 'f16' : 'f32')}
${others.map((type: ElementType, i) => declareStorage(5 + i, `other${i}`, type, 'read')).join('\n')}
${declareMade(5 + others.length + operands, 'out', made, false)}
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
