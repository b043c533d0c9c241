import { existsSync } from 'node:fs';
import { BraidError, isSoftwareAdapter } from '../../runtime/index.js';
import type { DeviceInfo } from '../api.js';
import { preloadLibrary } from './loader.js';
import { findChromiumSwiftShader, unpackNpmSwiftShader, type SoftwareDriver } from './swiftshader.js';

export type AdapterChoice = 'auto' | 'hardware' | 'software';

/** One way of finding an adapter, and how it went. */
export interface Attempt {
  readonly origin: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What the user can do about it. */
  readonly fix?: string;
}

export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly info: DeviceInfo;
  /** Drops the last reference to Dawn, without which the process would not end. */
  release(): void;
}

export interface Discovery {
  readonly found: FoundAdapter | undefined;
  readonly tried: readonly Attempt[];
}

function limitsOf(adapter: GPUAdapter): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value = adapter.limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') limits[name] = value;
  }
  return limits;
}

function describe(adapter: GPUAdapter, origin: string): DeviceInfo {
  const { vendor, architecture, device, description } = adapter.info;
  const name = [device, description, architecture, vendor].find((text) => text && !/^(0x)?[0-9a-f]+$/i.test(text));
  return {
    backend: 'webgpu',
    adapter: /swiftshader/i.test(architecture + device) ? 'SwiftShader' : (name ?? 'unknown adapter'),
    vendor,
    driver: description,
    software: isSoftwareAdapter(adapter.info),
    origin,
    features: [...adapter.features].sort(),
    limits: limitsOf(adapter),
  };
}

/**
 * Browsers round timestamps to hide secrets between sites, and clear workgroup memory; here they measure our own kernels,
 * which write what they read. SwiftShader compiles the clearing of large arrays for seconds. Dawn hides float16 on NVIDIA's
 * Vulkan, and experimental features everywhere; they change nothing that does not ask for them.
 */
const DAWN_FLAGS = [
  'disable-dawn-features=timestamp_quantization',
  'enable-dawn-features=disable_workgroup_init,allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
];

/** Loads Dawn. Constants such as GPUBufferUsage become globals, as in a browser. */
async function loadDawn(): Promise<(flags: string[]) => GPU> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  return create;
}

async function requestAdapter(origin: (adapter: GPUAdapter) => string): Promise<FoundAdapter | string> {
  let create: (flags: string[]) => GPU;
  try {
    create = await loadDawn();
  } catch (error) {
    return `the webgpu package does not load: ${error instanceof Error ? error.message : String(error)}`;
  }
  let gpu: GPU | undefined = create(DAWN_FLAGS);
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    gpu = undefined;
    return 'Dawn finds no adapter';
  }
  return { adapter, info: describe(adapter, origin(adapter)), release: () => (gpu = undefined) };
}

/**
 * Runs `action` with the Vulkan loader pointed at one driver. The loader reads the variables when the instance is made;
 * afterwards they are as they were, so that child processes look for adapters of their own.
 */
async function withDriver<T>({ manifest }: SoftwareDriver, action: () => Promise<T>): Promise<T> {
  const names = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'];
  const before = names.map((name) => process.env[name]);
  for (const name of names) process.env[name] = manifest;
  try {
    return await action();
  } finally {
    names.forEach((name, i) => {
      if (before[i] === undefined) delete process.env[name];
      else process.env[name] = before[i];
    });
  }
}

function systemOrigin(adapter: GPUAdapter): string {
  if (!isSoftwareAdapter(adapter.info)) return 'hardware';
  return /swiftshader/i.test(JSON.stringify(adapter.info)) ? 'swiftshader (system)' : 'lavapipe';
}

/** Whether this process took its Vulkan loader from a software driver: the system then has none of its own. */
let loaderIsOurs = false;

/** The adapters of the system itself: a GPU, or a software driver installed for all. */
async function trySystem(choice: AdapterChoice): Promise<FoundAdapter | Attempt> {
  const origin = 'system';
  if (process.platform === 'linux') {
    if (loaderIsOurs || preloadLibrary('libvulkan.so.1') !== undefined) {
      return {
        origin,
        ok: false,
        detail: 'no Vulkan loader (libvulkan.so.1)',
        fix: "install the GPU vendor's driver, or the package libvulkan1",
      };
    }
  }
  const found = await requestAdapter(systemOrigin);
  if (typeof found === 'string') {
    return { origin, ok: false, detail: found, fix: "install or update the GPU vendor's Vulkan driver" };
  }
  if (choice === 'hardware' && found.info.software) {
    found.release();
    return {
      origin,
      ok: false,
      detail: `only a software adapter (${found.info.adapter})`,
      fix: "install the GPU vendor's Vulkan driver",
    };
  }
  return found;
}

