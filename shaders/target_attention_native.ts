import type { NativeEntry, WebGpuProgram } from './program.js';
import { firstColumns, targetAttentionLayout } from './target_attention.js';
import {
  attentionFields,
  attentionName,
  declareAttention,
  type TargetAttentionOptions,
} from './target_attention_parts.js';

const THREADS = 256;
const eights = (n: number): number => 8 * Math.ceil(n / 8);

/** Bytes of shared memory; native/kernels/target_attention.cuh lays it out. */
function bytesOf(options: TargetAttentionOptions): number {
  const { width, length, second } = options;
  const columns = firstColumns(options);
  const firstLine = columns % 16 === 0 ? columns + 8 : columns;
  const words =
    length * (width + 4) +
    width * firstLine +
    columns * (eights(second) + 4) +
    4 * Math.ceil(length / 4) +
    (2 * THREADS) / 32;
  return 4 * words;
}

/** Where the kernels find the parameters, in their order, in vectors of 4. */
export function placesOf(options: TargetAttentionOptions): readonly number[] {
  const at = targetAttentionLayout(options, options.firstActivation?.lines ?? 0);
  return [at.keyWeights, at.pairWeights, at.secondWeights, at.secondBias, at.scoreWeights, at.scoreBias];
}

/** What the kernels do to an element of a hidden layer and to a score. */
export function elementFunctions(options: TargetAttentionOptions): string {
  const { firstActivation, secondActivation, finish } = options;
  const lines = firstActivation?.lines ?? 0;
  const { firstLines } = targetAttentionLayout(options, lines);
  const line = (i: number): string =>
    `wordOf(weights, 4u * w_start + ${4 * firstLines + i * firstColumns(options)}u + column)`;
  const firstArguments = ['z', 'x', ...Array.from({ length: lines }, (_, i) => line(i))].join(', ');
  const readers = (finish?.others ?? []).map(
    (_, i) => `other${i}[blocks[z].other${i}_start + row * blocks[z].other${i}_row + key * blocks[z].other${i}_step]`,
  );
  return `fn touch_others(z: u32, row: u32, key: u32) { ${readers.map((r) => `touch(${r});`).join(' ')} }
fn activate_first(z: u32, w_start: u32, column: u32, x: f32) -> f32 { return ${firstActivation ? `chain_first(${firstArguments})` : 'x'}; }
fn activate_second(z: u32, x: f32) -> f32 { return ${secondActivation ? 'chain_second(z, x)' : 'x'}; }
fn finish_score(z: u32, row: u32, key: u32, score: f32) -> f32 { return ${finish ? `chain(${['z', 'score', ...readers].join(', ')})` : 'score'}; }`;
}

/** Registers hold 16 keys' hidden layers: most columns of each. */
const [MOST_FIRST, MOST_SECOND] = [128, 64];

/** Attention to a target on the matrix units of CUDA, in TF32, or in float16 with `halves`; undefined where a block cannot take a row. */
export function nativeTargetAttention(
  options: TargetAttentionOptions,
  { workgroupBytes, halves }: { readonly workgroupBytes: number; readonly halves: boolean },
): WebGpuProgram | undefined {
  const { width, length, first, second } = options;
  const columns = firstColumns(options);
  const sharedBytes = bytesOf(options);
  if (width % 8 !== 0 || columns > MOST_FIRST || second > MOST_SECOND || sharedBytes > workgroupBytes) return undefined;
  const fields = attentionFields(options);
  const source = `${declareAttention(options, 'f32')}
${elementFunctions(options)}`;
  const native: NativeEntry = {
    header: 'target_attention.cuh',
    call: `TargetAttention<${length}, ${width}, ${first}, ${columns}, ${second}, ${halves}>::run(kernel, {${placesOf(options).join(', ')}})`,
    threads: THREADS,
    residents: 2,
    sharedBytes,
  };
  return {
    key: `TargetAttention_${halves ? 'float16' : 'tf32'}_${attentionName(options)}`,
    source,
    fields,
    reportsErrors: false,
    native,
  };
}
