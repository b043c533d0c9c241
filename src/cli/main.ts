#!/usr/bin/env node
import type { CliContext } from './context.js';
import { runCli } from './program.js';

// Engine, tuner and discovery load a native module, which --help and usage errors need not wait for.
const context: CliContext = {
  out: process.stdout,
  err: process.stderr,
  debug: process.env.BRAID_DEBUG === '1',
  openEngine: async (options) => (await import('../engine.js')).openEngine(options),
  tuneModel: async (source, options) => (await import('../tuning/index.js')).tuneModel(source, options),
  describeDevices: async () => (await import('../device/index.js')).describeDevices(),
};

// A reader that has seen enough (`braid inspect m.onnx | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await runCli(process.argv.slice(2), context);
