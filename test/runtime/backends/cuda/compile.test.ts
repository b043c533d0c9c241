import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { groupLaunches } from '../../../../runtime/backends/cuda/launches.js';
import { repack } from '../../../../runtime/backends/cuda/repack.js';
import { translate } from '../../../../runtime/backends/cuda/translate.js';
import { compile } from '../../../../runtime/index.js';
import { PRODUCT_PRECISIONS } from '../../../../runtime/compile/kernel.js';
import { buildZoo, zooNames } from '../../../../src/zoo/index.js';
import { HOPPER_CAPS } from '../../../support/caps.js';

function hasNvcc(): boolean {
  try {
    execFileSync('nvcc', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Sources of the zoo's kernels on CUDA that are translations of WGSL, one of those that differ by numbers alone; the others are compiled with the addon. */
function translated(): Map<string, string> {
  const sources = new Map<string, string>();
  for (const model of zooNames) {
    for (const products of PRODUCT_PRECISIONS) {
      const target = { ...HOPPER_CAPS, products };
      const precision = { tables: products === 'tf32' ? ('int8' as const) : ('float32' as const) };
      const plan = compile(buildZoo(model, 'tiny'), { maxBindingBytes: 2 ** 30, caps: target, products, precision });
      for (const { program, steps } of groupLaunches(repack(plan, target), target, () => 0)) {
        for (const p of [program, ...(steps[0]!.dispatch.alternatives ?? []).map((a) => a.program)])
          if (!p.native) sources.set(p.key.replaceAll(/\d+/g, '#'), translate(p, steps.length).source);
      }
    }
  }
  return sources;
}

describe.skipIf(!hasNvcc())('kernels translated to CUDA (where nvcc is found)', () => {
  it('are what nvcc takes, in all models of the zoo', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'braid-nvcc-'));
    try {
      const sources = [...translated().values()];
      expect(sources.length).toBeGreaterThan(5);
      const files = sources.map((source, i) => {
        const file = join(folder, `kernel${i}.cu`);
        writeFileSync(file, source);
        return file;
      });
      const include = join(import.meta.dirname, '../../../../native/kernels');
      // PTX tells whether the language is right, which is what translating is about; assembling it would take longer.
      const args = ['-std=c++17', '-arch=sm_90', '-I', include, '--ptx', '--threads', '2', '-odir', folder, ...files];
      await promisify(execFile)('nvcc', args);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 240_000);
});
