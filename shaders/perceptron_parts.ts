import { declareMade, type MadeType } from './packed.js';
import type { Finish } from './matmul_parts.js';
import { declareStorage, stridedOffsets, type ElementType, type ParameterField } from './program.js';

/** A function of single elements, `chain(z, x)`, and the scalars that it reads. */
export type Activation = Pick<Finish, 'name' | 'functions' | 'scalars'>;

/** A layer: its input and output features, and what is done to the elements of a hidden one. */
export interface PerceptronLayer {
  readonly k: number;
  readonly n: number;
  readonly activation?: Activation;
}

/** Features in and out of each layer. */
export type LayerSizes = readonly Pick<PerceptronLayer, 'k' | 'n'>[];

/** Where the parameters of layers begin, by layer, and those of a normalization. What is counted is the kernel's own. */
export interface PerceptronLayout {
  readonly weights: readonly number[];
  readonly biases: readonly number[];
  readonly scale: number;
  readonly shift: number;
  readonly total: number;
}

/** What a perceptron computes, whatever its kernel. */
export interface PerceptronForm {
  readonly layers: readonly PerceptronLayer[];
  /** Something is added to the results before `finish`. */
  readonly hasAddend: boolean;
  readonly finish?: Finish;
  /** The results of a row are normalized: see LayerNormalization. */
  readonly normalizes: boolean;
  /** Dimensions that count the rows, after merging. */
  readonly rank: number;
}

/** Names of an activation's scalars among the parameters. */
export function activationScalar(layer: number, name: string): string {
  return `l${layer}_${name}`;
}

/** What the last layer reads beside its sums. */
function addedTo({ hasAddend, finish }: PerceptronForm): [name: string, type: ElementType][] {
  return [
    ...(hasAddend ? [['addend', 'f32'] as [string, ElementType]] : []),
    ...(finish?.others ?? []).map((type, i): [string, ElementType] => [`other${i}`, type]),
  ];
}

/** Operands with a place for each row. */
function stridedOf(form: PerceptronForm): string[] {
  return ['x', 'out', ...addedTo(form).map(([name]) => name)];
}

export function perceptronFields(form: PerceptronForm): ParameterField[] {
  const { layers, finish, normalizes, rank } = form;
  const list = Math.max(rank, 2);
  const strided = stridedOf(form);
  const scalar = (name: string, type: 'u32' | 'f32' = 'u32'): ParameterField => ({ name, type, length: 1 });
  return [
    scalar('m'),
    scalar('weights_start'),
    ...strided.flatMap((o) => [scalar(`${o}_start`), scalar(`${o}_column`)]),
    ...(normalizes ? [scalar('epsilon', 'f32')] : []),
    ...layers.flatMap((l, i) => (l.activation?.scalars ?? []).map((s) => scalar(activationScalar(i, s), 'f32'))),
    ...(finish?.scalars ?? []).map((s) => scalar(s, 'f32')),
    { name: 'shape', type: 'u32', length: list },
    ...strided.map((o): ParameterField => ({ name: `${o}_strides`, type: 'u32', length: list })),
  ];
}

/**
 * The bindings from 3 on, which are what the last layer reads and writes; the functions of all layers, `chain4_i(z, v)` of
 * hidden layer i; and where the line of a row begins in each operand, `at_x(z, row)`.
 */
export function declareResults(form: PerceptronForm, vectors: boolean, made: MadeType = 'f32'): string {
  const { layers, finish, rank } = form;
  const read = addedTo(form);
  const offset = (o: string): string => `fn at_${o}(z: u32, row: u32) -> u32 {
${stridedOffsets('row', rank, 'shape', [{ variable: 'at', strides: `${o}_strides`, start: `${o}_start` }])}
    return at;
}`;
  return `${read.map(([name, type], i) => declareStorage(3 + i, name, type, 'read', vectors)).join('\n')}
${declareMade(3 + read.length, 'out', made, vectors)}
${finish?.functions ?? ''}
${activations(layers, finish?.functions ?? '')}
${stridedOf(form).map(offset).join('\n')}`;
}

/** Tells the form apart in the names of kernels. */
export function perceptronName({ layers, hasAddend, finish, normalizes, rank }: PerceptronForm): string {
  const shape = layers.map((l) => `${l.n}${l.activation ? `_${l.activation.name}` : ''}`).join('_');
  return `${layers[0]!.k}_${shape}${hasAddend ? '_addend' : ''}${finish ? `_${finish.name}` : ''}${normalizes ? '_norm' : ''}_r${rank}`;
}

/** The functions of an activation under names of its layer; helpers that layers share stand once. */
function activations(layers: readonly PerceptronLayer[], taken: string): string {
  const seen = new Set([...taken.matchAll(/^fn (\w+)/gm)].map((m) => m[1]!));
  const vector = (i: number): string =>
    `fn chain4_${i}(z: u32, v: vec4<f32>) -> vec4<f32> {
  var result = v;
  for (var i = 0u; i < 4u; i++) { result[i] = chain_${i}(z, v[i]); }
  return result;
}`;
  return layers
    .flatMap(({ activation }, i) => {
      const functions = (activation?.functions ?? '').split(/^(?=fn )/m).filter((f) => f.startsWith('fn '));
      return [
        ...functions.map((code) => {
          const name = /^fn (\w+)/.exec(code)![1]!;
          const isOwn = name === 'chain' || /^link\d+$/.test(name);
          if (!isOwn && seen.has(name)) return '';
          seen.add(name);
          return code
            .trimEnd()
            .replaceAll(/\b(chain|link\d+)\b/g, `$1_${i}`)
            .replaceAll('blocks[z].', `blocks[z].l${i}_`);
        }),
        ...(activation ? [vector(i)] : []),
      ];
    })
    .filter((code) => code !== '')
    .join('\n');
}
