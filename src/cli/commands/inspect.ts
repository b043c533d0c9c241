import { Command } from 'commander';
import type { ModelSummary, PrecisionSummary, TensorSpec } from '../../api.js';
import type { CliContext } from '../context.js';
import { EXIT, type ExitCode } from '../exit.js';
import { describeDevice, withModel } from '../model.js';
import { adapterOption, backendOption, sharedOption, withLoading, type LoadingOptions } from '../options.js';
import { formatBytes, formatFields, formatTable } from '../table.js';

export interface InspectOptions extends LoadingOptions {
  readonly json?: boolean;
}

export function inspectCommand(finish: (run: () => Promise<ExitCode>) => Promise<void>, context: CliContext): Command {
  return withLoading(new Command('inspect'))
    .description("show a model's interface, operators, plan, placement and memory")
    .argument('<model>', 'path of an .onnx file, zoo:NAME or zoo:NAME:SCALE')
    .option('--json', 'print JSON')
    .addOption(sharedOption())
    .addOption(adapterOption())
    .addOption(backendOption())
    .action((model: string, options: InspectOptions) => finish(() => inspect(context, model, options)));
}

export async function inspect(context: CliContext, text: string, options: InspectOptions): Promise<ExitCode> {
  return withModel(context, text, options, async (model, { device }) => {
    const summary = await model.summary();
    context.out.write(
      options.json
        ? `${JSON.stringify({ ...summary, device }, null, 2)}\n`
        : `${formatSummary(summary)}\ndevice  ${describeDevice(device)}\n`,
    );
    return EXIT.ok;
  });
}

export function formatSummary(summary: ModelSummary): string {
  const { memory, rowsPerWave } = summary;
  const operators = Object.entries(summary.operators).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  const sections = [
    formatFields([
      ['model', summary.name],
      ['parameters', summary.parameters.toLocaleString('en-US')],
      ['weights', formatBytes(memory.weightBytes)],
      ...formatPrecision(summary.precision),
      ['arena', formatBytes(memory.arenaBytes)],
      ['staging', formatBytes(memory.stagingBytes)],
      ['folded nodes', String(summary.foldedNodes)],
      ['dispatches', `${summary.dispatches} a wave`],
      ['placement', summary.placement],
      ['rows per wave', rowsPerWave === undefined ? 'rows cannot be split' : rowsPerWave.toLocaleString('en-US')],
      ...(summary.rowsMixedBy === undefined ? [] : [['rows mixed by', summary.rowsMixedBy] as const]),
    ]),
    formatSpecs('input', summary.inputs),
    formatSpecs('output', summary.outputs),
    formatTable(
      [{ title: 'operator' }, { title: 'nodes', align: 'right' }],
      operators.map(([name, count]) => [name, String(count)]),
    ),
    `plan\n${summary.plan.map((step) => `  ${step}\n`).join('')}`,
  ];
  if (summary.notices.length > 0)
    sections.push(`notices\n${summary.notices.map((notice) => `  ${notice}\n`).join('')}`);
  return sections.join('\n');
}

/** A line on what is stored in fewer bits than float32, where anything is. */
function formatPrecision({ float16, int8, savedBytes }: PrecisionSummary): (readonly [string, string])[] {
  const stored = [...(float16 > 0 ? [`${float16} as float16`] : []), ...(int8 > 0 ? [`${int8} as int8`] : [])];
  return stored.length === 0
    ? []
    : [['stored', `${stored.join(', ')}; ${formatBytes(savedBytes)} less than as float32`]];
}

function formatSpecs(title: string, specs: readonly TensorSpec[]): string {
  return formatTable(
    [{ title }, { title: 'type' }, { title: 'shape' }],
    specs.map(({ name, dtype, shape }) => [name, dtype, `[${shape.join(', ')}]`]),
  );
}
