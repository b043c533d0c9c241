import type { Engine, LoadOptions, Model, ModelSource } from './api.js';
import { openEngine } from './engine.js';

/** The engine that `load` shares, while any model it loaded is open. */
let shared: { readonly engine: Promise<Engine>; models: number } | undefined;

async function release(): Promise<void> {
  if (!shared || --shared.models > 0) return;
  const { engine } = shared;
  shared = undefined;
  await engine.then(
    (e) => e.close(),
    () => {},
  );
}

/**
 * Loads a model on a device that all models loaded this way share; it is opened with the first and closed with the last.
 * @param source path of an ONNX file, its bytes, or a ModelSource.
 * @throws BraidError MODEL_UNREADABLE, MODEL_UNSUPPORTED, MODEL_INVALID, DEVICE_UNAVAILABLE, OVERLOADED.
 */
export async function load(source: string | Uint8Array | ModelSource, options?: LoadOptions): Promise<Model> {
  shared ??= { engine: openEngine(), models: 0 };
  shared.models++;
  try {
    const engine = await shared.engine;
    const model = await engine.load(sourceOf(source), options);
    let disposed: Promise<void> | undefined;
    return {
      name: model.name,
      inputs: model.inputs,
      outputs: model.outputs,
      notices: model.notices,
      run: (inputs, runOptions) => model.run(inputs, runOptions),
      summary: () => model.summary(),
      dispose: () => (disposed ??= model.dispose().finally(release)),
    };
  } catch (error) {
    await release();
    throw error;
  }
}

function sourceOf(source: string | Uint8Array | ModelSource): ModelSource {
  if (typeof source === 'string') return { kind: 'file', path: source };
  return source instanceof Uint8Array ? { kind: 'bytes', bytes: source } : source;
}
