import { elementWgsl, type ElementType } from './program.js';

/** Where an argument of a link comes from: a value the chain is given, the result of an earlier link, or a parameter. */
export type ChainSource = { readonly value: number } | { readonly link: number } | { readonly scalar: string };

/** One operator of a chain: an expression over `a`, `b`, `c` that may call `helpers` and read scalars as `p.NAME`. */
export interface ChainLink {
  readonly expression: string;
  readonly helpers: string;
  /** Prefix of the link's scalars among the parameters. */
  readonly prefix: string;
  readonly arguments: readonly { readonly source: ChainSource; readonly type: ElementType }[];
  readonly result: ElementType;
}

/** Splits helper code into its functions, so that links may bring the same ones. */
function functionsOf(helpers: string): [name: string, code: string][] {
  return helpers
    .split(/^(?=fn )/m)
    .filter((code) => code.startsWith('fn '))
    .map((code) => [/^fn (\w+)/.exec(code)![1]!, code.trimEnd()]);
}

/**
 * Functions, the last of which is `chain(z, v0, v1, ..)`: the links one after another, with no memory between. Its
 * values have the types given.
 */
export function chainFunctions(links: readonly ChainLink[], values: readonly ElementType[]): string {
  const helpers = new Map(links.flatMap((l) => functionsOf(l.helpers)));
  const parameter = (name: string, type: ElementType): string => `${name}: ${elementWgsl(type)}`;
  const argument = (source: ChainSource): string => {
    if ('value' in source) return `v${source.value}`;
    return 'link' in source ? `r${source.link}` : `blocks[z].${source.scalar}`;
  };
  const functions = links.map((link, i) => {
    const list = link.arguments.map(({ type }, j) => parameter('abc'[j]!, type));
    const body = link.expression.replaceAll(/\bp\./g, `blocks[z].${link.prefix}`);
    return `fn link${i}(${['z: u32', ...list].join(', ')}) -> ${elementWgsl(link.result)} { return ${body}; }`;
  });
  const calls = links.map(
    (link, i) => `  let r${i} = link${i}(${['z', ...link.arguments.map((a) => argument(a.source))].join(', ')});`,
  );
  const list = ['z: u32', ...values.map((type, i) => parameter(`v${i}`, type))].join(', ');
  return [
    ...helpers.values(),
    ...functions,
    `fn chain(${list}) -> ${elementWgsl(links.at(-1)!.result)} {`,
    ...calls,
    `  return r${links.length - 1};`,
    '}',
  ].join('\n');
}
