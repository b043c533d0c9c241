import { join } from 'node:path';
import { CudaBackend, findCuda, type FoundCuda } from '../../runtime/backends/cuda/index.js';
import { toBraidError } from '../../runtime/errors.js';
import { BraidError, WebGpuBackend, type Backend } from '../../runtime/index.js';
import type { DeviceInfo } from '../api.js';
import { readTiles } from '../tuning/files.js';
import { cacheFolder } from './cache.js';
import { openDevice, requireAdapter, type AdapterChoice, type Attempt } from './discover.js';
import { pacePolling, POLL_MS } from './polling.js';
import { openRivals } from './rivals.js';

/** What computes. */
export const BACKEND_NAMES = ['webgpu', 'cuda'] as const;
export type BackendName = (typeof BACKEND_NAMES)[number];
/** `auto`: for each model the faster of the two, where both are to be had. */
export const BACKENDS = [...BACKEND_NAMES, 'auto'] as const;
export type BackendChoice = (typeof BACKENDS)[number];

/** What is to compute. */
export interface DeviceChoice {
  /** Which adapters the backend `webgpu` accepts. */
  readonly adapter: AdapterChoice;
  /** Default: `webgpu`. */
  readonly backend?: BackendChoice;
  /** Streams of the backend `cuda`, 1 to 16. */
  readonly lanes?: number;
  /** How WebGPU cuts matrix products: as measured where that is known, or by a rule alone. Default: `measured`. */
  readonly tiles?: 'measured' | 'rule';
}

export interface OpenedBackend {
  readonly backend: Backend;
  readonly info: DeviceInfo;
  /** Called once the backend is closed. */
  release(): void;
}

/**
 * What a choice names: with `auto` all that is there.
 * @throws BraidError DEVICE_UNAVAILABLE, saying what is missing and what would help.
 */
export async function openBackends(choice: DeviceChoice): Promise<readonly OpenedBackend[]> {
  const { backend = 'webgpu' } = choice;
  if (backend !== 'auto') return [await openBackend({ ...choice, backend })];
  return openRivals([
    { name: 'cuda', open: () => openCuda(choice) },
    { name: 'webgpu', open: () => openWebGpu(choice) },
  ]);
}

/** @throws BraidError DEVICE_UNAVAILABLE, saying what is missing and what would help. */
export async function openBackend(choice: DeviceChoice & { readonly backend?: BackendName }): Promise<OpenedBackend> {
  if (choice.backend !== 'cuda') return openWebGpu(choice);
  try {
    return await openCuda(choice);
  } catch (cause) {
    const { code, message } = toBraidError(cause);
    throw code === 'DEVICE_UNAVAILABLE'
      ? new BraidError(code, `the backend cuda is not available: ${message}`, { cause })
      : cause;
  }
}

async function openWebGpu(choice: DeviceChoice): Promise<OpenedBackend> {
  const { adapter, info, release } = await requireAdapter(choice.adapter);
  const device = await openDevice(adapter);
  const pacing = pacePolling(info.software ? POLL_MS.software : POLL_MS.hardware);
  const tiles = choice.tiles === 'rule' ? undefined : await readTiles(info, device.limits);
  const backend = new WebGpuBackend(device, {
    adapterInfo: adapter.info,
    // A software adapter's time is not to be spent on questions.
    ...(info.software ? {} : { expect: pacing.expect }),
    ...(tiles ? { tiles } : {}),
  });
  return {
    backend,
    info,
    release: () => {
      pacing.stop();
      release();
    },
  };
}

async function openCuda({ lanes }: DeviceChoice): Promise<OpenedBackend> {
  const found = findCuda();
  if ('reason' in found) {
    const fix = found.fix === undefined ? '' : `; fix: ${found.fix}`;
    throw new BraidError('DEVICE_UNAVAILABLE', `${found.reason}${fix}`);
  }
  const backend = new CudaBackend(found, {
    cacheFolder: join(cacheFolder(), 'cubins'),
    ...(lanes === undefined ? {} : { lanes }),
  });
  return { backend, info: describe(found, backend), release: () => {} };
}

function describe({ device, driverVersion, compiler, products }: FoundCuda, { limits }: CudaBackend): DeviceInfo {
  return {
    backend: 'cuda',
    adapter: device.name,
    vendor: 'nvidia',
    driver: `CUDA ${driverVersion}, ${compiler}, ${products}`,
    software: false,
    origin: 'addon',
    features: [`sm_${device.architecture}`],
    limits: { ...limits },
  };
}

/** How the backend `cuda` stands, as a line of what was tried. */
export function describeCuda(): Attempt {
  const found = findCuda();
  if ('reason' in found)
    return { origin: 'cuda', ok: false, detail: found.reason, ...(found.fix === undefined ? {} : { fix: found.fix }) };
  const { device, driverVersion, compiler, products } = found;
  const detail = `${device.name}, driver for CUDA ${driverVersion}, ${compiler}, ${products}`;
  return { origin: 'cuda', ok: true, detail };
}
