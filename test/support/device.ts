import { WebGpuBackend, type WebGpuOptions } from '../../runtime/index.js';
import { openDevice, requireAdapter } from '../../src/device/index.js';

/** A backend on whatever adapter the machine has; the software one where there is no GPU. */
export async function openBackend(options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  const { adapter, info, release } = await requireAdapter('auto');
  const backend = new WebGpuBackend(await openDevice(adapter), { adapterInfo: adapter.info, ...options });
  const close = backend.close.bind(backend);
  backend.close = () => {
    close();
    release();
  };
  process.env['BRAID_TEST_ADAPTER'] = `${info.adapter}, ${info.origin}`;
  return backend;
}
