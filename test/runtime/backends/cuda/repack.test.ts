import { describe, expect, it } from 'vitest';
import { repack } from '../../../../runtime/backends/cuda/repack.js';
import { compile, GraphBuilder, type Plan } from '../../../../runtime/index.js';
import type { KernelTarget } from '../../../../runtime/compile/kernel.js';
import { numberToHalf } from '../../../../runtime/graph/dtype.js';
import { writeWeight } from '../../../../runtime/backends/common/transfer.js';
import { HOPPER_CAPS } from '../../../support/caps.js';

const TARGET: KernelTarget = { ...HOPPER_CAPS, products: 'tf32' };

const [K, N] = [13, 16];

/** y = x W. */
function product(transB: 0 | 1, target = TARGET): { plan: Plan; weight: Float32Array } {
  const b = new GraphBuilder('product');
  const weight = Float32Array.from({ length: K * N }, (_, i) => 1 + i * 2 ** -12);
  const x = b.input('x', 'float32', ['rows', K]);
  const w = b.constant('w', { dtype: 'float32', dims: transB ? [N, K] : [K, N], data: weight });
  b.output(b.op('Gemm', [x, w], { transB }, { outputs: ['y'] }), 'float32');
  const plan = compile(b.build(), { maxBindingBytes: 2 ** 30, caps: target, products: target.products });
  return { plan, weight };
}

describe('repack', () => {
  it.each([0, 1] as const)(
    'lays a weight out in lines along k, rounded, in place of what it was: transB %i',
    (transB) => {
      const { plan, weight } = product(transB);
      const { program } = repack(plan, TARGET);
      const [{ storage, tensor }, ...rest] = program.weights as [(typeof program.weights)[number]];
      expect(rest).toEqual([]);
      expect(program.steps[0]!.operands[1]!.view.storage).toBe(storage);
      const pitch = 16;
      expect([storage.size, tensor.data.length]).toEqual([N * pitch, N * pitch]);
      for (let n = 0; n < N; n++)
        for (let k = 0; k < pitch; k++) {
          const exact = k < K ? weight[transB ? n * K + k : k * N + n]! : 0;
          const found = Number(tensor.data[n * pitch + k]!);
          expect(Math.abs(found - exact)).toBeLessThanOrEqual(2 ** -11);
          expect(found * 2 ** 10).toBe(Math.round(found * 2 ** 10));
        }
    },
  );

  it('stores it as halves, a line a multiple of 8 of them, where products are of float16', () => {
    const target: KernelTarget = { ...TARGET, products: 'float16' };
    const { plan, weight } = product(0, target);
    const { program } = repack(plan, target);
    const [held] = program.weights as [(typeof program.weights)[number]];
    expect([held.storage.type, held.storage.size]).toEqual(['f16', N * 16]);
    const bytes = new ArrayBuffer(2 * N * 16);
    writeWeight(held, bytes, 0);
    const halves = new Uint16Array(bytes);
    for (let n = 0; n < N; n++)
      for (let k = 0; k < 16; k++) expect(halves[n * 16 + k]).toBe(k < K ? numberToHalf(weight[k * N + n]!) : 0);
  });

  it('leaves weights as they are where kernels read them so', () => {
    const { plan } = product(0);
    const { program } = repack(plan, { ...TARGET, products: 'float32' });
    expect(program.weights).toEqual(plan.program.weights);
  });

  it('is the same for every step that it is asked about again', () => {
    const { program } = repack(product(0).plan, TARGET);
    const [step] = program.steps;
    expect(step!.cuda!(TARGET)).toBe(step!.cuda!(TARGET));
    expect(step!.cuda!(TARGET)!.program.native?.header).toBe('matmul_hopper.cuh');
  });
});
