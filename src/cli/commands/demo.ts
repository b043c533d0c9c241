import { Command } from 'commander';
import type { JsonElement } from '../../io/index.js';
import { ModelRepository } from '../../repository/repository.js';
import { listen } from '../../server/listen.js';
import { createServer } from '../../server/server.js';
import { DEFAULT_DRAIN_TIMEOUT_MS, drain, watchSignals } from '../../server/shutdown.js';
import { describeModel, zooInputs, zooNames } from '../../zoo/index.js';
import type { CliContext } from '../context.js';
import { EXIT, type ExitCode } from '../exit.js';
import { describeDevice, withEngine } from '../model.js';
import { adapterOption, backendOption, parsePort, type EngineOptions } from '../options.js';
import { ProgressLine } from '../progress.js';
import { curlLine, postQuery, queryBody } from '../query.js';
import { DEFAULT_HOST } from './serve.js';

export interface DemoOptions extends EngineOptions {
  readonly port: number;
  readonly once?: boolean;
}

const SCALE = 'demo';
const ROWS = 4;
const SEED = 1;

export function demoCommand(finish: (run: () => Promise<ExitCode>) => Promise<void>, context: CliContext): Command {
  return (
    new Command('demo')
      .description("serve the zoo's models, predict once with each over HTTP, and keep serving")
      // Any port will do for a demo, so a busy one never stops it.
      .option('--port <port>', 'port to listen on, 0 picks a free one', parsePort, 0)
      .addOption(adapterOption())
      .addOption(backendOption())
      .option('--once', 'stop after the predictions')
      .action((options: DemoOptions) => finish(() => demo(context, options)))
  );
}

export async function demo(context: CliContext, options: DemoOptions): Promise<ExitCode> {
  const signals = watchSignals(context.signals);
  try {
    return await withEngine(context, options, async (engine) => {
      const repository = new ModelRepository(engine);
      const server = createServer(repository);
      try {
        const url = await listen(server, DEFAULT_HOST, options.port);
        context.out.write(`computes on ${describeDevice(engine.device)}\nlistening on ${url}\n\n`);
        const predicted = predictAll(context, repository, url).then(() => true);
        // Cut short by Ctrl-C it fails on the closed server, which nobody wants to read.
        predicted.catch(() => false);
        if (!(await Promise.race([predicted, signals.stopped]))) return EXIT.ok;
        context.out.write(`\ntry it:\n${shortestCurl(url)}\n`);
        if (!options.once) {
          context.out.write('\nserving until Ctrl-C\n');
          await signals.stopped;
        }
      } finally {
        await drain(server, DEFAULT_DRAIN_TIMEOUT_MS);
        await repository.close();
      }
      return EXIT.ok;
    });
  } finally {
    signals.release();
  }
}

/** Loads each model and asks it once, over the same HTTP that any client uses. */
async function predictAll(context: CliContext, repository: ModelRepository, url: string): Promise<void> {
  const line = new ProgressLine(context.err);
  for (const name of zooNames) {
    await repository.add(
      name,
      '1',
      { kind: 'zoo', model: name, scale: SCALE },
      { onProgress: (progress) => line.update(name, progress) },
    );
    line.clear();
    const { outputs, latencyMs } = await postQuery(inferUrl(url, name), queryBody(zooInputs(name, SCALE, ROWS, SEED)));
    const { title } = describeModel(name, SCALE);
    const values = outputs.map((output) => `${output.name} [${output.data.map(short).join(', ')}]`).join('  ');
    context.out.write(`${name.padEnd(5)} ${title.padEnd(30)} ${values}  ${latencyMs.toFixed(1)} ms (first request)\n`);
  }
}

/** The query of one row that makes the shortest line to paste. */
function shortestCurl(url: string): string {
  const lines = zooNames.map((name) => curlLine(inferUrl(url, name), queryBody(zooInputs(name, SCALE, 1, SEED))));
  return lines.reduce((shortest, line) => (line.length < shortest.length ? line : shortest));
}

function inferUrl(url: string, model: string): string {
  return `${url}/v2/models/${model}/infer`;
}

function short(value: JsonElement): string {
  return typeof value === 'number' ? value.toPrecision(4) : String(value);
}
