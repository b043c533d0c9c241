import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Read through the package's own exports, so that it holds in the source tree and in an installed package alike. */
export function packageVersion(): string {
  const path = createRequire(import.meta.url).resolve('braid/package.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}
