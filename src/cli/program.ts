import { Command, CommanderError } from 'commander';
import { BraidError } from '../../runtime/errors.js';
import { packageVersion } from '../server/version.js';
import { checkCommand } from './commands/check.js';
import { demoCommand } from './commands/demo.js';
import { doctorCommand } from './commands/doctor.js';
import { inspectCommand } from './commands/inspect.js';
import { runCommand } from './commands/run.js';
import { serveCommand } from './commands/serve.js';
import { tuneCommand } from './commands/tune.js';
import type { CliContext } from './context.js';
import { EXIT, reportError, type ExitCode } from './exit.js';

const COMMANDS = [serveCommand, demoCommand, runCommand, checkCommand, inspectCommand, tuneCommand, doctorCommand];

/**
 * Runs the command line and reports its errors.
 * @param args what follows the program's name.
 * @returns the exit status: 0, 1 where `check` or `doctor` found a fault, 2 where the command could not be carried out.
 */
export async function runCli(args: readonly string[], context: CliContext): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok;
  const finish = async (run: () => Promise<ExitCode>) => {
    code = await run();
  };
  try {
    await program(finish, context).parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) return reportError(context, error);
    // Help and version are no errors; they are printed by now.
    if (error.exitCode === 0) return EXIT.ok;
    // No command at all: commander has printed the help to stderr.
    if (error.code === 'commander.help') return EXIT.error;
    return reportError(context, new BraidError('REQUEST_INVALID', error.message.replace(/^error: /, '')));
  }
}

function program(finish: (run: () => Promise<ExitCode>) => Promise<void>, context: CliContext): Command {
  const program = new Command('braid')
    .description('portable GPU inference for recommendation models')
    .version(packageVersion(), '-V, --version');
  for (const command of COMMANDS) program.addCommand(command(finish, context));
  // Commander hands these to subcommands only as it makes them itself, so each gets its own.
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => context.out.write(text),
      writeErr: (text) => context.err.write(text),
      // Usage errors are reported where all others are.
      outputError: () => {},
    });
  }
  return program;
}
