import { BraidError, toBraidError } from '../../runtime/errors.js';
import type { OpenedBackend } from './backend.js';

/** A backend that may be opened. */
export interface Candidate {
  readonly name: string;
  /** @throws BraidError DEVICE_UNAVAILABLE where there is none. */
  open(): Promise<OpenedBackend>;
}

function close({ backend, release }: OpenedBackend): void {
  backend.close();
  release();
}

/**
 * Opens all that are there, in order; `info.origin` of the first says what is not. A software adapter is taken only where
 * nothing else is there.
 * @throws BraidError DEVICE_UNAVAILABLE where none opens, with what each lacks.
 */
export async function openRivals(candidates: readonly Candidate[]): Promise<readonly OpenedBackend[]> {
  const said: string[] = [];
  const opened: { readonly name: string; readonly device: OpenedBackend }[] = [];
  for (const { name, open } of candidates) {
    try {
      opened.push({ name, device: await open() });
    } catch (error) {
      said.push(`the backend ${name} is not available: ${toBraidError(error).message}`);
    }
  }
  if (opened.length === 0) throw new BraidError('DEVICE_UNAVAILABLE', said.join('; '));
  const isSoftware = ({ device }: (typeof opened)[number]): boolean => device.info.software;
  const hasHardware = !opened.every(isSoftware);
  const rivals = hasHardware ? opened.filter((rival) => !isSoftware(rival)) : opened;
  for (const { name, device } of opened) {
    if (rivals.some((rival) => rival.device === device)) continue;
    said.push(`${name} has a software adapter alone`);
    close(device);
  }
  if (rivals.length > 1)
    said.unshift(`each model runs on the faster of ${rivals.map(({ name }) => name).join(' and ')}`);
  const [first, ...others] = rivals.map(({ device }) => device);
  return [{ ...first!, info: { ...first!.info, origin: [first!.info.origin, ...said].join('; ') } }, ...others];
}
