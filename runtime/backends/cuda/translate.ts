import type { WebGpuProgram } from '../../../shaders/program.js';

/** A kernel as CUDA C++, and what launching it takes. */
export interface CudaSource {
  readonly source: string;
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** Shared memory that a launch asks for, beside what the source declares. */
  readonly sharedBytes: number;
}

/** Name of the kernel in every source. */
export const ENTRY_POINT = 'braid_kernel';

/** What the source includes; see native/kernels/wgsl.cuh. */
export const HEADER = 'wgsl.cuh';

const TOKEN =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|[A-Za-z_]\w*|0[xX][0-9a-fA-F]+[iu]?|(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?[iuf]?|->|\+\+|--|<<=?|[-+*/%&|^=!<]=|&&|\|\||\s+|./g;
const BLANK = /^\s|^\/[/*]/;

/** Words of C++ and CUDA that WGSL leaves to be names. */
const RESERVED = new Set(
  `auto char class delete double enum explicit extern float friend goto half inline int long namespace new operator private
   protected public register short signed sizeof static template this throw try typedef typename union unsigned using
   virtual void volatile wchar_t`.split(/\s+/),
);

/** Tokens of a stretch of WGSL without comments and white space. */
class Reader {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(source: string) {
    this.#tokens = (source.match(TOKEN) ?? []).filter((t) => !BLANK.test(t));
  }

  get done(): boolean {
    return this.#at >= this.#tokens.length;
  }

  peek(ahead = 0): string | undefined {
    return this.#tokens[this.#at + ahead];
  }

  next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Error('a shader ends in the middle of a declaration');
    return token;
  }

  expect(token: string): void {
    const found = this.next();
    if (found !== token) throw new Error(`a shader has '${found}' where '${token}' was expected`);
  }

  /** The tokens up to the bracket that closes the one just read; reads that too. */
  balanced(open: string, close: string): string[] {
    const inside: string[] = [];
    for (let depth = 1; ;) {
      const token = this.next();
      if (token === open) depth++;
      if (token === close && --depth === 0) return inside;
      inside.push(token);
    }
  }

  /** The tokens up to `end`, outside of brackets; reads that too. */
  until(end: string): string[] {
    const inside: string[] = [];
    for (let depth = 0; ;) {
      const token = this.next();
      if (token === end && depth === 0) return inside;
      if ('([{'.includes(token)) depth++;
      if (')]}'.includes(token)) depth--;
      inside.push(token);
    }
  }
}

interface Buffer {
  readonly binding: number;
  readonly access: 'read' | 'read_write';
  readonly name: string;
  readonly type: string;
}

const BUILTINS: Readonly<Record<string, (threads: number) => string>> = {
  workgroup_id: () => 'vec3<u32>(blockIdx.x, blockIdx.y, blockIdx.z)',
  global_invocation_id: (threads) => `vec3<u32>(blockIdx.x * ${threads}u + threadIdx.x, blockIdx.y, blockIdx.z)`,
  local_invocation_index: () => 'threadIdx.x',
  local_invocation_id: () => 'vec3<u32>(threadIdx.x, 0u, 0u)',
  num_workgroups: () => 'vec3<u32>(gridDim.x, gridDim.y, gridDim.z)',
};

function name(token: string): string {
  return RESERVED.has(token) ? `${token}_` : token;
}

/** `array<atomic<u32>>` and the like as C++; the types of wgsl.cuh have WGSL's names. */
function type(tokens: readonly string[]): string {
  const text = tokens.join(' ');
  return text.replaceAll(/\batomic < (\w+) >/g, '$1').replaceAll(/\bptr < \w+ , ([^,]+?)(?: , \w+)? >$/g, '$1 *');
}

/** A literal or a name, as an expression has it. */
function word(token: string, previous: string | undefined): string {
  if (/^(?:\d|\.\d)/.test(token)) {
    if (/^0[xX]/.test(token)) return token.replace(/i$/, '');
    if (/[.eE]/.test(token)) return token.endsWith('f') ? token : `${token}f`;
    return token.endsWith('f') ? `${token.slice(0, -1)}.0f` : token.replace(/i$/, '');
  }
  // Swizzles of several components are functions; a single one is a member.
  if (previous === '.') return /^[xyzw]{2,4}$/.test(token) ? `${token}()` : token;
  return name(token);
}

/** Statements, or an expression. */
function body(tokens: readonly string[]): string {
  const reader = new Reader(tokens.join(' '));
  const out: string[] = [];
  let previous: string | undefined;
  /** Until the end of a declaration: the other name of what it shadows. */
  const before = new Map<string, string>();
  while (!reader.done) {
    const token = reader.next();
    if (token === ';') before.clear();
    if (token === 'let' || token === 'var' || token === 'const')
      out.push(shadowed(reader, before), declaration(token, reader));
    else if (token === 'loop') out.push('for (;;)');
    else out.push(previous !== '.' && before.has(token) ? before.get(token)! : word(token, previous));
    previous = token;
    if (token === ';' || token === '{' || token === '}') out.push('\n');
  }
  // `>` closes a list of types or begins an operator; only here is it the latter.
  return out.join(' ').replaceAll('> > =', '>>=').replaceAll('> >', '>>').replaceAll('> =', '>=');
}

/**
 * A variable may be made of one of the same name outside: C++ has the new one stand for itself already. What this returns
 * declares another name for the old one, which `body` puts in the value.
 */
function shadowed(reader: Reader, before: Map<string, string>): string {
  const called = reader.peek()!;
  before.clear();
  for (let ahead = 1; reader.peek(ahead) !== undefined && reader.peek(ahead) !== ';'; ahead++) {
    if (reader.peek(ahead) !== called || reader.peek(ahead - 1) === '.' || reader.peek(ahead + 1) === '(') continue;
    before.set(called, `${called}_before`);
    return `const auto ${called}_before = ${name(called)}; `;
  }
  return '';
}

/** What stands behind `let` or `var`, up to its value. */
function declaration(kind: string, reader: Reader): string {
  const called = name(reader.next());
  let declared = 'auto';
  if (reader.peek() === ':') {
    reader.next();
    const tokens: string[] = [];
    for (let depth = 0; depth > 0 || (reader.peek() !== '=' && reader.peek() !== ';');) {
      const token = reader.next();
      if (token === '<') depth++;
      if (token === '>') depth--;
      tokens.push(token);
    }
    declared = type(tokens);
  }
  const isValued = reader.peek() === '=';
  return `${kind === 'var' ? '' : 'const '}${declared} ${called}${isValued ? '' : ` = ${declared}()`}`;
}

/** `name: type, name: type` with their attributes. */
function parameters(tokens: readonly string[]): { name: string; type: string; builtin: string | undefined }[] {
  if (tokens.length === 0) return [];
  const reader = new Reader(`${tokens.join(' ')} ,`);
  const list: { name: string; type: string; builtin: string | undefined }[] = [];
  while (!reader.done) {
    let builtin: string | undefined;
    while (reader.peek() === '@') {
      reader.next();
      const attribute = reader.next();
      if (reader.peek() !== '(') continue;
      reader.next();
      const value = reader.balanced('(', ')').join(' ');
      if (attribute === 'builtin') builtin = value;
    }
    const called = name(reader.next());
    reader.expect(':');
    const tokens: string[] = [];
    for (let depth = 0; depth > 0 || reader.peek() !== ',';) {
      const token = reader.next();
      if (token === '<') depth++;
      if (token === '>') depth--;
      tokens.push(token);
    }
    reader.next();
    list.push({ name: called, type: type(tokens), builtin });
    if (reader.peek() === ',') reader.next();
  }
  return list;
}

/**
 * A program for WebGPU as CUDA C++: the same kernel for both, so that every operator runs on either, with the same checks on
 * ids. Takes the WGSL that Braid's shaders are written in, not all of it: declarations of functions, structs, constants,
 * buffers and workgroup memory; `let`, `var`, `for`, `while`, `loop`, `if`; no `switch`, no pointers to buffers.
 *
 * A kernel's functions become members of a struct that holds its buffers, since CUDA has no variables that a launch
 * sets. Its only argument is a struct too: where every buffer lies and its size in bytes, then the parameter blocks.
 * @param blocks parameter blocks of a launch.
 */
export function translate(program: WebGpuProgram, blocks: number): CudaSource {
  const reader = new Reader(program.source);
  const buffers: Buffer[] = [];
  const globals: string[] = [];
  const functions: string[] = [];
  const { native } = program;
  let threads = native?.threads ?? 0;
  let entry: ReturnType<typeof parameters> = [];
  while (!reader.done) {
    const attributes = new Map<string, string>();
    while (reader.peek() === '@') {
      reader.next();
      const attribute = reader.next();
      attributes.set(attribute, reader.peek() === '(' ? (reader.next(), reader.balanced('(', ')').join(' ')) : '');
    }
    const token = reader.next();
    if (token === ';') continue;
    if (token === 'enable' || token === 'requires' || token === 'diagnostic') reader.until(';');
    else if (token === 'const') globals.push(`constexpr ${declaration('var', reader)} ${body(reader.until(';'))};`);
    else if (token === 'struct') {
      const called = name(reader.next());
      reader.expect('{');
      const members = parameters(trimComma(reader.balanced('{', '}')));
      globals.push(`struct alignas(16) ${called} {\n${members.map((m) => `  ${m.type} ${m.name};`).join('\n')}\n};`);
    } else if (token === 'var') {
      reader.expect('<');
      const space = reader.balanced('<', '>');
      const called = name(reader.next());
      reader.expect(':');
      const declared = reader.until(';');
      if (space[0] === 'workgroup') globals.push(`__shared__ ${type(declared)} ${called};`);
      else if (space[0] === 'storage') {
        const access = space[2] === 'read_write' ? 'read_write' : 'read';
        buffers.push({
          binding: Number(attributes.get('binding')),
          access,
          name: called,
          type: type(declared.slice(2, -1)),
        });
      }
    } else if (token === 'fn') {
      const called = name(reader.next());
      reader.expect('(');
      const list = parameters(trimComma(reader.balanced('(', ')')));
      let result = 'void';
      if (reader.peek() === '->') {
        reader.next();
        const tokens: string[] = [];
        while (reader.peek() !== '{') tokens.push(reader.next());
        result = type(tokens);
      }
      reader.expect('{');
      const statements = body(reader.balanced('{', '}'));
      if (attributes.has('compute')) {
        threads = Number(attributes.get('workgroup_size'));
        entry = list;
      }
      const given = list.map((p) => `${p.type} ${p.name}`).join(', ');
      functions.push(`BRAID_DEVICE ${result} ${called}(${given}) const {\n${statements}\n}`);
    } else throw new Error(`shader ${program.key}: '${token}' is not translated to CUDA`);
  }
  buffers.sort((a, b) => a.binding - b.binding);
  const members = buffers.map((b) => `  ${b.access === 'read' ? 'Reading' : 'Writing'}<${b.type}> ${b.name};`);
  const initial = buffers.map((_, i) => `{a.buffers[${i}].data, a.buffers[${i}].bytes}`);
  const call = entry.map((p) => BUILTINS[p.builtin!]!(threads)).join(', ');
  return {
    threads,
    sharedBytes: native?.sharedBytes ?? 0,
    source: `#include "${HEADER}"
${native ? `#include "${native.header}"\n` : ''}namespace wgsl {
${globals.join('\n')}
struct Place { const void *data; unsigned long long bytes; };
struct Arguments { Place buffers[${buffers.length}]; Params blocks[${blocks}]; };
struct Kernel {
  const Params *blocks;
${members.join('\n')}
${functions.join('\n')}
};
}
extern "C" __global__ void __launch_bounds__(${threads}${native ? `, ${native.residents}` : ''}) ${ENTRY_POINT}(const __grid_constant__ wgsl::Arguments a) {
  using namespace wgsl;
  const Kernel kernel{a.blocks, ${initial.join(', ')}};
  ${native ? native.call : `kernel.main(${call})`};
}
`,
  };
}

function trimComma(tokens: readonly string[]): readonly string[] {
  return tokens.at(-1) === ',' ? tokens.slice(0, -1) : tokens;
}
