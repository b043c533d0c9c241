import { WebGpuBackend, type WebGpuOptions } from '../../runtime/index.js';
import { openDevice, pacePolling, POLL_MS, requireAdapter } from '../../src/device/index.js';

/** A backend on whatever adapter the machine has; the software one where there is no GPU. */
export async function openBackend(options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  const { adapter, info, release } = await requireAdapter('auto');
  const stopPacing = pacePolling(info.software ? POLL_MS.software : POLL_MS.hardware);
  const backend = new WebGpuBackend(await openDevice(adapter), { adapterInfo: adapter.info, ...options });
  const close = backend.close.bind(backend);
  backend.close = () => {
    close();
    stopPacing();
    release();
  };
  process.env['BRAID_TEST_ADAPTER'] = `${info.adapter}, ${info.origin}`;
  return backend;
}
