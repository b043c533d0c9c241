import { afterEach, describe, expect, it } from 'vitest';
import { pacePolling, type Pace } from '../../../src/device/index.js';

const open: Pace[] = [];
function pace(intervalMs: number): Pace {
  const made = pacePolling(intervalMs);
  open.push(made);
  return made;
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
    for (const made of open.splice(0)) made.stop();
  });

  it('holds questions back for the interval, and until shortly before the expected end', async () => {
    const device = pace(0.5);
    expect(await asked()).toBeGreaterThanOrEqual(0.5);
    device.expectEnd(performance.now() + 4);
    // 85 % of 4 ms, less what has passed since.
    expect(await asked()).toBeGreaterThanOrEqual(3);
    device.expectEnd(performance.now() - 1);
    expect(await asked()).toBeGreaterThanOrEqual(0.5);
  });

  it('never holds them back for long, whatever is expected', async () => {
    const device = pace(0.1);
    device.expectEnd(performance.now() + 1e9);
    const waited = await asked();
    expect(waited).toBeGreaterThanOrEqual(4);
    // Other tests may keep the event loop; a wait for the expected end would not return at all.
    expect(waited).toBeLessThan(10_000);
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

  it('leaves everything else alone, and puts setImmediate back', async () => {
    const original = globalThis.setImmediate;
    const device = pace(1e6);
    expect(globalThis.setImmediate).not.toBe(original);
    const named = (resolve: (value: string) => void): void => resolve('named');
    expect(await new Promise((resolve) => setImmediate(() => resolve('arrow')))).toBe('arrow');
    expect(await new Promise((resolve) => setImmediate(named, resolve))).toBe('named');
    const cancelled = setImmediate(() => expect.unreachable());
    clearImmediate(cancelled);
    device.stop();
    expect(globalThis.setImmediate).toBe(original);
  });
});
