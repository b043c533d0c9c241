import type { WebGpuProgram } from './program.js';

/** A kernel's part of a joined program. */
export interface Part {
  readonly program: WebGpuProgram;
  /** Blocks of parameters, and slices in z, that its dispatch has. */
  readonly slices: number;
  /** Slices of the joined dispatch that the workgroups of one of them are spread over. Default: 1. */
  readonly shares?: number;
  /** What is bound behind the parameters, by the numbers of the buffers. */
  readonly buffers: readonly number[];
}

/** A program of several kernels. Binding i of group 0 is the parameters of part i; `storage` is bound behind them. */
export interface JoinedProgram {
  readonly key: string;
  readonly source: string;
  readonly storage: readonly { readonly buffer: number; readonly access: 'read' | 'read_write' }[];
}

/** What the entry points of kernels ask for, from what a joined program's has, and the workgroup's place x. */
const BUILTINS: Readonly<Record<string, ((size: number, shares: number) => string) | undefined>> = {
  workgroup_id: () => 'vec3<u32>(x, group.y, z)',
  global_invocation_id: (size) => `vec3<u32>(x * ${size}u + thread, group.y, z)`,
  local_invocation_index: () => 'thread',
  num_workgroups: (_, shares) => (shares === 1 ? 'groups' : `vec3<u32>(groups.x * ${shares}u, groups.yz)`),
};

