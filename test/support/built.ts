import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type * as Braid from '../../src/index.js';

// End-to-end tests run what is shipped. The path is computed so that type checks need no build.
const DIST = new URL('../../dist/', import.meta.url);

export const CLI = fileURLToPath(new URL('src/cli/main.js', DIST));

/** The built library. */
export async function builtLibrary(): Promise<typeof Braid> {
  return (await import(new URL('src/index.js', DIST).href)) as typeof Braid;
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the built command line to its end. */
export function runCommand(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const child = startCommand(args, env);
  let stdout = '';
  let stderr = '';
  child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

export function startCommand(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
