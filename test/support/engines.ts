import { afterAll, beforeAll } from 'vitest';
import { GraphEngine } from '../../runtime/index.js';
import { openBackend } from './device.js';

/**
 * Engines for the tests of a describe, there once they run: the first takes kernels as for the adapter
 * it has, the second as for a GPU.
 */
export function openBothEngines(): readonly GraphEngine[] {
  const engines: GraphEngine[] = [];
  beforeAll(async () => {
    for (const options of [{}, { software: false }])
      engines.push(new GraphEngine(await openBackend({ arenaBytes: 2 ** 24, ...options })));
  });
  afterAll(() => {
    for (const engine of engines) void engine.close();
  });
  return engines;
}
