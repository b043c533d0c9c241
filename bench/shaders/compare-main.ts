/**
 * What became faster and what slower between two runs of main.ts.
 *
 *     npm run build && node dist/bench/shaders/compare-main.js before.json after.json --tolerance 0.05
 *
 * Exit status 1 where an operation became slower.
 */
import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { formatTable, type Column } from '../../src/cli/table.js';
import { compareOperations, type OperationsRun } from './compare.js';

const COLUMNS: readonly Column[] = [
  { title: 'operation' },
  { title: 'us before', align: 'right' },
  { title: 'us after', align: 'right' },
  { title: 'after / before', align: 'right' },
  { title: '' },
  { title: 'kernels' },
];

async function read(file: string): Promise<OperationsRun> {
  return JSON.parse(await readFile(file, 'utf8')) as OperationsRun;
}

const program = new Command('compare')
  .argument('<before>', 'figures of main.ts')
  .argument('<after>', 'figures of a later run')
  .option('--tolerance <share>', 'a change of time that is none', '0.05')
  .action(async (before: string, after: string, options: { readonly tolerance: string }) => {
    const changes = compareOperations(await read(before), await read(after), Number(options.tolerance));
    const rows = changes.map(({ name, before: old, after: now, ratio, kind }) => [
      name,
      old.us.toFixed(1),
      now.us.toFixed(1),
      ratio.toFixed(2),
      kind === 'same' ? '' : kind,
      old.program === now.program ? now.program : `${now.program}, was ${old.program}`,
    ]);
    console.log(formatTable(COLUMNS, rows));
    if (changes.some((c) => c.kind === 'slower')) process.exitCode = 1;
  });
await program.parseAsync();
