import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LibraryProduct } from '../../compile/kernel.js';
import type { TensorData } from '../../graph/dtype.js';
import { HEADER } from './translate.js';

/** A GPU that the driver knows. */
export interface CudaDeviceEntry {
  readonly name: string;
  readonly bytes: number;
  /** Compute capability without its point, such as 90. */
  readonly architecture: number;
}

/** What the addon finds on this machine. Reasons are empty where nothing is missing. */
export interface CudaProbe {
  readonly devices: readonly CudaDeviceEntry[];
  readonly driverVersion: string;
  readonly driverReason: string;
  /** NVRTC, which compiles kernels when a model is loaded. */
  readonly compiler: string;
  readonly compilerReason: string;
  /** cuBLASLt, which may make large products. */
  readonly products: string;
  readonly productsReason: string;
}

export interface CudaLimits {
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly major: number;
  readonly minor: number;
  readonly multiprocessors: number;
  readonly sharedBytes: number;
  readonly sharedBytesOptIn: number;
  readonly threadsPerBlock: number;
}

/** Host memory that the device reads and writes by itself. */
export interface Pinned {
  readonly buffer: ArrayBuffer;
  readonly address: number;
}

/** Where an argument names an operand, in words: the address of its stretch, and its first element in that. */
export type OperandWords = readonly [address: number, start: number];

export interface NativeProduct extends Omit<LibraryProduct, 'm'> {
  readonly a: OperandWords;
  readonly b: OperandWords;
  /** Read where there is a bias. */
  readonly bias: OperandWords;
  readonly out: OperandWords;
}

/** A CUDA context, its streams and what lives in it; native/src/device.cc. Addresses are numbers, of at most 49 bits. */
export interface NativeDevice {
  limits(): CudaLimits;
  alloc(bytes: number): number;
  free(address: number): void;
  clear(address: number, bytes: number): void;
  upload(address: number, bytes: Uint8Array): void;
  pin(bytes: number): Pinned;
  unpin(address: number, buffer: ArrayBuffer): void;
  /**
   * Lets the device read the pages that lie in `memory` as a whole: where they begin in it, and how many bytes they are. Held
   * until it is disowned. @throws Error where CUDA does not take it.
   */
  adopt(memory: Uint8Array): { readonly address: number; readonly offset: number; readonly bytes: number };
  disown(address: number): void;
  loadKernel(cubin: Uint8Array, name: string, sharedBytes: number): number;
  /** A product for cuBLASLt; its number. @throws Error where that is missing or takes no such product. */
  loadProduct(product: NativeProduct, likelyRows: number): number;
  /**
   * Puts commands on a lane, one submission at a time; the point that the lane reaches when they are over. A thread carries
   * them out, unless nothing else is in flight and there is little to copy. Copies read the `sources`, which have to stay
   * as they are until `ended` is called; from one that is detached or resized before come zeros, and its number.
   */
  submit(
    lane: number,
    commands: Float64Array,
    count: number,
    kernelArguments: Uint32Array,
    sources: readonly TensorData[],
  ): number;
  /** Microseconds between the moments that the lane's last submission recorded. */
  clock(lane: number, intervals: number): Float64Array;
  close(): void;
}

export interface NativeAddon {
  probe(): CudaProbe;
  compile(
    source: string,
    headers: readonly (readonly [name: string, text: string])[],
    architecture: number,
    options: readonly string[],
  ): Promise<Uint8Array>;
  readonly Device: new (
    ordinal: number,
    lanes: number,
    /** `fault`: a source that could not be read; -1 where all could. */
    ended: (lane: number, point: number, reason: string, fault: number) => void,
  ) => NativeDevice;
}

/** The addon, or why there is none. */
export type LoadedAddon =
  | { readonly addon: NativeAddon; readonly headers: readonly (readonly [name: string, text: string])[] }
  | { readonly reason: string; readonly fix?: string };

/** Where `native/` is: beside `runtime/`, and beside the `dist/` that holds it. */
function nativeFolder(): string | undefined {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    const native = join(folder, 'native');
    if (existsSync(join(native, 'kernels', HEADER))) return native;
  }
  return undefined;
}

let loaded: LoadedAddon | undefined;

/** Loads the addon once. Never throws: what is missing is in the reason. */
export function loadAddon(): LoadedAddon {
  loaded ??= load();
  return loaded;
}

function load(): LoadedAddon {
  const folder = nativeFolder();
  if (folder === undefined) return { reason: 'the folder native/ is not part of this installation' };
  const path = join(folder, 'build', 'braid_cuda.node');
  if (!existsSync(path))
    return {
      reason: 'the CUDA addon is not built',
      fix: 'npm run build:cuda (needs the headers of CUDA 12 or 13, CMake and a C++ compiler)',
    };
  try {
    const addon = createRequire(import.meta.url)(path) as NativeAddon;
    const kernels = join(folder, 'kernels');
    const headers = readdirSync(kernels).filter((name) => name.endsWith('.cuh'));
    return { addon, headers: headers.map((name) => [name, readFileSync(join(kernels, name), 'utf8')] as const) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { reason: `the CUDA addon does not load: ${reason}`, fix: 'npm run build:cuda' };
  }
}

/** A device that can be opened. */
export interface FoundCuda {
  readonly addon: NativeAddon;
  readonly headers: readonly (readonly [name: string, text: string])[];
  readonly device: CudaDeviceEntry;
  readonly driverVersion: string;
  readonly compiler: string;
  /** cuBLASLt, or that it is missing. */
  readonly products: string;
}

/** The oldest GPUs that kernels are compiled for: Ampere, whose matrix units take TF32. */
const OLDEST_ARCHITECTURE = 80;

/** What CUDA offers here, or what is missing. */
export function findCuda(): FoundCuda | { readonly reason: string; readonly fix?: string } {
  const found = loadAddon();
  if ('reason' in found) return found;
  const { addon, headers } = found;
  const { devices, driverReason, driverVersion, compiler, compilerReason, products, productsReason } = addon.probe();
  if (driverReason !== '') return { reason: driverReason, fix: "install NVIDIA's driver, 525 or newer" };
  const [device] = devices;
  if (!device) return { reason: 'the NVIDIA driver knows no GPU' };
  if (device.architecture < OLDEST_ARCHITECTURE)
    return {
      reason: `${device.name} has compute capability ${device.architecture / 10}; the CUDA backend needs ${OLDEST_ARCHITECTURE / 10}`,
    };
  if (compilerReason !== '')
    return { reason: compilerReason, fix: 'install NVRTC (libnvrtc.so of CUDA 12 or 13), or set CUDA_HOME' };
  return {
    addon,
    headers,
    device,
    driverVersion,
    compiler,
    products: productsReason === '' ? products : 'no cuBLASLt',
  };
}