async function tryDriver(
  origin: string,
  find: () => Promise<SoftwareDriver | undefined>,
  fix: string,
): Promise<FoundAdapter | Attempt> {
  try {
    const driver = await find();
    if (!driver) return { origin, ok: false, detail: 'not installed', fix };
    const loader =
      driver.loader !== undefined && preloadLibrary('libvulkan.so.1') !== undefined ? driver.loader : undefined;
    const reason = loader === undefined ? undefined : preloadLibrary(loader);
    if (reason !== undefined) return { origin, ok: false, detail: reason };
    loaderIsOurs ||= loader !== undefined;
    const found = await withDriver(driver, () => requestAdapter(() => origin));
    return typeof found === 'string' ? { origin, ok: false, detail: `${found} (${driver.manifest})` } : found;
  } catch (error) {
    return { origin, ok: false, detail: error instanceof Error ? error.message.split('\n')[0]! : String(error), fix };
  }
}

/**
 * Looks for an adapter: a GPU, a software driver of the system (lavapipe), Chromium's SwiftShader, then the SwiftShader
 * that an npm package carries. `VK_DRIVER_FILES`, where the user set it, decides alone.
 */
export async function discover(choice: AdapterChoice = 'auto'): Promise<Discovery> {
  const tried: Attempt[] = [];
  const pinned = process.env['VK_DRIVER_FILES'] ?? process.env['VK_ICD_FILENAMES'];
  const npm = (): Promise<FoundAdapter | Attempt> =>
    tryDriver('swiftshader (npm)', unpackNpmSwiftShader, 'npm install @sparticuz/chromium');
  const chromium = (): Promise<FoundAdapter | Attempt> =>
    tryDriver(
      'swiftshader (chromium)',
      () => Promise.resolve(findChromiumSwiftShader()),
      'install the package chromium',
    );
  const software = process.platform === 'linux' ? [chromium, npm] : [];
  const steps: (() => Promise<FoundAdapter | Attempt>)[] = [];
  if (choice !== 'software' || pinned !== undefined) steps.push(() => trySystem(choice));
  if (choice !== 'hardware' && pinned === undefined) steps.push(...software);
  for (const step of steps) {
    const result = await step();
    if ('adapter' in result) {
      tried.push({ origin: result.info.origin, ok: true, detail: result.info.adapter });
      return { found: result, tried };
    }
    tried.push(result);
  }
  if (pinned !== undefined && !pinned.split(':').every((path) => existsSync(path))) {
    tried.push({
      origin: 'VK_DRIVER_FILES',
      ok: false,
      detail: `names a file that is not there: ${pinned}`,
      fix: 'unset it, or correct it',
    });
  }
  return { found: undefined, tried };
}

/** @throws BraidError DEVICE_UNAVAILABLE listing what was tried and what would help. */
export async function requireAdapter(choice: AdapterChoice): Promise<FoundAdapter> {
  const { found, tried } = await discover(choice);
  if (found) return found;
  const lines = tried.map((t) => `${t.origin}: ${t.detail}${t.fix ? ` (${t.fix})` : ''}`);
  throw new BraidError(
    'DEVICE_UNAVAILABLE',
    `no ${choice === 'auto' ? 'usable' : choice} adapter was found:\n  ${lines.join('\n  ')}`,
  );
}

/** Limits that kernels and tables profit from; the rest stays at WebGPU's defaults. */
const RAISED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
  'maxComputeWorkgroupsPerDimension',
] as const;

const WANTED_FEATURES = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix', 'timestamp-query'];

/** The adapter's device, with its limits raised to what the adapter has. */
export function openDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  return adapter.requestDevice({
    label: 'braid',
    requiredLimits: Object.fromEntries(RAISED_LIMITS.map((name) => [name, adapter.limits[name]])),
    // The types list only what is standard.
    requiredFeatures: WANTED_FEATURES.filter((f) => adapter.features.has(f)) as GPUFeatureName[],
  });
}
