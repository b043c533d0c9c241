import { chainFunctions, type ChainSource } from '../../../shaders/chain.js';
import { deviceType, type DeviceType } from '../../compile/view.js';
import type { Lowering } from '../../compile/lowering.js';
import { fusedOperator } from '../fused.js';
import { elementwiseStep } from './kernel.js';
import type { LinkFunction } from './link.js';
import type { Scalars } from './table.js';

/** An argument of a link: an input of the node, an earlier link's result, a constant, or what a product computed. */
export type Source = { readonly input: number } | { readonly link: number } | { readonly constant: number } | 'result';

export interface Link {
  readonly does: LinkFunction;
  readonly sources: readonly Source[];
}

/** Operators on corresponding elements, one after another; the last makes the result. */
export type Chain = readonly Link[];

/** A chain as kernels take it. */
export interface ChainCode {
  /** Readable, and the same only for the same code. */
  readonly name: string;
  /** Functions up to `chain(z, v0, v1, ..)`. */
  readonly functions: string;
  readonly scalars: Scalars;
  readonly operations: number;
}

/** The chain with its links in the order in which the last one comes to need them: the same for the same operators. */
function ordered(chain: Chain): Chain {
  const places = new Map<number, number>();
  const links: Link[] = [];
  const visit = (at: number): number => {
    const done = places.get(at);
    if (done !== undefined) return done;
    const { does, sources } = chain[at]!;
    const moved = sources.map((s): Source => (typeof s === 'object' && 'link' in s ? { link: visit(s.link) } : s));
    const place = links.push({ does, sources: moved }) - 1;
    places.set(at, place);
    return place;
  };
  visit(chain.length - 1);
  return links;
}

/**
 * The code of `chain`, whose values are those of `values`: input numbers, or 'result', with their types.
 */
export function chainCode(
  chain: Chain,
  values: readonly { readonly of: number | 'result'; readonly type: DeviceType }[],
): ChainCode {
  const scalars: Record<string, number> = {};
  const position = (of: number | 'result'): number => values.findIndex((v) => v.of === of);
  /** Text of each link, where it stands first; where it stands again, its number. */
  const texts: string[] = [];
  const argument = (source: Source, link: number, index: number): { source: ChainSource; text: string } => {
    if (source === 'result') return { source: { value: position('result') }, text: 'x' };
    if ('link' in source) {
      const text = texts[source.link]!;
      texts[source.link] = `r${source.link}`;
      return { source, text };
    }
    if ('input' in source) {
      const value = position(source.input);
      return { source: { value }, text: `v${value}` };
    }
    const scalar = `c${link}_${index}`;
    scalars[scalar] = source.constant;
    return { source: { scalar }, text: 'c' };
  };
  const links = ordered(chain).map(({ does, sources }, i) => {
    const prefix = `s${i}_`;
    for (const [name, value] of Object.entries(does.scalars)) scalars[prefix + name] = value;
    const arguments_ = sources.map((source, j) => argument(source, i, j));
    const isOfResult = sources.length === 1 && sources[0] === 'result';
    texts.push(isOfResult ? does.name : `${does.name}(${arguments_.map((a) => a.text).join(',')})`);
    return { ...does, prefix, arguments: arguments_.map((a, j) => ({ source: a.source, type: does.arguments[j]! })) };
  });
  return {
    name: texts.at(-1)!,
    functions: chainFunctions(
      links,
      values.map((v) => v.type),
    ),
    scalars,
    operations: chain.reduce((n, { does }) => n + does.operations, 0),
  };
}

function lower(lowering: Lowering): void {
  const { context } = lowering;
  const inputs = Array.from({ length: context.inputCount }, (_, i) => lowering.view(i));
  const values = inputs.map((v, i) => ({ of: i, type: deviceType(v.dtype) }));
  const { name, functions, scalars, operations } = chainCode(lowering.epilogue!.chain, values);
  const arguments_ = inputs.map((_, i) => 'abcdefgh'[i]!);
  lowering.emit(
    elementwiseStep({
      name,
      expression: `chain(${['z', ...arguments_].join(', ')})`,
      helpers: functions,
      scalars,
      operations,
      inputs,
      output: lowering.output(0),
    }),
  );
}

/** What compile/chains.ts puts in the place of several elementwise nodes. No model has it. */
export const CHAIN = fusedOperator('Chain', lower);
