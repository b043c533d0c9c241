/**
 * What every Braid kernel shares: one uniform buffer of parameter blocks, of which workgroup z reads block z, so that
 * calls of the same kernel on different operands can run side by side in one dispatch.
 */

/** WGSL element types of storage bindings. int64 is two u32 words, low first. */
export type ElementType = 'f32' | 'i32' | 'u32' | 'i64';

/** A field of a parameter block: one word, or a list of words. Lists are padded to whole vec4s. */
export interface ParameterField {
  readonly name: string;
  readonly type: 'u32' | 'f32';
  /** 1 for a scalar. */
  readonly length: number;
}

/** Bytes of parameter blocks that one dispatch sees; small enough for every adapter's uniform bindings. */
export const PARAMETER_WINDOW_BYTES = 16_384;

/** A WGSL program for one variant of a kernel. Bindings of group 0: 0 parameters, 1.. operands, last the error records. */
export interface WebGpuProgram {
  /** Readable name of the variant, unique for its source; the key of the pipeline cache, of traces and benchmarks. */
  readonly key: string;
  readonly source: string;
  readonly fields: readonly ParameterField[];
  /** Whether the last binding is the error buffer. */
  readonly reportsErrors: boolean;
  /** Of a program for CUDA alone: the entry point, which calls the functions of `source`. */
  readonly native?: NativeEntry;
}

/** A function template of native/kernels that takes the place of `main`. It gets the kernel: its buffers, `blocks`, its functions. */
export interface NativeEntry {
  /** The file that has it. */
  readonly header: string;
  /** The call, over `kernel`. */
  readonly call: string;
  readonly threads: number;
  /** Blocks of a multiprocessor that its registers leave room for. */
  readonly residents: number;
  /** Shared memory that a launch asks for. */
  readonly sharedBytes: number;
}

export interface ParameterLayout {
  /** Offset of each field in words. */
  readonly offsets: ReadonlyMap<string, number>;
  /** Size of a block in words; a multiple of 4. */
  readonly words: number;
  /** Blocks in one window. */
  readonly blocks: number;
}

/** Where each field lies, by WGSL's rules for uniform structs: scalars at 4 bytes, lists of vec4 at 16. */
export function layoutParameters(fields: readonly ParameterField[]): ParameterLayout {
  const offsets = new Map<string, number>();
  let words = 0;
  for (const field of fields) {
    if (field.length > 1) words = Math.ceil(words / 4) * 4;
    offsets.set(field.name, words);
    words += field.length > 1 ? Math.ceil(field.length / 4) * 4 : 1;
  }
  words = Math.max(4, Math.ceil(words / 4) * 4);
  return { offsets, words, blocks: Math.floor(PARAMETER_WINDOW_BYTES / 4 / words) };
}

const STORAGE_TYPE: Record<ElementType, string> = { f32: 'f32', i32: 'i32', u32: 'u32', i64: 'vec2<u32>' };

/** The WGSL type that holds one element. */
export function elementWgsl(type: ElementType): string {
  return STORAGE_TYPE[type];
}

/** The parameter struct and its binding. */
export function declareParameters(fields: readonly ParameterField[]): string {
  const { blocks } = layoutParameters(fields);
  const lines = fields.map(({ name, type, length }) =>
    length > 1 ? `  ${name}: array<vec4<${type}>, ${Math.ceil(length / 4)}>,` : `  ${name}: ${type},`,
  );
  // WGSL wants a struct in a uniform array to have a size that is a multiple of 16 bytes.
  lines[0] = `  @align(16)${lines[0]!.slice(1)}`;
  return `struct Params {\n${lines.join('\n')}\n}\n@group(0) @binding(0) var<uniform> blocks: array<Params, ${blocks}>;`;
}

export function declareStorage(
  binding: number,
  name: string,
  type: ElementType,
  access: 'read' | 'read_write',
  inFours = false,
): string {
  const element = inFours ? `vec4<${elementWgsl(type)}>` : elementWgsl(type);
  return `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: array<${element}>;`;
}

/** Reads word `index` of the list field `name` of block `z`; `index` is known when the shader is written. */
export function listItem(name: string, index: number): string {
  return `blocks[z].${name}[${index >> 2}].${'xyzw'[index & 3]}`;
}

/**
 * Statements that turn the linear index `linear` over the dimensions in `shape` into one offset for each operand.
 * `offsets` maps a variable name to the list field of its strides and the field of its start.
 */
export function stridedOffsets(
  linear: string,
  rank: number,
  shape: string,
  offsets: readonly { readonly variable: string; readonly strides: string; readonly start: string }[],
): string {
  const lines = offsets.map(({ variable, start }) => `var ${variable} = blocks[z].${start};`);
  if (rank > 1) lines.push(`var rest_${shape} = ${linear};`);
  for (let d = rank - 1; d >= 0; d--) {
    const rest = rank > 1 ? `rest_${shape}` : linear;
    const index = `${shape}_${d}`;
    if (d > 0) {
      lines.push(`let ${index} = ${rest} % ${listItem(shape, d)};`, `${rest} = ${rest} / ${listItem(shape, d)};`);
    } else {
      lines.push(`let ${index} = ${rest};`);
    }
    for (const { variable, strides } of offsets) lines.push(`${variable} += ${index} * ${listItem(strides, d)};`);
  }
  return lines.map((l) => `    ${l}`).join('\n');
}

/** CUDA: so many blocks, one a multiprocessor, fill any device that has kernels for its matrix units. */
export const MULTIPROCESSORS = 132;

/** Invocations of a workgroup for kernels without shared memory. */
export function flatWorkgroupSize(maxInvocations: number): number {
  return Math.min(256, maxInvocations);
}

/**
 * The entry point of kernels without shared memory: each invocation takes items `i` of the `count` that the field of
 * that name gives, a grid's width apart, so that one dispatch covers any number. `before` reads what the items share.
 */
export function walkItems(options: {
  readonly count: string;
  readonly workgroupSize: number;
  readonly before?: string;
  readonly body: string;
}): string {
  const { count, workgroupSize, before = '', body } = options;
  return `@compute @workgroup_size(${workgroupSize})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = id.z;
  let count = blocks[z].${count};
${before}
  for (var i = id.x; i < count; i += groups.x * ${workgroupSize}u) {
${body}
  }
}`;
}
