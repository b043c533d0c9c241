import { Command, Option } from 'commander';
import { BraidError } from '../../../runtime/errors.js';
import type { ModelSource } from '../../api.js';
import { ModelRepository, type AddOptions, type ModelStatus } from '../../repository/repository.js';
import { addScanned, LAYOUTS, scanRepository, type Scan } from '../../repository/scan.js';
import { listen } from '../../server/listen.js';
import {
  createServer,
  DEFAULT_KEEP_ALIVE_TIMEOUT_MS,
  DEFAULT_MAX_BODY_BYTES,
  DEFAULT_REQUEST_TIMEOUT_MS,
} from '../../server/server.js';
import { DEFAULT_DRAIN_TIMEOUT_MS, drain, watchSignals } from '../../server/shutdown.js';
import { DEFAULT_SCALE, zooNames } from '../../zoo/index.js';
import type { CliContext } from '../context.js';
import { EXIT, type ExitCode } from '../exit.js';
import { describeDevice, withEngine } from '../model.js';
import {
  adapterOption,
  backendOption,
  parsePort,
  parseSeconds,
  parseSize,
  loadSettings,
  withLoading,
  withScheduling,
  type LoadingOptions,
} from '../options.js';
import { ProgressLine } from '../progress.js';
import { formatBytes } from '../table.js';

export interface ServeOptions extends LoadingOptions {
  readonly zoo?: boolean;
  readonly host: string;
  readonly port: number;
  readonly allowFailed?: boolean;
  readonly maxBody: number;
  readonly requestTimeout: number;
  readonly keepAliveTimeout: number;
  readonly drainTimeout: number;
  readonly logLevel: string;
}

export const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_PORT = 8080;

export function serveCommand(finish: (run: () => Promise<ExitCode>) => Promise<void>, context: CliContext): Command {
  return withScheduling(withLoading(new Command('serve')))
    .description('serve the models of a folder over HTTP (Open Inference Protocol v2)')
    .argument('[dir]', `folder of models: ${LAYOUTS}`)
    .option('--zoo', `serve the zoo's models too: ${zooNames.join(', ')}`)
    .option('--host <host>', 'address to listen on', DEFAULT_HOST)
    .option('--port <port>', 'port to listen on, 0 picks a free one', parsePort, DEFAULT_PORT)
    .addOption(adapterOption())
    .addOption(backendOption())
    .option('--allow-failed', 'call the server ready even where models failed to load')
    .addOption(
      new Option('--max-body <size>', 'largest request body')
        .argParser(parseSize)
        .default(DEFAULT_MAX_BODY_BYTES, formatBytes(DEFAULT_MAX_BODY_BYTES)),
    )
    .option(
      '--request-timeout <s>',
      'how long a request may take to arrive',
      parseSeconds,
      DEFAULT_REQUEST_TIMEOUT_MS / 1000,
    )
    .option(
      '--keep-alive-timeout <s>',
      'how long an idle connection is kept',
      parseSeconds,
      DEFAULT_KEEP_ALIVE_TIMEOUT_MS / 1000,
    )
    .option(
      '--drain-timeout <s>',
      'how long requests in flight may take when the server stops',
      parseSeconds,
      DEFAULT_DRAIN_TIMEOUT_MS / 1000,
    )
    .addOption(
      new Option('--log-level <level>', "least level of the server's log, JSON lines on stderr")
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .action((dir: string | undefined, options: ServeOptions) => finish(() => serve(context, dir, options)));
}

/** Serves until the first SIGINT or SIGTERM, then answers what is in flight and frees everything. */
export async function serve(context: CliContext, dir: string | undefined, options: ServeOptions): Promise<ExitCode> {
  const scan = await findModels(dir, options.zoo ?? false);
  const signals = watchSignals(context.signals);
  try {
    return await withEngine(context, options, async (engine) => {
      const repository = new ModelRepository(engine);
      const server = createServer(repository, {
        logger: options.logLevel === 'silent' ? false : { level: options.logLevel, stream: context.err },
        maxBodyBytes: options.maxBody,
        requestTimeoutMs: options.requestTimeout * 1000,
        keepAliveTimeoutMs: options.keepAliveTimeout * 1000,
        allowFailed: options.allowFailed ?? false,
      });
      try {
        const url = await listen(server, options.host, options.port);
        context.out.write(`computes on ${describeDevice(engine.device)}\nlistening on ${url}\n`);
        // The server answers while models load: health says live, and not ready yet.
        const loaded = loadAll(context, repository, scan, options, signals.stopped);
        await Promise.all([loaded, signals.stopped]);
        context.out.write('stopping: answering what is in flight\n');
      } finally {
        const answered = await drain(server, options.drainTimeout * 1000);
        if (!answered) context.err.write(`requests still running after ${options.drainTimeout} s were cut\n`);
        await repository.close();
      }
      return EXIT.ok;
    });
  } finally {
    signals.release();
  }
}

async function findModels(dir: string | undefined, zoo: boolean): Promise<Scan> {
  if (dir === undefined) {
    if (zoo) return { models: [], ignored: [] };
    throw new BraidError('REQUEST_INVALID', 'nothing to serve: give a folder of models, --zoo, or both');
  }
  const scan = await scanRepository(dir);
  if (scan.models.length === 0 && !zoo) {
    const ignored = scan.ignored.length === 0 ? 'it is empty' : `it holds ${scan.ignored.join(', ')}`;
    throw new BraidError('MODEL_NOT_FOUND', `no model in ${dir}: ${ignored}, expected ${LAYOUTS}`);
  }
  return scan;
}

/** Loads what the scan found and prints each outcome as it comes. Ends early when the server stops. */
async function loadAll(
  context: CliContext,
  repository: ModelRepository,
  scan: Scan,
  options: ServeOptions,
  stopped: Promise<void>,
): Promise<void> {
  if (scan.ignored.length > 0) context.out.write(`passed over (no model): ${scan.ignored.join(', ')}\n`);
  const line = new ProgressLine(context.err);
  const loading: AddOptions = { ...loadSettings(options), onProgress: (progress) => line.update('loading', progress) };
  const outcomes = addScanned(repository, scan, loading);
  for (const model of options.zoo ? zooNames : []) {
    const source: ModelSource = { kind: 'zoo', model, scale: DEFAULT_SCALE };
    outcomes.push(repository.add(model, '1', source, loading));
  }
  const statuses: ModelStatus[] = [];
  for (const outcome of outcomes) {
    const status = await Promise.race([outcome, stopped]);
    line.clear();
    if (!status) return;
    statuses.push(status);
    const { name, version } = status;
    if (status.state === 'ready') {
      const notices = repository.get(name, version).notices.map((notice) => `  ${notice}\n`);
      context.out.write(`loaded ${name} version ${version}\n${notices.join('')}`);
    } else context.out.write(`failed ${name} version ${version}: ${status.reason}\n`);
  }
  context.out.write(
    `serving ${statuses.filter(({ state }) => state === 'ready').length} of ${statuses.length} models\n`,
  );
}
