import { InvalidArgumentError, Option } from 'commander';
import { PRODUCT_PRECISIONS, type ProductPrecision } from '../../runtime/compile/kernel.js';
import { POLICY_NAMES, TABLE_PRECISIONS, WEIGHT_PRECISIONS, type Precision } from '../../runtime/index.js';
import {
  zooNames,
  zooScales,
  BACKENDS,
  type AdapterChoice,
  type BackendChoice,
  type PolicyName,
} from '../../src/index.js';
import { MIX, sharedNames } from './queries.js';
import type { QuerySizes } from './sizes.js';

/** Which engines of Braid a benchmark opens. */
export interface BraidChoices {
  readonly policies: readonly PolicyName[];
  readonly maxBatchRows?: number;
  readonly queueDelayMs?: number;
  readonly thread: 'main' | 'worker';
  readonly adapter: AdapterChoice;
  readonly backend: BackendChoice;
  readonly lanes?: number;
  readonly tables?: Precision['tables'];
  readonly weights?: Precision['weights'];
  readonly products?: ProductPrecision;
  /** Whether queries are arrays of the caller's or lie in memory that the engine lends, written once. */
  readonly inputs: 'own' | 'lent';
}

export function parsePositive(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value > 0 && value < Number.POSITIVE_INFINITY)) throw new InvalidArgumentError('expected a number above 0.');
  return value;
}

export function parseDelay(text: string): number {
  return text.trim() === '0' ? 0 : parsePositive(text);
}

export function parseCount(text: string): number {
  const value = parsePositive(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError('expected a whole number above 0.');
  return value;
}

export function parseCounts(text: string): readonly number[] {
  return text.split(',').map(parseCount);
}

export function parseSizes(text: string): QuerySizes {
  return text === 'mlperf' ? text : parseCount(text);
}

/** A parser of lists of names, such as `wnd,din`. */
export function namesOf<T extends string>(known: readonly T[]): (text: string) => readonly T[] {
  return (text) =>
    text.split(',').map((name) => {
      const found = known.find((other) => other === name);
      if (found === undefined) throw new InvalidArgumentError(`'${name}' is none of ${known.join(', ')}.`);
      return found;
    });
}

const workloadNames: readonly string[] = [...zooNames, ...sharedNames, MIX];

export function modelsOption(): Option {
  return new Option('--models <names>', `of ${workloadNames.join(', ')}; ${MIX} is all models at once`)
    .argParser(namesOf(workloadNames))
    .default(workloadNames, workloadNames.join(','));
}

export function sizesOption(): Option {
  return new Option('--rows <n|mlperf>', 'candidates a query; mlperf: 100 to 700, 270 on average')
    .argParser(parseSizes)
    .default(256);
}

export function scaleOption(): Option {
  return new Option('--scale <name>', 'scale of the zoo').choices([...zooScales]).default('bench');
}

export function braidOptions(thread: BraidChoices['thread']): readonly Option[] {
  return [
    new Option('--policies <names>', `scheduling policies, an engine each, of ${POLICY_NAMES.join(', ')}`)
      .argParser(namesOf<PolicyName>(POLICY_NAMES))
      .default(POLICY_NAMES, POLICY_NAMES.join(',')),
    new Option('--max-batch-rows <n>', 'most rows of a batch').argParser(parseCount),
    new Option('--queue-delay-ms <ms>', 'longest wait for a batch to fill, for the policy batch').argParser(parseDelay),
    new Option('--tables <type>', 'how tables are stored').choices(TABLE_PRECISIONS),
    new Option('--weights <type>', 'how matrices are stored').choices(WEIGHT_PRECISIONS),
    new Option('--products <type>', 'as what matrix products multiply').choices(PRODUCT_PRECISIONS),
    new Option('--thread <where>', 'thread that owns the device').choices(['main', 'worker']).default(thread),
    new Option('--adapter <kind>', 'which adapter computes').choices(['auto', 'hardware', 'software']).default('auto'),
    new Option('--backend <name>', 'what computes').choices(BACKENDS).default('webgpu'),
    new Option(
      '--inputs <whose>',
      "queries in arrays of the caller's, or written once into memory that the engine lends",
    )
      .choices(['own', 'lent'])
      .default('own'),
    new Option('--lanes <n>', 'streams of the backend cuda').argParser(parseCount),
  ];
}
