import { describe, expect, it } from 'vitest';
import { BraidError, type Backend } from '../../../runtime/index.js';
import type { OpenedBackend } from '../../../src/device/index.js';
import { openFastest, timeProbe, type Candidate } from '../../../src/device/fastest.js';
import { openBackend } from '../../support/device.js';

interface Fake {
  readonly candidate: Candidate;
  readonly backend: Backend;
  readonly state: { closed: boolean; released: boolean };
}

/** A backend of which only the end can be seen. */
function fake(name: string, software = false): Fake {
  const state = { closed: false, released: false };
  const backend = { close: () => void (state.closed = true) } as unknown as Backend;
  const info = {
    backend: name,
    adapter: name,
    vendor: '',
    driver: '',
    software,
    origin: 'fake',
    features: [],
    limits: {},
  };
  const open = (): Promise<OpenedBackend> =>
    Promise.resolve({ backend, info, release: () => void (state.released = true) });
  return { candidate: { name, open }, backend, state };
}

function missing(name: string): Candidate {
  return { name, open: () => Promise.reject(new BraidError('DEVICE_UNAVAILABLE', `no ${name} here`)) };
}

/** Times by backend; what has none fails. */
function timing(...times: readonly (readonly [Fake, number[]])[]): (backend: Backend) => Promise<number[]> {
  const known = new Map(times.map(([{ backend }, ms]) => [backend, ms]));
  return (backend) => {
    const ms = known.get(backend);
    return ms ? Promise.resolve(ms) : Promise.reject(new Error('it trapped'));
  };
}

describe('openFastest', () => {
  it('keeps the backend that takes least, whichever comes first, closes the other and says why', async () => {
    for (const turned of [false, true]) {
      const [one, other] = [fake('cuda'), fake('webgpu')];
      const list = [one.candidate, other.candidate];
      const opened = await openFastest(
        turned ? list.toReversed() : list,
        timing([one, [0.2, 0.5]], [other, [0.6, 0.4]]),
      );
      expect(opened.backend).toBe(one.backend);
      expect([one.state.closed, other.state.closed, other.state.released]).toEqual([false, true, true]);
      expect(opened.info.origin).toContain('cuda is the fastest here');
      expect(opened.info.origin).toContain('webgpu takes 0.60 and 0.40 ms');
      opened.release();
      expect(one.state.released).toBe(true);
    }
  });

  it('takes WebGPU where that is faster', async () => {
    const [one, other] = [fake('cuda'), fake('webgpu')];
    const opened = await openFastest([one.candidate, other.candidate], timing([one, [0.5, 2]], [other, [0.6, 1]]));
    expect(opened.info.backend).toBe('webgpu');
    expect(one.state.closed).toBe(true);
  });

  it('leaves out what is missing or fails, and says so', async () => {
    const alone = fake('webgpu');
    const single = await openFastest([missing('cuda'), alone.candidate], timing());
    expect(single.info.origin).toBe('fake; the backend cuda is not available: no cuda here');
    const [broken, working] = [fake('cuda'), fake('webgpu')];
    const opened = await openFastest([broken.candidate, working.candidate], timing([working, [9, 9]]));
    expect(opened.backend).toBe(working.backend);
    expect(broken.state.closed).toBe(true);
    expect(opened.info.origin).toContain('the backend cuda fails: it trapped');
  });

  it('does not time a software adapter against a GPU', async () => {
    const [gpu, slow] = [fake('cuda'), fake('webgpu', true)];
    const opened = await openFastest([slow.candidate, gpu.candidate], timing());
    expect(opened.backend).toBe(gpu.backend);
    expect(slow.state).toEqual({ closed: true, released: true });
    expect(opened.info.origin).toContain('webgpu has a software adapter alone');
  });

  it('fails with all reasons where there is none', async () => {
    await expect(openFastest([missing('cuda'), missing('webgpu')])).rejects.toMatchObject({
      code: 'DEVICE_UNAVAILABLE',
      message: expect.stringMatching(/no cuda here.*no webgpu here/),
    });
  });

  it('times waves of two sizes on a real backend', async () => {
    const backend = await openBackend();
    const times = await timeProbe(backend, [1, 16]);
    backend.close();
    expect(times).toHaveLength(2);
    for (const ms of times) expect(ms).toBeGreaterThan(0);
  }, 120_000);
});
