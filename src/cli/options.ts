import { InvalidArgumentError, Option } from 'commander';
import type { AdapterChoice } from '../device/index.js';

export interface EngineOptions {
  readonly adapter: AdapterChoice;
}

export interface LoadingOptions extends EngineOptions {
  readonly rows: 'auto' | 'lift';
  readonly shared?: readonly string[];
}

export function adapterOption(): Option {
  return new Option('--adapter <kind>', 'which adapter computes')
    .choices(['auto', 'hardware', 'software'])
    .default('auto');
}

export function rowsOption(): Option {
  return new Option('--rows <mode>', 'lift: fixed leading dimensions become a free number of rows')
    .choices(['auto', 'lift'])
    .default('auto');
}

export function sharedOption(): Option {
  return new Option('--shared <input>', 'an input that all rows of a query share; repeatable').argParser(collect);
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
