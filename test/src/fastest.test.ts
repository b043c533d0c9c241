import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BraidError, GraphBuilder, GraphEngine } from '../../runtime/index.js';
import { loadFastest, timeModel, type Place } from '../../src/fastest.js';
import type { Model } from '../../src/index.js';
import { buildZoo } from '../../src/zoo/index.js';
import { openBackend } from '../support/device.js';
import { expectRejection } from '../support/errors.js';

/** y = a x + b, of a number that tells the place. */
function graph(number: number) {
  const b = new GraphBuilder('sum');
  const x = b.input('x', 'float32', ['rows', 2]);
  const c = b.constant('c', { dtype: 'float32', dims: [1], data: Float32Array.of(number) });
  b.output(b.op('Add', [x, c], {}, { outputs: ['y'] }), 'float32');
  return b.build();
}

describe('loadFastest', () => {
  const engines: GraphEngine[] = [];
  beforeAll(async () => {
    for (let i = 0; i < 2; i++) engines.push(new GraphEngine(await openBackend({ arenaBytes: 2 ** 22 })));
  });
  afterAll(async () => {
    for (const engine of engines) await engine.close();
  });

  /** Places that keep what they loaded. */
  function places(): { list: Place[]; loaded: Model[] } {
    const loaded: Model[] = [];
    const list = engines.map((engine, i) => ({
      name: `place${i}`,
      load: async () => {
        const model = await engine.load(graph(10 * (i + 1)));
        loaded.push(model);
        return model;
      },
    }));
    return { list, loaded };
  }

  const x = { x: { dims: [1, 2], data: Float32Array.of(1, 2) } };

  it('keeps a model where it is fastest, lets go of it elsewhere, and says why', async () => {
    for (const fastest of [0, 1]) {
      const { list, loaded } = places();
      const model = await loadFastest(list, async (m) => (m === loaded[fastest] ? [0.2, 0.5] : [0.6, 0.4]));
      const { y } = await model.run(x);
      expect([...y!.data]).toEqual([1, 2].map((v) => v + 10 * (fastest + 1)));
      const { placement } = await model.summary();
      expect(placement).toContain(`place${fastest} chosen`);
      expect(placement).toContain(`place${fastest} takes 0.20 and 0.50 ms`);
      expect(placement).toContain(`place${1 - fastest} takes 0.60 and 0.40 ms`);
      await expectRejection('CLOSED', /closed/, loaded[1 - fastest]!.run(x));
      expect([model.name, model.inputs.length, model.outputs[0]!.name, model.notices]).toEqual(['sum', 1, 'y', []]);
      await model.dispose();
      await expectRejection('CLOSED', /closed/, loaded[fastest]!.run(x));
    }
  });

  it('takes a place that is left where another refuses, or cannot be timed', async () => {
    const { list } = places();
    const refusing = { name: 'full', load: () => Promise.reject(new BraidError('OVERLOADED', 'no room')) };
    const model = await loadFastest([refusing, list[1]!], () => Promise.reject(new Error('odd sizes')));
    const { placement } = await model.summary();
    expect(placement).toContain('full does not take it: no room');
    expect(placement).toContain('place1 cannot be timed: odd sizes');
    expect([...(await model.run(x))['y']!.data]).toEqual([21, 22]);
    await model.dispose();
    await expectRejection('OVERLOADED', /no room/, loadFastest([refusing]));
  });

  it('times queries of two sizes, and one query of a model without free sizes', async () => {
    const model = await engines[0]!.load(buildZoo('wnd', 'tiny'));
    const times = await timeModel(model, [1, 16]);
    expect(times).toHaveLength(2);
    for (const ms of times) expect(ms).toBeGreaterThan(0);
    await model.dispose();
    const b = new GraphBuilder('fixed');
    b.output(b.op('Relu', [b.input('x', 'float32', [3, 2])], {}, { outputs: ['y'] }), 'float32');
    const fixed = await engines[0]!.load(b.build());
    expect(await timeModel(fixed)).toHaveLength(1);
    await fixed.dispose();
  }, 120_000);
});
