import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Other people's test data lives beside the repository, not in it.
const SHARED = fileURLToPath(new URL('../../../shared/', import.meta.url));

/**
 * The path of a folder of shared test data, such as `onnx-node`, or undefined where this machine lacks it.
 * Tests skip on undefined and say so in their title, with `whyAbsent`.
 */
export function sharedFolder(name: string): string | undefined {
  const folder = `${SHARED}${name}`;
  return existsSync(folder) ? folder : undefined;
}

/** What a skipped test adds to its title. */
export function whyAbsent(name: string): string {
  return sharedFolder(name) ? '' : ` (skipped: no shared test data '${name}' beside the repository)`;
}
