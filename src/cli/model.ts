import type { DeviceInfo, Engine, Model, ModelSource } from '../api.js';
import { DEFAULT_SCALE, describeModel } from '../zoo/index.js';
import type { CliContext } from './context.js';
import { loadSettings, scheduleOf, type EngineOptions, type LoadingOptions } from './options.js';
import { ProgressLine } from './progress.js';

const ZOO_PREFIX = 'zoo:';

/**
 * Reads a MODEL argument: the path of an .onnx file, `zoo:NAME` or `zoo:NAME:SCALE`.
 * @throws BraidError MODEL_NOT_FOUND that lists the zoo's models or scales.
 */
export function parseModel(text: string): ModelSource {
  if (!text.startsWith(ZOO_PREFIX)) return { kind: 'file', path: text };
  const [name = '', ...rest] = text.slice(ZOO_PREFIX.length).split(':');
  const scale = rest.length === 0 ? DEFAULT_SCALE : rest.join(':');
  // Asked for its own check: a wrong name is told before a device is opened.
  const entry = describeModel(name, scale);
  return { kind: 'zoo', model: entry.model, scale: entry.scale };
}

/** One line that says what computes. */
export function describeDevice(device: DeviceInfo): string {
  return `${device.adapter} (${device.backend}, ${device.origin}${device.software ? ', software' : ''})`;
}

/** Opens an engine, lends it, and closes it whatever happens. */
export async function withEngine<T>(
  context: CliContext,
  options: EngineOptions,
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const engine = await context.openEngine({
    adapter: options.adapter,
    ...(options.backend === undefined ? {} : { backend: options.backend }),
    schedule: scheduleOf(options),
    ...(options.trace === undefined ? {} : { trace: options.trace }),
  });
  try {
    return await use(engine);
  } finally {
    await engine.close();
  }
}

/** Loads the model of a MODEL argument, with progress on a terminal, and lends it. */
export async function withModel<T>(
  context: CliContext,
  text: string,
  options: LoadingOptions,
  use: (model: Model, engine: Engine) => Promise<T>,
): Promise<T> {
  const source = parseModel(text);
  return withEngine(context, options, async (engine) => {
    const line = new ProgressLine(context.err);
    let model: Model;
    try {
      model = await engine.load(source, {
        ...loadSettings(options),
        onProgress: (progress) => line.update(text, progress),
      });
    } finally {
      line.clear();
    }
    return use(model, engine);
  });
}
