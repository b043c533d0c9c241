import { constants } from 'node:os';

/** glibc's RTLD_NODELETE: the library stays although it is no Node addon and Node closes it again. */
const RTLD_NODELETE = 0x1000;

/**
 * Makes a shared library resident in this process, so that a later dlopen by its SONAME finds it without
 * LD_LIBRARY_PATH, which would have to be set before Node starts.
 * @returns undefined on success, otherwise the loader's reason.
 */
export function preloadLibrary(nameOrPath: string): string | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    process.dlopen(
      { exports: {} },
      nameOrPath,
      constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE,
    );
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // Node complains that the library registers no addon only after loading it.
    return reason.includes('did not self-register') ? undefined : reason;
  }
}
