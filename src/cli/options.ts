import { InvalidArgumentError, Option, type Command } from 'commander';
import { PRODUCT_PRECISIONS, type ProductPrecision } from '../../runtime/compile/kernel.js';
import { POLICY_NAMES, type PolicyName, type ScheduleOptions } from '../../runtime/schedule/policy.js';
import { TABLE_PRECISIONS, WEIGHT_PRECISIONS, type Precision } from '../../runtime/compile/precision.js';
import type { LoadSettings } from '../api.js';
import { BACKENDS, type AdapterChoice, type BackendChoice } from '../device/index.js';

export interface EngineOptions extends Partial<SchedulingOptions> {
  readonly adapter: AdapterChoice;
  readonly backend?: BackendChoice;
}

/** What the options of scheduling give. */
export interface SchedulingOptions {
  readonly policy: PolicyName;
  readonly queueDelay?: number;
  readonly maxBatchRows?: number;
  readonly maxQueue?: number;
  readonly trace?: string;
}

/** Adds the options that say how waiting queries become waves. */
export function withScheduling(command: Command): Command {
  return command
    .addOption(
      new Option('--policy <name>', 'how waiting queries are made into waves').choices(POLICY_NAMES).default('recos'),
    )
    .option('--queue-delay <ms>', 'how long a query may wait for company (default: 0; 1 for batch)', parseMilliseconds)
    .option('--max-batch-rows <n>', "most rows of a wave (default: the model's capacity)", parseCount)
    .option('--max-queue <n>', 'queries that may wait; one more is refused (default: 16384)', parseCount)
    .option('--trace <file>', 'write a Chrome trace, for ui.perfetto.dev; slows the device down');
}

export function scheduleOf({ policy, queueDelay, maxBatchRows, maxQueue }: EngineOptions): ScheduleOptions {
  return {
    ...(policy === undefined ? {} : { policy }),
    ...(queueDelay === undefined ? {} : { queueDelayMs: queueDelay }),
    ...(maxBatchRows === undefined ? {} : { maxBatchRows }),
    ...(maxQueue === undefined ? {} : { maxQueue }),
  };
}

function parseMilliseconds(text: string): number {
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(ms <= 60_000))
    throw new InvalidArgumentError('expected a number of milliseconds up to 60000, such as 2 or 0.5.');
  return ms;
}

export function parseCount(text: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  if (count < 1 || !Number.isSafeInteger(count)) throw new InvalidArgumentError('expected a whole number, 1 or more.');
  return count;
}

export interface LoadingOptions extends EngineOptions {
  readonly rows: 'auto' | 'lift';
  readonly shared?: readonly string[];
  readonly tables?: Precision['tables'];
  readonly weights?: Precision['weights'];
  readonly products?: ProductPrecision;
}

/** Adds the options that say how a model is loaded, but for which inputs are shared. */
export function withLoading(command: Command): Command {
  return command
    .addOption(
      new Option('--rows <mode>', 'lift: fixed leading dimensions become a free number of rows')
        .choices(['auto', 'lift'])
        .default('auto'),
    )
    .addOption(new Option('--tables <type>', 'how embedding tables are stored on the device').choices(TABLE_PRECISIONS))
    .addOption(new Option('--weights <type>', 'how matrices are stored on the device').choices(WEIGHT_PRECISIONS))
    .addOption(productsOption());
}

/** What they gave. */
export function loadSettings({ rows, shared, tables, weights, products }: LoadingOptions): LoadSettings {
  const precision = { ...(tables ? { tables } : {}), ...(weights ? { weights } : {}) };
  return {
    rows,
    ...(shared === undefined ? {} : { shared }),
    ...(tables || weights ? { precision } : {}),
    ...(products === undefined ? {} : { products }),
  };
}

export function adapterOption(): Option {
  return new Option('--adapter <kind>', 'which adapter computes')
    .choices(['auto', 'hardware', 'software'])
    .default('auto');
}

export function backendOption(): Option {
  return new Option('--backend <name>', 'what computes: WebGPU, or the CUDA addon').choices(BACKENDS).default('webgpu');
}

export function sharedOption(): Option {
  return new Option('--shared <input>', 'an input that all rows of a query share; repeatable').argParser(collect);
}

export function productsOption(): Option {
  return new Option('--products <precision>', 'as what matrix products multiply, where the device can')
    .choices(PRODUCT_PRECISIONS)
    .default('float32');
}

export function parsePort(text: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65535)) throw new InvalidArgumentError('expected a number from 0 to 65535.');
  return port;
}

export function parseSeconds(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  // Node's timers hold 31 bits of milliseconds.
  if (!(seconds * 1000 < 2 ** 31)) throw new InvalidArgumentError('expected a number of seconds such as 10 or 0.5.');
  return seconds;
}

export function parseTolerance(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
    throw new InvalidArgumentError('expected a number such as 1e-5, 0 or more.');
  }
  return value;
}

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 };

/** `1048576`, `512KiB`, `64MiB`, `1GiB`. */
export function parseSize(text: string): number {
  const match = /^(\d+)\s*([a-z]*)$/i.exec(text);
  const unit = match && SIZE_UNITS[match[2]!.toUpperCase()];
  const bytes = unit ? Number(match[1]) * unit : 0;
  if (bytes < 1 || !Number.isSafeInteger(bytes)) {
    throw new InvalidArgumentError('expected a number of bytes such as 1048576, 512KiB, 64MiB or 1GiB.');
  }
  return bytes;
}

/** Gathers an option that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}
