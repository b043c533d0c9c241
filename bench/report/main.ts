/**
 * Turns the JSON files of benchmarks into one HTML page with charts that needs no network.
 *
 *     npm run build && node dist/bench/report/main.js concurrency.json traffic.json --html report.html
 */
import { Command } from 'commander';
import { readRun } from '../common/records.js';
import { writeReport } from './index.js';

const program = new Command('report')
  .argument('<files...>', 'what bench/concurrency, bench/traffic and bench/peers wrote')
  .option('--html <file>', 'the page', 'report.html')
  .action(async (files: string[], { html }: { html: string }) => {
    await writeReport(html, await Promise.all(files.map(readRun)));
    console.log(html);
  });
await program.parseAsync();
