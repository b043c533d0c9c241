import { Command } from 'commander';
import { modelsOption, parseCount, parseCounts, parsePositive, scaleOption, sizesOption } from '../common/options.js';
import { htmlOption, jsonOption, type OutputOptions } from '../common/output.js';
import type { ConcurrencySettings } from './measure.js';

/** Options of every closed-loop benchmark, whichever systems it measures. */
export interface ConcurrencyOptions extends Omit<ConcurrencySettings, 'baselines'>, OutputOptions {
  readonly models: readonly string[];
}

export function concurrencyCommand(name: string): Command {
  return new Command(name)
    .addOption(modelsOption())
    .option('--clients <list>', 'numbers of clients', parseCounts, [1, 8, 15, 22, 30])
    .addOption(sizesOption())
    .addOption(scaleOption())
    .option('--seconds <s>', 'measured for each system, model and number of clients', parsePositive, 1.5)
    .option('--warmup <s>', "before each of a system's turns", parsePositive, 0.3)
    .option('--rounds <n>', 'turns that the measured time is split over', parseCount, 3)
    .addOption(jsonOption())
    .addOption(htmlOption());
}
