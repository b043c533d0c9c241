import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, mkdtemp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { extract } from 'tar-fs';
import { cacheFolder } from './cache.js';

/** A Vulkan driver that needs no GPU: its loader manifest, and a loader library where it brings one. */
export interface SoftwareDriver {
  readonly manifest: string;
  readonly loader: string | undefined;
}

/** Where browsers of Linux distributions keep SwiftShader. */
const CHROMIUM_MANIFESTS = [
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/usr/lib64/chromium-browser/vk_swiftshader_icd.json',
  '/opt/google/chrome/vk_swiftshader_icd.json',
];

export function findChromiumSwiftShader(): SoftwareDriver | undefined {
  const manifest = CHROMIUM_MANIFESTS.find((path) => existsSync(path));
  return manifest === undefined ? undefined : { manifest, loader: undefined };
}

async function writableFolder(folder: string): Promise<string> {
  try {
    await mkdir(folder, { recursive: true });
    return folder;
  } catch {
    return mkdtemp(join(tmpdir(), 'braid-'));
  }
}

/**
 * The SwiftShader inside the npm package @sparticuz/chromium, unpacked once into the cache folder (`BRAID_CACHE`, or
 * `braid` in the user's cache directory). The package is an optional dependency for Linux.
 * @throws Error where the package is not installed or the archive is not what it should be.
 */
export async function unpackNpmSwiftShader(): Promise<SoftwareDriver> {
  const require = createRequire(import.meta.url);
  const entry = require.resolve('@sparticuz/chromium');
  let root = dirname(entry);
  while (!existsSync(join(root, 'package.json')) || !existsSync(join(root, 'bin'))) {
    if (root === dirname(root)) throw new Error(`no bin folder above ${entry}`);
    root = dirname(root);
  }
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const cache = await writableFolder(cacheFolder());
  const folder = join(cache, `swiftshader-${version}-${process.arch}`);
  const driver = { manifest: join(folder, 'vk_swiftshader_icd.json'), loader: join(folder, 'libvulkan.so.1') };
  if (existsSync(driver.manifest) && existsSync(driver.loader)) return driver;

  const archive = await readFile(join(root, 'bin', 'swiftshader.tar.br'));
  // Unpacked aside and renamed, so that processes starting together never see half a driver.
  const aside = await mkdtemp(join(cache, 'unpack-'));
  await pipeline(Readable.from([await promisify(brotliDecompress)(archive)]), extract(aside));
  try {
    await rename(aside, folder);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    if (!existsSync(driver.manifest)) throw error;
  }
  return driver;
}