const ENTRY = /@compute\s+@workgroup_size\((\d+)\)\s*fn\s+main\s*\(((?:@builtin\(\w+\)[^,)]*,?\s*)*)\)/;
const PARAMETERS = /@group\(0\) @binding\(0\) var<uniform>/;
const STORAGE = /@group\(0\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+): ([^;]+);/g;
const DIRECTIVE = /^\s*(?:enable|requires|diagnostic)\b[^;]*;/gm;
const TOKEN = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|[A-Za-z_]\w*|\s+|./g;
const BLANK = /^\s|^\/[/*]/;

/** Invocations of a workgroup; undefined where the program cannot be joined, for what its entry point asks for. */
export function workgroupSizeOf({ source }: WebGpuProgram): number | undefined {
  const entry = ENTRY.exec(source);
  const asked = [...(entry?.[2] ?? '').matchAll(/@builtin\((\w+)\)/g)];
  return entry && asked.every(([, builtin]) => BUILTINS[builtin!] !== undefined) ? Number(entry[1]) : undefined;
}

/**
 * One program whose workgroups do the work of several kernels: those of slices [0, n0) in z that of the first, the next n1
 * that of the second; a part's slice may be spread over several. Workgroups of one dispatch run side by side, where dispatches that share a buffer wait for each
 * other. WebGPU takes a buffer that is written once in a dispatch: parts that share one share its variable. Undefined where
 * that has another type in each, where workgroups differ in size, and where an entry point asks for what others have not.
 */
export function sideBySide(parts: readonly Part[]): JoinedProgram | undefined {
  const size = workgroupSizeOf(parts[0]!.program);
  if (size === undefined || parts.some(({ program }) => workgroupSizeOf(program) !== size)) return undefined;
  const storage: { buffer: number; access: 'read' | 'read_write' }[] = [];
  const shared = new Map<number, { name: string; type: string }>();
  for (const { program, buffers } of parts)
    for (const [, binding, access] of program.source.matchAll(STORAGE))
      if (access === 'read_write') shared.set(buffers[Number(binding) - 1]!, { name: '', type: '' });
  const declarations: string[] = [];
  const declare = (buffer: number, access: 'read' | 'read_write', name: string, type: string): void => {
    const binding = parts.length + storage.push({ buffer, access }) - 1;
    declarations.push(`@group(0) @binding(${binding}) var<storage, ${access}> ${name}: ${type};`);
  };
  const bodies: string[] = [];
  const calls: string[] = [];
  const directives = new Set<string>();
  let first = 0;
  for (const [i, { program, slices, shares = 1, buffers }] of parts.entries()) {
    const prefix = `part${i}_`;
    const { source } = program;
    const aliases = new Map<string, string>();
    for (const [, binding, , name, type] of source.matchAll(STORAGE)) {
      const buffer = buffers[Number(binding) - 1]!;
      const common = shared.get(buffer);
      if (!common) {
        declare(buffer, 'read', `${prefix}${name!}`, type!);
        continue;
      }
      if (common.name === '') {
        shared.set(buffer, { name: `shared_buffer_${buffer}`, type: type! });
        declare(buffer, 'read_write', `shared_buffer_${buffer}`, type!);
      } else if (common.type !== type) return undefined;
      aliases.set(name!, `shared_buffer_${buffer}`);
    }
    for (const [directive] of source.matchAll(DIRECTIVE)) directives.add(directive.trim());
    const asked = [...ENTRY.exec(source)![2]!.matchAll(/@builtin\((\w+)\)\s*(\w+\s*:[^,]*)/g)];
    const names = declaredNames(source, prefix, aliases);
    const body = source
      .replaceAll(DIRECTIVE, '')
      .replaceAll(STORAGE, '')
      .replace(PARAMETERS, `@group(0) @binding(${i}) var<uniform>`)
      .replace(ENTRY, `fn main(${asked.map(([, , parameter]) => parameter).join(', ')})`);
    bodies.push(rename(body, names));
    const given = asked.map(([, builtin]) => BUILTINS[builtin!]!(size, shares));
    const end = first + slices * shares;
    const slice = `group.z - ${first}u`;
    calls.push(`if (group.z >= ${first}u && group.z < ${end}u) {
    let z = ${shares === 1 ? slice : `(${slice}) / ${shares}u`};
    let x = ${shares === 1 ? 'group.x' : `group.x + (${slice}) % ${shares}u * groups.x`};
    ${prefix}main(${given.join(', ')});
  }`);
    first = end;
  }
  const source = `${[...directives].join('\n')}
${declarations.join('\n')}
${bodies.join('\n')}
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  ${calls.join(' else ')}
}`;
  const places = parts.map(
    ({ program, slices, shares = 1, buffers }) =>
      `${program.key} x${slices}${shares === 1 ? '' : `/${shares}`} [${buffers.join(' ')}]`,
  );
  return { key: places.join(' | '), source, storage };
}

/** What each name that a module declares is called in the joined one. */
function declaredNames(source: string, prefix: string, aliases: ReadonlyMap<string, string>): Map<string, string> {
  const names = new Map<string, string>();
  const tokens = source.match(TOKEN)!.filter((t) => !BLANK.test(t));
  let depth = 0;
  tokens.forEach((token, i) => {
    if (token === '{' || token === '(') depth++;
    if (token === '}' || token === ')') depth--;
    if (depth > 0 || !['fn', 'struct', 'const', 'override', 'alias', 'var'].includes(token)) return;
    // var<storage, read> name
    const at = tokens[i + 1] === '<' ? tokens.indexOf('>', i) + 1 : i + 1;
    const name = tokens[at]!;
    names.set(name, aliases.get(name) ?? `${prefix}${name}`);
  });
  return names;
}

/** Renames what a module declares, wherever it is meant: not members of structs that are called the same. */
function rename(source: string, names: ReadonlyMap<string, string>): string {
  const tokens = source.match(TOKEN)!;
  const solid = tokens.flatMap((token, i) => (BLANK.test(token) ? [] : [i]));
  let structure = false;
  solid.forEach((at, n) => {
    const token = tokens[at]!;
    const [previous, next] = [tokens[solid[n - 1] ?? -1], tokens[solid[n + 1] ?? -1]];
    if (token === 'struct') structure = true;
    if (token === '}') structure = false;
    const member = previous === '.' || (structure && next === ':');
    if (!member) tokens[at] = names.get(token) ?? token;
  });
  return tokens.join('');
}
