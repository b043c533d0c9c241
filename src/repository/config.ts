import {
  checkPrecision,
  TABLE_PRECISIONS,
  WEIGHT_PRECISIONS,
  type Precision,
} from '../../runtime/compile/precision.js';
import { PRODUCT_PRECISIONS, type ProductPrecision } from '../../runtime/compile/kernel.js';
import { BraidError } from '../../runtime/errors.js';

/** What `braid.json` beside a model may set. */
export interface ModelConfig {
  /** See LoadOptions.rows of the engine. Default: what the server was started with. */
  readonly rows?: 'auto' | 'lift';
  /** See LoadOptions.shared of the engine. */
  readonly shared_inputs?: readonly string[];
  /** See LoadOptions.precision of the engine. Default: what the server was started with. */
  readonly precision?: Precision;
  /** See LoadOptions.products of the engine. Default: what the server was started with. */
  readonly products?: ProductPrecision;
  /** `latest` loads the highest version folder, `all` loads every one. */
  readonly versions: 'latest' | 'all';
}

export const DEFAULT_MODEL_CONFIG: ModelConfig = { versions: 'latest' };

/** What a key takes: a test of a value, and how a message says it. */
interface Accepted {
  readonly expected: string;
  accepts(value: unknown): boolean;
}

function oneOf(...names: readonly string[]): Accepted {
  return {
    expected: `one of ${quoted(names)}`,
    accepts: (value) => typeof value === 'string' && names.includes(value),
  };
}

const PRECISION: Accepted = {
  expected: `an object of 'tables' (${TABLE_PRECISIONS.join(', ')}) and 'weights' (${WEIGHT_PRECISIONS.join(', ')})`,
  accepts(value) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    try {
      checkPrecision(value);
      return true;
    } catch {
      return false;
    }
  },
};

const NAMES: Accepted = {
  expected: 'a list of names',
  accepts: (value) => Array.isArray(value) && value.every((name) => typeof name === 'string'),
};

/** Every key with the values it takes; the checker and its messages read this one table. */
const KEYS: { readonly [Key in keyof Required<ModelConfig>]: Accepted } = {
  rows: oneOf('auto', 'lift'),
  shared_inputs: NAMES,
  precision: PRECISION,
  products: oneOf(...PRODUCT_PRECISIONS),
  versions: oneOf('latest', 'all'),
};

/**
 * Reads the text of a braid.json.
 * @param path names the file in messages.
 * @throws BraidError FILE_UNREADABLE that names the file, the key, what was found and what was expected.
 */
export function parseModelConfig(text: string, path: string): ModelConfig {
  const fail = (message: string) => new BraidError('FILE_UNREADABLE', `${path}: ${message}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BraidError('FILE_UNREADABLE', `${path} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw fail(`expected a JSON object such as {"rows": "lift"}, found ${JSON.stringify(value)}`);
  }
  const config: Record<string, unknown> = { ...DEFAULT_MODEL_CONFIG };
  for (const [key, found] of Object.entries(value)) {
    if (!Object.hasOwn(KEYS, key)) {
      throw fail(`unknown key '${key}', expected one of ${quoted(Object.keys(KEYS))}`);
    }
    const { accepts, expected } = KEYS[key as keyof ModelConfig];
    if (!accepts(found)) throw fail(`'${key}' is ${JSON.stringify(found)}, expected ${expected}`);
    config[key] = found;
  }
  return config as unknown as ModelConfig;
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}
