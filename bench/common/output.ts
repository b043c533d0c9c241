import { Option } from 'commander';
import { writeRun, type Run } from './records.js';

export interface OutputOptions {
  readonly json?: string;
  readonly html?: string;
}

export function jsonOption(): Option {
  return new Option('--json <file>', 'write the figures');
}

export function htmlOption(): Option {
  return new Option('--html <file>', 'write a report with charts');
}

export async function writeOutputs(run: Run, { json, html }: OutputOptions): Promise<void> {
  if (json !== undefined) await writeRun(json, run);
  // Loaded only where it is asked for: its charting library is no dependency of the package.
  if (html !== undefined) await (await import('../report/index.js')).writeReport(html, [run]);
}
