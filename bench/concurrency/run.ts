import { formatTable } from '../../src/cli/table.js';
import { workload } from '../common/queries.js';
import { commandLine, type ConcurrencyFigures, type ConcurrencyRun } from '../common/records.js';
import type { System } from '../common/systems.js';
import { measureWorkload, type ConcurrencySettings } from './measure.js';
import { concurrencyTable } from './table.js';

/** Measures systems on each workload, prints figures as they come, and closes the systems. */
export async function runConcurrency(
  systems: readonly System[],
  workloads: readonly string[],
  settings: ConcurrencySettings,
): Promise<ConcurrencyRun> {
  const figures: ConcurrencyFigures[] = [];
  for (const name of workloads) {
    const measured = await measureWorkload(systems, workload(name), settings, (level) => {
      const { columns, rows } = concurrencyTable(level);
      console.log(formatTable(columns, rows));
    });
    figures.push(...measured);
  }
  for (const system of systems) await system.close();
  return {
    bench: 'concurrency',
    date: new Date().toISOString(),
    command: commandLine(),
    device: systems[0]!.device,
    rows: String(settings.rows),
    scale: settings.scale,
    figures,
  };
}
