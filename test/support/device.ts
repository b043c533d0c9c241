import { CudaBackend, findCuda } from '../../runtime/backends/cuda/index.js';
import { WebGpuBackend, type Backend, type WebGpuOptions } from '../../runtime/index.js';
import { openDevice, pacePolling, POLL_MS, requireAdapter } from '../../src/device/index.js';

/** Whether tests of devices run on CUDA: BRAID_TEST_BACKEND=cuda, on a machine that has it. */
export const testsCuda = process.env['BRAID_TEST_BACKEND'] === 'cuda';

/**
 * A backend on whatever adapter the machine has; the software one where there is no GPU. With BRAID_TEST_BACKEND=cuda that on
 * CUDA, which then has to be there; options that it lacks are left out.
 */
export async function openBackend(options: WebGpuOptions = {}): Promise<Backend> {
  if (testsCuda) return openCudaBackend(options);
  const { adapter, info, release } = await requireAdapter('auto');
  const pacing = pacePolling(info.software ? POLL_MS.software : POLL_MS.hardware);
  const backend = new WebGpuBackend(await openDevice(adapter), { adapterInfo: adapter.info, ...options });
  const close = backend.close.bind(backend);
  backend.close = () => {
    close();
    pacing.stop();
    release();
  };
  process.env['BRAID_TEST_ADAPTER'] = `${info.adapter}, ${info.origin}`;
  return backend;
}

function openCudaBackend({ budgetBytes, stagingBudgetBytes, maxBindingBytes, arenaBytes }: WebGpuOptions): CudaBackend {
  const found = findCuda();
  if ('reason' in found) throw new Error(found.reason);
  process.env['BRAID_TEST_ADAPTER'] = `${found.device.name}, CUDA`;
  return new CudaBackend(found, {
    budgetBytes: budgetBytes ?? 2 ** 30,
    ...(process.env['BRAID_CACHE'] === undefined ? {} : { cacheFolder: process.env['BRAID_CACHE'] }),
    ...(stagingBudgetBytes === undefined ? {} : { stagingBudgetBytes }),
    ...(maxBindingBytes === undefined ? {} : { maxBindingBytes }),
    ...(arenaBytes === undefined ? {} : { waveBytes: arenaBytes }),
  });
}
