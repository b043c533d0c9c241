import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FoundCuda } from './addon.js';

/**
 * Compiled kernels on disk, by a hash of everything they are made from: NVRTC takes a third of a second a kernel, and a
 * model has dozens. Without a folder, or where it cannot be written, each process compiles for itself.
 */
export class CubinCache {
  readonly #folder: string | undefined;

  constructor(folder: string | undefined) {
    this.#folder = folder;
  }

  async get(source: string, { addon, headers, device, compiler }: FoundCuda): Promise<Uint8Array> {
    const options = ['--extra-device-vectorization', '--disable-warnings'];
    const made = JSON.stringify([source, headers, device.architecture, compiler, options]);
    const path = this.#folder && join(this.#folder, `${createHash('sha256').update(made).digest('hex')}.cubin`);
    const kept = path === undefined ? undefined : await readFile(path).catch(() => undefined);
    if (kept) return kept;
    const cubin = await addon.compile(source, headers, device.architecture, options);
    if (path !== undefined) await this.#keep(path, cubin).catch(() => {});
    return cubin;
  }

  /** Written under another name first: a process that reads at the same time must not see half of it. */
  async #keep(path: string, cubin: Uint8Array): Promise<void> {
    await mkdir(this.#folder!, { recursive: true });
    const draft = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
    await writeFile(draft, cubin);
    await rename(draft, path);
  }
}
