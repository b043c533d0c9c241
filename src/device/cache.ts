import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where what is made once is kept: `BRAID_CACHE`, or `braid` in the user's cache directory. */
export function cacheFolder(): string {
  return process.env['BRAID_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'braid');
}
