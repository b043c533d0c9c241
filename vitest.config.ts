import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/announce.ts'],
    // Dawn's devices are process-wide state; a process a file keeps a crash in one file out of the others.
    pool: 'forks',
    maxWorkers: 2,
    // The software adapter compiles a model's pipelines in seconds.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
