import { describe, expect, test } from 'vitest';
import { BraidError } from '../../../runtime/errors.js';
import { isVersion, ModelRepository } from '../../../src/repository/repository.js';
import { FakeEngine, gate } from '../server/fake.js';

const ZOO = { kind: 'zoo', model: 'wnd' } as const;

function caught(act: () => unknown): BraidError {
  try {
    act();
  } catch (error) {
    if (error instanceof BraidError) return error;
    throw error;
  }
  throw new Error('expected a BraidError');
}

describe('ModelRepository', () => {
  test('lists a model as loading at once, and serves it when it is loaded', async () => {
    const engine = new FakeEngine();
    const { opened, open } = gate();
    engine.hold = opened;
    const repository = new ModelRepository(engine);
    const loading = repository.add('wnd', '1', ZOO, { rows: 'lift' });
    expect(repository.list()).toEqual([{ name: 'wnd', version: '1', state: 'loading' }]);
    expect(caught(() => repository.get('wnd'))).toMatchObject({
      code: 'MODEL_NOT_READY',
      message: "model 'wnd' version 1 is still loading",
    });
    open();
    expect(await loading).toEqual({ name: 'wnd', version: '1', state: 'ready' });
    expect(repository.get('wnd').name).toBe('wnd');
    expect(engine.loads).toEqual([{ source: ZOO, options: { name: 'wnd', rows: 'lift' } }]);
  });

  test('the highest version is the default, compared as numbers', async () => {
    const repository = new ModelRepository(new FakeEngine());
    await repository.add('m', '10', ZOO);
    await repository.add('m', '9', ZOO);
    expect(repository.versions('m')).toEqual(['9', '10']);
    expect(repository.status('m').version).toBe('10');
    expect(repository.get('m')).toBe(repository.get('m', '10'));
    expect(repository.get('m', '9')).not.toBe(repository.get('m', '10'));
  });

  test('a load that fails leaves the others serving, and is listed with its reason', async () => {
    const repository = new ModelRepository(new FakeEngine());
    await repository.add('m', '1', ZOO);
    const outcome = await repository.add('m', '2', { kind: 'file', path: 'm/2/broken.onnx' });
    expect(outcome).toEqual({
      name: 'm',
      version: '2',
      state: 'failed',
      reason: 'm/2/broken.onnx is not an ONNX file',
    });
    expect(caught(() => repository.get('m'))).toMatchObject({
      code: 'MODEL_NOT_READY',
      message: "model 'm' version 2 failed to load: m/2/broken.onnx is not an ONNX file (ready: version 1)",
    });
    expect(repository.get('m', '1').name).toBe('m');
  });

  test('loads run one after another, in the order they were added', async () => {
    const engine = new FakeEngine();
    const { opened, open } = gate();
    engine.hold = opened;
    const repository = new ModelRepository(engine);
    const all = Promise.all([repository.add('a', '1', ZOO), repository.add('b', '1', ZOO)]);
    await Promise.resolve();
    await Promise.resolve();
    expect(engine.loads.map(({ options }) => options.name)).toEqual(['a']);
    open();
    await all;
    expect(engine.loads.map(({ options }) => options.name)).toEqual(['a', 'b']);
  });

  test('names what there is', async () => {
    const repository = new ModelRepository(new FakeEngine());
    expect(caught(() => repository.get('m')).message).toBe("no model 'm': no model is registered");
    await repository.add('b', '1', ZOO);
    await repository.add('a', '4', ZOO);
    expect(caught(() => repository.get('m'))).toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: "no model 'm': the models are 'a', 'b'",
    });
    expect(caught(() => repository.status('a', '1')).message).toBe("model 'a' has no version '1', it has 4");
    expect(caught(() => repository.get('constructor')).code).toBe('MODEL_NOT_FOUND');
  });

  test('refuses a version that is no version, and one registered already', async () => {
    const repository = new ModelRepository(new FakeEngine());
    await repository.add('a', '1', ZOO);
    expect(caught(() => repository.add('a', '1', ZOO)).message).toBe("model 'a' version 1 is registered already");
    expect(caught(() => repository.add('a', 'new', ZOO)).message).toBe(
      "version 'new' of model 'a' is not a positive whole number such as '1'",
    );
    expect(['1', '20', '0', '01', '-1', '1.5', ''].filter(isVersion)).toEqual(['1', '20']);
  });

  test('close lets the running load end, drops the queue, frees the models and leaves the engine alone', async () => {
    const engine = new FakeEngine();
    const repository = new ModelRepository(engine);
    await repository.add('a', '1', ZOO);
    const { opened, open } = gate();
    engine.hold = opened;
    const running = repository.add('b', '1', ZOO);
    const queued = repository.add('c', '1', ZOO);
    await Promise.resolve();
    const closing = repository.close();
    expect(repository.close()).toBe(closing);
    open();
    await closing;
    expect((await running).state).toBe('ready');
    expect(await queued).toMatchObject({ state: 'failed', reason: "model 'c': the model repository was closed" });
    expect([...engine.models.values()].map((model) => model.disposed)).toEqual([true, true]);
    expect(engine.closed).toBe(false);
    expect(caught(() => repository.get('a')).code).toBe('CLOSED');
    expect(caught(() => repository.add('d', '1', ZOO)).code).toBe('CLOSED');
  });
});
