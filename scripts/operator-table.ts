import type { Composite } from '../runtime/operators/composite.js';
import type { ArithmeticType } from '../runtime/operators/elementwise/types.js';
import type { Operator } from '../runtime/operators/operator.js';
import { FAMILIES } from '../runtime/operators/registry.js';

/** The file that tests the operators of a family, from the root of the repository. */
export function testFile(family: string): string {
  return `test/runtime/operators/${family}.test.ts`;
}

const NAMES: Readonly<Record<ArithmeticType, string>> = {
  f32: 'float',
  i32: 'int32',
  u32: 'uint32',
  i64: 'int64',
  u64: 'uint64',
};
const ALL = Object.keys(NAMES) as ArithmeticType[];

function typesText(types: readonly ArithmeticType[] = ALL): string {
  const kinds = ALL.filter((t) => types.includes(t));
  if (kinds.length === ALL.length) return 'all';
  // What works on words alone works on truth values.
  if (kinds.join() === 'u32') return 'bool';
  if (kinds.join() === 'i32,u32,i64,u64') return 'integers';
  return kinds.map((t) => NAMES[t]).join(', ');
}

function deviceText(operator: Operator | Composite): string {
  if ('expand' in operator) return 'other operators';
  if (!operator.lower) return 'folds at load';
  if (operator.aliases === 'always') return 'a view, nothing runs';
  return operator.aliases === 'sometimes' ? 'kernel, or a view' : 'kernel';
}

/** The lines of a Markdown table. */
function table(rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(rows[0]!), line(rows[0]!.map(() => '---')), ...rows.slice(1).map(line)];
}

const BEGIN = '<!-- operators: written by `npm run docs:operators` -->';
const END = '<!-- end of operators -->';

/** The table of docs/operators.md: everything that the registry says. */
export function operatorTable(): string {
  const rows = Object.entries(FAMILIES)
    .flatMap(([family, operators]) => (operators as readonly (Operator | Composite)[]).map((o) => ({ family, o })))
    .toSorted((a, b) => (a.o.type < b.o.type ? -1 : 1))
    .map(({ family, o }) => [
      `\`${o.domain ? `${o.domain}.` : ''}${o.type}\``,
      o.opsets.join(' to '),
      typesText(o.types),
      [deviceText(o), o.note].filter(Boolean).join('; '),
      'expand' in o ? 'other operators' : 'float64',
      `[${family}](../${testFile(family)})`,
    ]);
  const heads = ['operator', 'opsets', 'types', 'webgpu', 'reference', 'tested by'];
  return table([heads, ...rows]).join('\n');
}

/** `page` with its table of operators written anew. */
export function withOperatorTable(page: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`the page has no '${BEGIN}' before '${END}'`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${operatorTable()}\n\n${page.slice(end)}`;
}
