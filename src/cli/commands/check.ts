import { Command } from 'commander';
import { readCase } from '../cases.js';
import { compareTensors, passes, type Comparison } from '../compare.js';
import type { CliContext } from '../context.js';
import { EXIT, type ExitCode } from '../exit.js';
import { withModel } from '../model.js';
import {
  adapterOption,
  backendOption,
  parseTolerance,
  sharedOption,
  withLoading,
  type LoadingOptions,
} from '../options.js';
import { formatTable, type Column } from '../table.js';

export interface CheckOptions extends LoadingOptions {
  readonly rtol: number;
  readonly atol: number;
}

const COLUMNS: readonly Column[] = [
  { title: 'case' },
  { title: 'output' },
  { title: 'elements', align: 'right' },
  { title: 'max abs', align: 'right' },
  { title: 'max rel', align: 'right' },
  { title: 'result' },
  { title: 'largest difference' },
];

export function checkCommand(finish: (run: () => Promise<ExitCode>) => Promise<void>, context: CliContext): Command {
  return withLoading(new Command('check'))
    .description('run a model on recorded inputs and compare its outputs with the recorded ones')
    .argument('<model>', 'path of an .onnx file, zoo:NAME or zoo:NAME:SCALE')
    .argument('<file...>', 'safetensors with tensors in.NAME and out.NAME, or folders of input_K.pb and output_K.pb')
    .option('--rtol <number>', 'relative tolerance', parseTolerance, 1e-4)
    .option('--atol <number>', 'absolute tolerance', parseTolerance, 1e-5)
    .addOption(sharedOption())
    .addOption(adapterOption())
    .addOption(backendOption())
    .action((model: string, files: string[], options: CheckOptions) =>
      finish(() => check(context, model, files, options)),
    );
}

export async function check(
  context: CliContext,
  text: string,
  files: readonly string[],
  options: CheckOptions,
): Promise<ExitCode> {
  return withModel(context, text, options, async (model) => {
    const rows: string[][] = [];
    let ok = true;
    for (const file of files) {
      const { inputs, expected } = await readCase(file, model);
      const actual = await model.run(Object.fromEntries(inputs), { outputs: [...expected.keys()] });
      for (const [name, tensor] of expected) {
        const comparison = compareTensors(actual[name]!, tensor, options);
        ok &&= passes(comparison);
        rows.push([file, name, ...formatComparison(comparison)]);
      }
    }
    context.out.write(formatTable(COLUMNS, rows));
    context.out.write(`${ok ? 'passed' : 'FAILED'} at rtol ${options.rtol}, atol ${options.atol}\n`);
    return ok ? EXIT.ok : EXIT.failed;
  });
}

function formatComparison(comparison: Comparison): string[] {
  const { elements, failures, maxAbsolute, maxRelative, worst, mismatch } = comparison;
  if (mismatch !== undefined) return [String(elements), '-', '-', 'FAILED', mismatch];
  return [
    String(elements),
    formatError(maxAbsolute),
    formatError(maxRelative),
    failures === 0 ? 'ok' : `FAILED (${failures})`,
    worst ? `[${worst.position.join(', ')}] is ${worst.actual}, expected ${worst.expected}` : '-',
  ];
}

function formatError(value: number): string {
  return value === 0 || value === Number.POSITIVE_INFINITY ? String(value) : value.toExponential(2);
}
