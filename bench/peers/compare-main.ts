/**
 * Puts Braid's and its peers' closed-loop figures into one table.
 *
 *     npm run build && node dist/bench/peers/compare-main.js braid.json torch.json ort.json --to "onnxruntime webgpu"
 */
import { Command } from 'commander';
import { formatTable } from '../../src/cli/table.js';
import { deviceLine } from '../common/format.js';
import { htmlOption, jsonOption, writeOutputs, type OutputOptions } from '../common/output.js';
import { readRun } from '../common/records.js';
import { concurrencyTable } from '../concurrency/table.js';
import { compareRuns, type NamedRun } from './compare.js';

async function readConcurrency(file: string): Promise<NamedRun> {
  const run = await readRun(file);
  if (run.bench !== 'concurrency') throw new Error(`${file}: expected closed-loop figures, found bench '${run.bench}'`);
  return { file, run };
}

const program = new Command('compare')
  .argument('<files...>', 'what bench/concurrency and the peers wrote')
  .option('--to <system>', 'system and variant that means are divided by', 'braid recos')
  .addOption(jsonOption())
  .addOption(htmlOption())
  .action(async (files: string[], options: OutputOptions & { readonly to: string }) => {
    const compared = compareRuns(await Promise.all(files.map(readConcurrency)), options.to);
    const { columns, rows } = concurrencyTable(compared.figures);
    console.log(`${deviceLine(compared.device)}, ${compared.rows} rows a query\n\n${formatTable(columns, rows)}`);
    await writeOutputs(compared, options);
  });
await program.parseAsync();
