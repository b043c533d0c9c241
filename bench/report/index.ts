import { writeFile } from 'node:fs/promises';
import type { Run } from '../common/records.js';
import { page } from './html.js';
import { runSection } from './sections.js';

/** Runs as one static page. */
export async function renderReport(runs: readonly Run[]): Promise<string> {
  const sections: string[] = [];
  for (const run of runs) sections.push(await runSection(run));
  return page('Braid benchmarks', sections.join('\n'));
}

export async function writeReport(file: string, runs: readonly Run[]): Promise<void> {
  await writeFile(file, await renderReport(runs));
}
