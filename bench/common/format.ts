import type { Column } from '../../src/cli/table.js';
import type { DeviceRecord } from './records.js';

export interface Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
}

/** Columns of names, then columns of numbers. */
export function columns(names: readonly string[], numbers: readonly string[]): readonly Column[] {
  return [...names.map((title) => ({ title })), ...numbers.map((title) => ({ title, align: 'right' as const }))];
}

/** Missing figures are shown as a dash. */
export function fixed(value: number | null, digits: number): string {
  return value === null ? '-' : value.toFixed(digits);
}

export function percent(value: number | null): string {
  return value === null ? '-' : `${(100 * value).toFixed(1)} %`;
}

export function deviceLine({ adapter, driver, origin }: DeviceRecord): string {
  return [adapter, driver && `driver ${driver}`, origin && `(${origin})`].filter(Boolean).join(' ');
}
