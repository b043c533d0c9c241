import { Command } from 'commander';
import type { TunedProduct } from '../../tuning/table.js';
import type { CliContext } from '../context.js';
import { EXIT, type ExitCode } from '../exit.js';
import { describeDevice, parseModel } from '../model.js';
import { adapterOption, loadSettings, parseCount, sharedOption, withLoading, type LoadingOptions } from '../options.js';
import { formatTable } from '../table.js';

export interface TuneCommandOptions extends LoadingOptions {
  readonly waves: readonly number[];
  readonly output?: string;
}

/** Rows of a wave: a query alone, a few together, many. */
const WAVES = [64, 256, 1024, 3840, 7680];

export function tuneCommand(finish: (run: () => Promise<ExitCode>) => Promise<void>, context: CliContext): Command {
  return withLoading(new Command('tune'))
    .description('measure which tiles suit the matrix products of a model on this GPU, for later loads')
    .argument('<model>', 'path of an .onnx file, zoo:NAME or zoo:NAME:SCALE')
    .option('--waves <list>', 'numbers of rows to measure', parseCounts, WAVES)
    .option('--output <file>', "file to write (default: the adapter's in the user's cache folder)")
    .addOption(sharedOption())
    .addOption(adapterOption())
    .action((model: string, options: TuneCommandOptions) => finish(() => tune(context, model, options)));
}

function parseCounts(text: string): number[] {
  return text.split(',').map((part) => parseCount(part));
}

export async function tune(context: CliContext, text: string, options: TuneCommandOptions): Promise<ExitCode> {
  const { adapter, waves, output } = options;
  const { device, path, products } = await context.tuneModel(parseModel(text), {
    adapter,
    settings: loadSettings(options),
    rows: waves,
    ...(output === undefined ? {} : { output }),
    onProduct: (_, done, total) => {
      if (context.err.isTTY) context.err.write(`product ${done} of ${total}\n`);
    },
  });
  context.out.write(
    products.length === 0
      ? `${describeDevice(device)} chooses no tiles for this model: nothing to measure\n`
      : `${formatProducts(products)}\n${describeDevice(device)}: written to ${path}\n`,
  );
  return EXIT.ok;
}

function formatProducts(products: readonly TunedProduct[]): string {
  return formatTable(
    [
      { title: 'm x n x k' },
      { title: 'operands' },
      { title: 'us', align: 'right' },
      { title: 'TFLOP/s', align: 'right' },
      { title: 'tile' },
    ],
    products.flatMap(({ n, k, a, b, measured }) =>
      measured.map(({ m, us, tile }) => [
        `${m} x ${n} x ${k}`,
        `${a}, ${b}`,
        us.toFixed(1),
        ((2 * m * n * k) / us / 1e6).toFixed(1),
        tileText(tile),
      ]),
    ),
  );
}

function tileText(tile: TunedProduct['measured'][number]['tile']): string {
  if (!('tileM' in tile) || !('tileK' in tile)) return tile.kind;
  const { kind, tileM, tileN, tileK } = tile;
  const registers = 'threadM' in tile ? `, ${tile.threadM}x${tile.threadN}` : '';
  return `${kind} ${tileM}x${tileN}x${tileK}${registers}`;
}
