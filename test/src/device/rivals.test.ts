import { describe, expect, it } from 'vitest';
import { BraidError, type Backend } from '../../../runtime/index.js';
import type { OpenedBackend } from '../../../src/device/index.js';
import { openRivals, type Candidate } from '../../../src/device/rivals.js';

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

describe('openRivals', () => {
  it('opens all that are there, in order, and says so', async () => {
    const [one, other] = [fake('cuda'), fake('webgpu')];
    const opened = await openRivals([one.candidate, other.candidate]);
    expect(opened.map(({ backend }) => backend)).toEqual([one.backend, other.backend]);
    expect(opened.map(({ info }) => info.origin)).toEqual([
      'fake; each model runs on the faster of cuda and webgpu',
      'fake',
    ]);
    expect(one.state).toEqual({ closed: false, released: false });
  });

  it('leaves out what is missing, and says so', async () => {
    const alone = fake('webgpu');
    const opened = await openRivals([missing('cuda'), alone.candidate]);
    expect(opened.map(({ info }) => info.origin)).toEqual(['fake; the backend cuda is not available: no cuda here']);
  });

  it('takes no software adapter beside a GPU, but where there is nothing else', async () => {
    const [gpu, slow] = [fake('cuda'), fake('webgpu', true)];
    const opened = await openRivals([slow.candidate, gpu.candidate]);
    expect(opened.map(({ backend }) => backend)).toEqual([gpu.backend]);
    expect(slow.state).toEqual({ closed: true, released: true });
    expect(opened[0]!.info.origin).toContain('webgpu has a software adapter alone');
    const alone = fake('webgpu', true);
    expect((await openRivals([missing('cuda'), alone.candidate]))[0]!.backend).toBe(alone.backend);
    expect(alone.state.closed).toBe(false);
  });

  it('fails with all reasons where there is none', async () => {
    await expect(openRivals([missing('cuda'), missing('webgpu')])).rejects.toMatchObject({
      code: 'DEVICE_UNAVAILABLE',
      message: expect.stringMatching(/no cuda here.*no webgpu here/) as string,
    });
  });
});
