/**
 * Closed-loop concurrency: each client sends its next query when its last is answered.
 *
 *     npm run build && node dist/bench/concurrency/main.js --json results.json --html report.html
 *
 * Queries have their inputs in the caller's own arrays (the convenient form of run()). Latency is from the call to the
 * settled promise. Every scheduling policy gets an engine of its own, and policies take turns.
 */
import { openPolicies } from '../common/braid.js';
import { deviceLine } from '../common/format.js';
import { braidOptions, type BraidChoices } from '../common/options.js';
import { writeOutputs } from '../common/output.js';
import { concurrencyCommand, type ConcurrencyOptions } from './options.js';
import { runConcurrency } from './run.js';

const command = concurrencyCommand('concurrency');
for (const option of braidOptions('main')) command.addOption(option);
const options = command.parse().opts<ConcurrencyOptions & BraidChoices>();

const systems = await openPolicies(options);
console.log(
  `${deviceLine(systems[0]!.device)}, engines in the ${options.thread} thread, ${options.rows} rows a query\n`,
);
const run = await runConcurrency(systems, options.models, { ...options, baselines: ['query', 'batch'] });
await writeOutputs(run, options);
