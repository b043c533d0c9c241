/**
 * Closed-loop concurrency: each client sends its next query when its last is answered.
 *
 *     npm run build && node dist/bench/concurrency/main.js --json results.json --html report.html
 *
 * Queries have their inputs in the caller's own arrays (the convenient form of run()). Latency is from the call to the
 * settled promise. Every scheduling policy gets an engine of its own, and policies take turns.
 */
import { Command } from 'commander';
import { formatTable } from '../../src/cli/table.js';
import { openPolicies } from '../common/braid.js';
import { deviceLine } from '../common/format.js';
import {
  adapterOption,
  modelsOption,
  parseCount,
  parseCounts,
  parsePositive,
  policiesOption,
  scaleOption,
  sizesOption,
  threadOption,
  type ThreadOptions,
} from '../common/options.js';
import { htmlOption, jsonOption, writeOutputs, type OutputOptions } from '../common/output.js';
import { workload } from '../common/queries.js';
import { commandLine, type ConcurrencyFigures } from '../common/records.js';
import type { PolicyName } from '../common/scheduling.js';
import { measureWorkload, type ConcurrencySettings } from './measure.js';
import { concurrencyTable } from './table.js';

interface Options extends Omit<ConcurrencySettings, 'baselines'>, ThreadOptions, OutputOptions {
  readonly models: readonly string[];
  readonly policies: readonly PolicyName[];
  readonly maxBatchRows?: number;
  readonly queueDelayMs?: number;
}

const options = new Command('concurrency')
  .addOption(modelsOption())
  .addOption(policiesOption())
  .option('--clients <list>', 'numbers of clients', parseCounts, [1, 8, 15, 22, 30])
  .addOption(sizesOption())
  .addOption(scaleOption())
  .option('--seconds <s>', 'measured for each policy, model and number of clients', parsePositive, 1.5)
  .option('--warmup <s>', "before each of a policy's turns", parsePositive, 0.3)
  .option('--rounds <n>', 'turns that the measured time is split over', parseCount, 3)
  .option('--max-batch-rows <n>', 'most rows of a batch', parseCount)
  .option('--queue-delay-ms <ms>', 'longest wait for a batch to fill', parsePositive)
  .addOption(threadOption('main'))
  .addOption(adapterOption())
  .addOption(jsonOption())
  .addOption(htmlOption())
  .parse()
  .opts<Options>();

const systems = await openPolicies(options.policies, options);
const { device } = systems[0]!;
console.log(`${deviceLine(device)}, engines in the ${options.thread} thread, ${options.rows} rows a query\n`);
const figures: ConcurrencyFigures[] = [];
const settings = { ...options, baselines: ['query', 'batch'] };
for (const name of options.models) {
  figures.push(
    ...(await measureWorkload(systems, workload(name), settings, (level) => {
      const { columns, rows } = concurrencyTable(level);
      console.log(formatTable(columns, rows));
    })),
  );
}
for (const system of systems) await system.close();
await writeOutputs(
  {
    bench: 'concurrency',
    date: new Date().toISOString(),
    command: commandLine(),
    device,
    rows: String(options.rows),
    scale: options.scale,
    figures,
  },
  options,
);
