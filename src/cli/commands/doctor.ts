import { Command } from 'commander';
import type { CliContext, DeviceReport } from '../context.js';
import { EXIT, type ExitCode } from '../exit.js';
import { formatFields } from '../table.js';

export interface DoctorOptions {
  readonly json?: boolean;
}

export function doctorCommand(finish: (run: () => Promise<ExitCode>) => Promise<void>, context: CliContext): Command {
  return new Command('doctor')
    .description('show which adapter Braid finds, what it can do, and what is missing')
    .option('--json', 'print JSON')
    .action((options: DoctorOptions) => finish(() => doctor(context, options)));
}

/** Limits of drawing: nothing that Braid does depends on them. */
const GRAPHICS_LIMIT = /Texture|Sampler|Vertex|Color|InterStage|Fragment/;

export async function doctor(context: CliContext, options: DoctorOptions): Promise<ExitCode> {
  const report = await context.describeDevices();
  context.out.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
  return report.found ? EXIT.ok : EXIT.failed;
}

export function formatReport({ found, tried }: DeviceReport): string {
  const sections: string[] = [];
  if (found) {
    const limits = Object.entries(found.limits)
      .filter(([name]) => !GRAPHICS_LIMIT.test(name))
      .map(([name, value]) => [name, value.toLocaleString('en-US')] as const);
    sections.push(
      formatFields([
        ['adapter', `${found.adapter}${found.software ? ' (software)' : ''}`],
        ['backend', found.backend],
        ['origin', found.origin],
        ['vendor', found.vendor],
        ['driver', found.driver],
        ['features', found.features.join(', ') || 'none'],
      ]),
      `limits\n${indent(formatFields(limits))}`,
    );
  } else sections.push('no adapter found\n');
  const lines = tried.flatMap(({ origin, ok, detail, fix }) => [
    `${ok ? 'ok' : 'no'}  ${origin}: ${detail}\n`,
    ...(fix === undefined ? [] : [`    fix: ${fix}\n`]),
  ]);
  if (lines.length > 0) sections.push(`tried\n${indent(lines.join(''))}`);
  return sections.join('\n');
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ');
}
