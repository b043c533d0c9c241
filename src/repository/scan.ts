import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BraidError, toBraidError } from '../../runtime/errors.js';
import { DEFAULT_MODEL_CONFIG, parseModelConfig, type ModelConfig } from './config.js';
import { isVersion, type AddOptions, type ModelRepository, type ModelStatus } from './repository.js';

const MODEL_FILE = 'model.onnx';
const CONFIG_FILE = 'braid.json';
const EXTENSION = '.onnx';

export const LAYOUTS = `NAME${EXTENSION}, NAME/${MODEL_FILE} or NAME/1/${MODEL_FILE}`;

/** A version found in a folder: the file to load, or why there is none. */
export type ScannedVersion =
  | { readonly version: string; readonly path: string }
  | { readonly version: string; readonly error: BraidError };

export interface ScannedModel {
  readonly name: string;
  readonly config: ModelConfig;
  /** Those to load, from low to high; never empty. */
  readonly versions: readonly ScannedVersion[];
}

export interface Scan {
  readonly models: readonly ScannedModel[];
  /** Names of entries that hold no model, so that nothing is passed over in silence. */
  readonly ignored: readonly string[];
}

/**
 * Finds the models in a folder. Entries whose name starts with a dot are skipped, symbolic links are followed.
 * A model whose files contradict themselves becomes a version with an error; it does not end the scan.
 * @throws BraidError FILE_UNREADABLE where the folder itself cannot be listed.
 */
export async function scanRepository(folder: string): Promise<Scan> {
  const models = new Map<string, ScannedModel>();
  const ignored: string[] = [];
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry);
    const isFolder = await isDirectory(path);
    const name = isFolder ? entry : entry.slice(0, -EXTENSION.length);
    let model: ScannedModel | undefined;
    if (isFolder) model = await scanModelFolder(name, path);
    else if (entry.endsWith(EXTENSION) && name !== '') {
      model = { name, config: DEFAULT_MODEL_CONFIG, versions: [{ version: '1', path }] };
    }
    if (!model) ignored.push(entry);
    else if (models.has(name)) models.set(name, ambiguous(name, folder));
    else models.set(name, model);
  }
  return { models: [...models.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), ignored };
}

/** Registers everything a scan found; each promise settles with the outcome of one version. */
export function addScanned(repository: ModelRepository, scan: Scan, defaults: AddOptions = {}): Promise<ModelStatus>[] {
  return scan.models.flatMap(({ name, config, versions }) =>
    versions.map(async (found) => {
      if ('error' in found) return repository.addFailed(name, found.version, found.error);
      const options = { ...defaults, ...configuredOptions(config) };
      return repository.add(name, found.version, { kind: 'file', path: found.path }, options);
    }),
  );
}

/** What braid.json says goes before what the server was started with. */
function configuredOptions({ rows, shared_inputs: shared, precision, products }: ModelConfig): AddOptions {
  return {
    ...(rows ? { rows } : {}),
    ...(shared ? { shared } : {}),
    ...(precision ? { precision } : {}),
    ...(products ? { products } : {}),
  };
}

async function scanModelFolder(name: string, folder: string): Promise<ScannedModel | undefined> {
  let entries: string[];
  try {
    entries = await entriesOf(folder);
  } catch (error) {
    return failedModel(name, '1', toBraidError(error));
  }
  const numbered: string[] = [];
  for (const entry of entries) {
    if (isVersion(entry) && (await isDirectory(join(folder, entry)))) numbered.push(entry);
  }
  numbered.sort((a, b) => Number(a) - Number(b));
  const hasModel = entries.includes(MODEL_FILE);
  const hasConfig = entries.includes(CONFIG_FILE);
  if (!hasModel && !hasConfig && numbered.length === 0) return undefined;

  const newest = numbered.at(-1) ?? '1';
  const failed = (error: BraidError) => failedModel(name, newest, error);
  let config = DEFAULT_MODEL_CONFIG;
  if (hasConfig) {
    const path = join(folder, CONFIG_FILE);
    try {
      config = parseModelConfig(await readFile(path, 'utf8'), path);
    } catch (error) {
      return failed(error instanceof BraidError ? error : unreadable(path, error));
    }
  }
  if (hasModel && numbered.length > 0) {
    return failed(
      new BraidError(
        'MODEL_INVALID',
        `${folder} holds both ${MODEL_FILE} and version folders, expected one or the other`,
      ),
    );
  }
  if (hasModel) return { name, config, versions: [{ version: '1', path: join(folder, MODEL_FILE) }] };
  if (numbered.length === 0) return failed(missingModel(folder));

  const wanted = config.versions === 'all' ? numbered : [newest];
  const versions: ScannedVersion[] = [];
  for (const version of wanted) {
    const inside = join(folder, version);
    const path = join(inside, MODEL_FILE);
    versions.push((await exists(path)) ? { version, path } : { version, error: missingModel(inside) });
  }
  return { name, config, versions };
}

function ambiguous(name: string, folder: string): ScannedModel {
  const error = new BraidError(
    'MODEL_INVALID',
    `${folder} holds both ${name}${EXTENSION} and a folder ${name}, expected one or the other`,
  );
  return failedModel(name, '1', error);
}

function failedModel(name: string, version: string, error: BraidError): ScannedModel {
  return { name, config: DEFAULT_MODEL_CONFIG, versions: [{ version, error }] };
}

function missingModel(folder: string): BraidError {
  return new BraidError('FILE_UNREADABLE', `${folder} holds no ${MODEL_FILE}`);
}

function unreadable(path: string, error: unknown): BraidError {
  return new BraidError('FILE_UNREADABLE', `cannot read ${path}: ${toBraidError(error).message}`, { cause: error });
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  } catch (error) {
    throw unreadable(folder, error);
  }
}

/** False for what cannot be read too (a dangling link, say): loading it then fails with the system's own reason. */
async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
