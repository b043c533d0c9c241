/**
 * Open-loop traffic: queries arrive when they arrive, at a rate that follows a curve, whether or not earlier ones are
 * answered. Latency counts from when a query was due.
 *
 *     npm run build && node dist/bench/traffic/main.js --rate 2000 --sla-ms 10 --search --json traffic.json
 */
import { Command } from 'commander';
import { formatTable } from '../../src/cli/table.js';
import { openPolicies } from '../common/braid.js';
import { deviceLine, type Table } from '../common/format.js';
import {
  braidOptions,
  modelsOption,
  namesOf,
  parseCount,
  parsePositive,
  scaleOption,
  sizesOption,
  type BraidChoices,
} from '../common/options.js';
import { htmlOption, jsonOption, writeOutputs, type OutputOptions } from '../common/output.js';
import { workload } from '../common/queries.js';
import { commandLine, type SearchFigures, type TrafficFigures } from '../common/records.js';
import { curveNames, type CurveName } from './curves.js';
import { measureCurve, searchRates, withContestants, type SearchSettings, type TrafficSettings } from './measure.js';
import { searchTable, trafficTable } from './table.js';

interface Options extends TrafficSettings, SearchSettings, BraidChoices, OutputOptions {
  readonly models: readonly string[];
  readonly search: boolean;
  readonly deadlineMs?: number;
}

function print({ columns, rows }: Table): void {
  console.log(formatTable(columns, rows));
}

const command = new Command('traffic')
  .addOption(modelsOption())
  .option('--curves <names>', `of ${curveNames.join(', ')}`, namesOf<CurveName>(curveNames), curveNames)
  .option('--rate <n>', 'mean queries a second', parsePositive, 1000)
  .addOption(sizesOption())
  .addOption(scaleOption())
  .option('--seconds <s>', 'length of a curve', parsePositive, 4)
  .option('--warmup <s>', 'before each of them', parsePositive, 0.3)
  .option('--rounds <n>', 'times that each policy gets a curve, with new arrivals', parseCount, 2)
  .option('--bins <n>', 'points of latency over arrival time', parseCount, 40)
  .option('--seed <n>', 'of the arrivals', parseCount, 1)
  .option('--sla-ms <ms>', 'latency that a query has to be answered within', parsePositive, 10)
  .option('--deadline-ms <ms>', 'deadline that each query is sent with', parsePositive)
  .option('--search', 'search the highest rate at which 99 % of the queries meet the SLA', false)
  .option('--probe-seconds <s>', 'least time of a rate that is tried', parsePositive, 2)
  .option('--probe-queries <n>', 'least queries of it', parseCount, 1000)
  .option('--tolerance <share>', 'how closely the rate is searched', parsePositive, 0.05)
  .option('--max-probes <n>', 'most rates tried', parseCount, 14)
  .addOption(jsonOption())
  .addOption(htmlOption());
for (const option of braidOptions('worker')) command.addOption(option);
const options = command.parse().opts<Options>();

const systems = await openPolicies(options);
const { device } = systems[0]!;
console.log(
  `${deviceLine(device)}, engines in the ${options.thread} thread, ${options.rows} rows a query, SLA ${options.slaMs} ms\n`,
);
const figures: TrafficFigures[] = [];
const searches: SearchFigures[] = [];
for (const model of options.models) {
  await withContestants(systems, workload(model), options, async (contestants) => {
    for (const curve of options.curves) {
      const measured = await measureCurve(contestants, model, curve, options);
      figures.push(...measured);
      print(trafficTable(measured));
      if (!options.search) continue;
      const found = await searchRates(contestants, model, curve, options, options);
      searches.push(...found);
      print(searchTable(found));
    }
  });
}
for (const system of systems) await system.close();
await writeOutputs(
  {
    bench: 'traffic',
    date: new Date().toISOString(),
    command: commandLine(),
    device,
    rows: String(options.rows),
    scale: options.scale,
    slaMs: options.slaMs,
    deadlineMs: options.deadlineMs ?? null,
    figures,
    searches,
  },
  options,
);
