import { afterEach, describe, expect, it } from 'vitest';
import { pacePolling, type Pacing } from '../../../src/device/index.js';

const open: Pacing[] = [];
function pace(intervalMs: number): Pacing {
  const pacing = pacePolling(intervalMs);
  open.push(pacing);
  return pacing;
}

/** What Dawn gives to setImmediate: native, without a name. */
function native(call: () => void): () => void {
  const bound = call.bind(undefined);
  Object.defineProperty(bound, 'name', { value: '' });
  return bound;
}

/** Milliseconds until a question is passed on. */
function asked(): Promise<number> {
  const began = performance.now();
  return new Promise((resolve) => setImmediate(native(() => resolve(performance.now() - began))));
}

describe('pacing what Dawn asks the device', () => {
  afterEach(() => {
    for (const { stop } of open.splice(0)) stop();
  });

  it('holds questions back for the interval, of several the shortest', async () => {
    pace(3);
    expect(await asked()).toBeGreaterThanOrEqual(3);
    const { stop } = pace(0.5);
    expect(await asked()).toBeGreaterThanOrEqual(0.5);
    stop();
    expect(await asked()).toBeGreaterThanOrEqual(3);
  });

  it('passes on all questions in order, also those that come while it waits', async () => {
    pace(1);
    const order: number[] = [];
    await new Promise<void>((resolve) => {
      for (let i = 0; i < 3; i++) setImmediate(native(() => order.push(i)));
      setImmediate(native(resolve));
    });
    expect(order).toEqual([0, 1, 2]);
  });

  it('asks in time for what is expected, and not much sooner', async () => {
    const { expect: announce } = pace(60_000);
    const began = performance.now();
    announce(began + 30);
    await asked();
    expect(performance.now()).toBeGreaterThanOrEqual(began + 29.9);
  });

  it('hears of what is expected while it waits', async () => {
    const { expect: announce } = pace(60_000);
    const answer = asked();
    announce(performance.now() + 20);
    await answer;
  });

  it('forgets what was expected once it is past', async () => {
    pace(50).expect(performance.now() - 1);
    expect(await asked()).toBeGreaterThanOrEqual(50);
  });

  it('leaves everything else alone, and puts setImmediate back', async () => {
    const original = globalThis.setImmediate;
    const { stop } = pace(1e6);
    expect(globalThis.setImmediate).not.toBe(original);
    const named = (resolve: (value: string) => void): void => resolve('named');
    expect(await new Promise((resolve) => setImmediate(() => resolve('arrow')))).toBe('arrow');
    expect(await new Promise((resolve) => setImmediate(named, resolve))).toBe('named');
    const cancelled = setImmediate(() => expect.unreachable());
    clearImmediate(cancelled);
    stop();
    expect(globalThis.setImmediate).toBe(original);
  });
});
