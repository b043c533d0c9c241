import { describe, expect, it } from 'vitest';
import { layoutParameters, type WebGpuProgram } from '../../../../shaders/program.js';
import { groupLaunches } from '../../../../runtime/backends/cuda/launches.js';
import { roundedRows } from '../../../../runtime/backends/cuda/rows.js';
import { repack } from '../../../../runtime/backends/cuda/repack.js';
import { ENTRY_POINT, translate } from '../../../../runtime/backends/cuda/translate.js';
import { compile } from '../../../../runtime/index.js';
import { PRODUCT_PRECISIONS, type KernelTarget, type ProductPrecision } from '../../../../runtime/compile/kernel.js';
import { buildZoo, zooNames } from '../../../../src/zoo/index.js';
import { HOPPER_CAPS } from '../../../support/caps.js';

const TARGET: KernelTarget = { ...HOPPER_CAPS, products: 'float32' };

/** Kernels of a model's launches, and how many steps each takes. */
function launchesOf(model: string, products: ProductPrecision) {
  const target = { ...TARGET, products };
  const plan = compile(buildZoo(model, 'tiny'), { maxBindingBytes: 2 ** 30, caps: target, products });
  return groupLaunches(repack(plan, target), target, () => 0);
}

describe('launches of a plan', () => {
  it.each(zooNames)('all have CUDA kernels, with arguments that a launch takes: %s', (model) => {
    for (const products of PRODUCT_PRECISIONS) {
      for (const { program, steps } of launchesOf(model, products)) {
        for (const p of [program, ...(steps[0]!.dispatch.alternatives ?? []).map((a) => a.program)]) {
          const { source, threads } = translate(p, steps.length);
          expect(source).toContain(ENTRY_POINT);
          expect(threads).toBeGreaterThan(0);
        }
        const places = steps[0]!.step.operands.length + (program.reportsErrors ? 1 : 0);
        expect(16 * places + 4 * layoutParameters(program.fields).words * steps.length).toBeLessThanOrEqual(4096);
      }
    }
  });

  it.each(zooNames)('use matrix units where products are of TF32 or float16, and not otherwise: %s', (model) => {
    const onUnits = ({ program: { native } }: { program: WebGpuProgram }): boolean =>
      native !== undefined && !['short_attention.cuh', 'lookup_rows.cuh'].includes(native.header);
    const native = (products: ProductPrecision): string[] =>
      launchesOf(model, products)
        .filter(onUnits)
        .map(({ program }) => program.native!.call);
    expect(native('float32')).toEqual([]);
    expect(native('tf32').length).toBeGreaterThan(1);
    // As many, none of which is one of TF32.
    expect(native('float16')).toHaveLength(native('tf32').length);
    expect(native('float16').filter((call) => native('tf32').includes(call))).toEqual([]);
  });
});

describe('roundedRows', () => {
  it('has room for the rows, an eighth more at most, and no more than there may be', () => {
    for (let rows = 1; rows <= 5000; rows++) {
      const held = roundedRows(rows, 65_536);
      expect(held).toBeGreaterThanOrEqual(rows);
      expect(held).toBeLessThan(rows * 1.125 + 1);
    }
    expect(roundedRows(0, 10)).toBe(1);
    expect(roundedRows(999, 1000)).toBe(1000);
  });

  it('gives few sizes', () => {
    const sizes = new Set(Array.from({ length: 65_536 }, (_, i) => roundedRows(i + 1, 65_536)));
    expect(sizes.size).toBeLessThan(128);
  });
});
