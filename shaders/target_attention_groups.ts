import { ERROR_BUFFER } from './errors.js';
import { declareStorage, type ParameterField, type WebGpuProgram } from './program.js';
import { firstColumns } from './target_attention.js';
import { elementFunctions, placesOf } from './target_attention_native.js';
import {
  attentionFields,
  attentionName,
  declareAttention,
  type TargetAttentionOptions,
} from './target_attention_parts.js';

/** Threads of a group, most groups of a block, and most keys of a row: 64 a group. */
const [GROUP, MOST_GROUPS, KEYS_OF_GROUP] = [128, 4, 64];
/** Registers hold 16 keys' hidden layers: most columns of each. */
const [MOST_FIRST, MOST_SECOND] = [128, 64];

const multiple = (n: number, of: number): number => of * Math.ceil(n / of);

interface Cut {
  readonly groups: number;
  readonly teams: number;
  readonly sharedBytes: number;
}

/** How a block is dealt to rows, and its shared memory: native/kernels/target_attention_groups.cuh lays it out. */
function cutOf(
  options: TargetAttentionOptions,
  sources: number,
  { workgroupBytes, halves }: { readonly workgroupBytes: number; readonly halves: boolean },
): Cut | undefined {
  const { width, length, second } = options;
  const [firstN, secondN] = [multiple(firstColumns(options), 16), multiple(second, 16)];
  const groups = Math.ceil(length / KEYS_OF_GROUP);
  const shares = Math.max(1, Math.floor((GROUP * groups) / (width / 4)));
  // Words along k of a column's weights, in lines of 32.
  const words = (k: number): number => 32 * Math.ceil(k / (halves ? 64 : 32));
  const weights = 2 * words(width) * firstN + words(firstN) * secondN + 2 * secondN;
  const team =
    length * (width + 4) + width + firstN + multiple(length, 4) + shares * width + multiple(sources * length, 4);
  // The units want their operands at multiples of 1024 bytes.
  const bytesOf = (teams: number): number => 1024 + 4 * (weights + teams * team);
  for (let teams = Math.floor(MOST_GROUPS / groups); teams > 0; teams--) {
    if (bytesOf(teams) <= workgroupBytes) return { groups, teams, sharedBytes: bytesOf(teams) };
  }
  return undefined;
}

/** A table that features of the keys are rows of; element type of what picks them. */
export interface KeyTable {
  readonly ids: 'i32' | 'i64';
}

function lookupFields(sources: number): ParameterField[] {
  const names = Array.from({ length: sources }, (_, i) =>
    ['ids_start', 'ids_row', 'ids_step', 'start', 'row', 'first', 'size', 'row_runs', 'code'].map(
      (n) => `table${i}_${n}`,
    ),
  );
  return names.flat().map((name) => ({ name, type: 'u32', length: 1 }));
}

/** Reading the index of a key, and checking it as shaders/gather.ts does: its row of the table, or none. */
function lookupFunctions(tables: readonly KeyTable[], length: number, binding: number): string {
  const each = (code: (i: number) => string): string =>
    tables.map((_, i) => `  if (source == ${i}u) { ${code(i)} }`).join('\n');
  const raw = ({ ids }: KeyTable, i: number): string => {
    const at = `ids${i}[blocks[z].table${i}_ids_start + row * blocks[z].table${i}_ids_row + key * blocks[z].table${i}_ids_step]`;
    if (ids === 'i64') return `return ${at};`;
    return `let id = ${at}; return vec2<u32>(bitcast<u32>(id), select(0u, 0xffffffffu, id < 0));`;
  };
  return `${tables.map(({ ids }, i) => declareStorage(binding + i, `ids${i}`, ids, 'read')).join('\n')}
${tables
  .slice(1)
  .map((_, i) => declareStorage(binding + tables.length + i, `table${i + 1}`, 'f32', 'read'))
  .join('\n')}
${ERROR_BUFFER(binding + 2 * tables.length)}
fn read_id(z: u32, source: u32, row: u32, key: u32) -> vec2<u32> {
${each((i) => raw(tables[i]!, i))}
  return vec2<u32>();
}
fn find_row(z: u32, source: u32, row: u32, key: u32, raw: vec2<u32>) -> u32 {
  let low = bitcast<i32>(raw.x);
  var size = 0u;
  var row_runs = 1u;
  var code = 0u;
${each((i) => `size = blocks[z].table${i}_size; row_runs = blocks[z].table${i}_row_runs; code = blocks[z].table${i}_code;`)}
  let index = select(u32(low), size - u32(-low), low < 0);
  if (raw.y == select(0u, 0xffffffffu, low < 0) && index < size) { return index; }
  let run = row * ${length}u + key;
  report(run / row_runs, code, run % row_runs, raw);
  return 0xffffffffu;
}`;
}

/**
 * Attention to a target on the matrix units of CUDA, by groups of warps, in TF32, or in float16 with `halves`. Bindings: keys, parameters, the line of the
 * first layer, the target, others; with `tables`, the first of them in place of the keys, then behind the others the
 * indices of all and the other tables. Undefined where a block cannot take a row.
 */
export function groupedTargetAttention(
  options: TargetAttentionOptions,
  tables: readonly KeyTable[],
  units: { readonly workgroupBytes: number; readonly halves: boolean },
): WebGpuProgram | undefined {
  const { width, length, first, second, finish } = options;
  const columns = firstColumns(options);
  const sources = tables.length;
  if (width % 8 !== 0 || length > KEYS_OF_GROUP * MOST_GROUPS || columns > MOST_FIRST || second > MOST_SECOND)
    return undefined;
  const cut = cutOf(options, sources, units);
  if (!cut) return undefined;
  const fields = [...attentionFields(options), ...lookupFields(sources)];
  const operands = Math.max(0, 2 * sources - 1);
  const others = finish?.others?.length ?? 0;
  const source = `${declareAttention(options, 'f32', { fields: lookupFields(sources), operands })}
${sources > 0 ? lookupFunctions(tables, length, 5 + others) : ''}
${elementFunctions(options)}`;
  const sourceOf = (i: number): string => {
    const block = 'kernel.blocks[blockIdx.z]';
    const name = i === 0 ? 'keys' : `table${i}`;
    return `{(const f32 *)kernel.${name}.data + ${block}.table${i}_start, ${block}.table${i}_row, ${block}.table${i}_first}`;
  };
  const from =
    sources > 0
      ? tables.map((_, i) => sourceOf(i)).join(', ')
      : '{(const f32 *)kernel.keys.data + kernel.blocks[blockIdx.z].k_start, 0, 0}';
  const sizes = [length, width, first, columns, second, sources, cut.groups, cut.teams, units.halves];
  return {
    key: `TargetAttention_groups_${attentionName(options)}${tables.map(({ ids }) => `_${ids}`).join('')}${units.halves ? '_float16' : ''}`,
    source,
    fields,
    reportsErrors: sources > 0,
    native: {
      header: 'target_attention_groups.cuh',
      call: `const KeySource from[] = {${from}}; GroupedTargetAttention<${sizes.join(', ')}>::run(kernel, {${placesOf(options).join(', ')}}, from)`,
      threads: GROUP * cut.groups * cut.teams,
      residents: 1,
      sharedBytes: cut.sharedBytes,
    },
  };
}
