import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  BraidError,
  compile,
  GraphBuilder,
  type Backend,
  type Executable,
  type Plan,
} from '../../../../runtime/index.js';
import { openBackend, testsCuda } from '../../../support/device.js';

/** y = 2 x of rows of 4. */
function doubling(backend: Backend): Plan {
  const b = new GraphBuilder('doubling');
  const x = b.input('x', 'float32', ['rows', 4]);
  const two = b.constant('two', { dtype: 'float32', dims: [4], data: new Float32Array([2, 2, 2, 2]) });
  b.output(b.op('Mul', [x, two], {}, { outputs: ['y'] }), 'float32');
  return compile(b.build(), { maxBindingBytes: backend.maxBindingBytes, caps: backend.caps });
}

/** The same with a kernel that traps, which ends a CUDA context. */
function trapping(plan: Plan): Plan {
  const native = { header: 'wgsl.cuh', call: '__trap()', threads: 32, residents: 1, sharedBytes: 0 };
  const steps = plan.program.steps.map((step): (typeof plan.program.steps)[number] => ({
    ...step,
    cuda(target) {
      const { program, dispatch } = step.webgpu(target);
      return { program: { ...program, key: 'trap', native }, dispatch: { ...dispatch, alternatives: [] } };
    },
  }));
  return { ...plan, name: 'trapping', program: { ...plan.program, steps } };
}

async function run(executable: Executable, rows: number): Promise<number[]> {
  const data = Float32Array.from({ length: 4 * rows }, (_, i) => i);
  const queries = [{ rows, firstRow: 0, inputs: [data] }];
  const { results } = await executable.submit({ bindings: new Map([['rows', rows]]), queries });
  const [result] = results;
  if (!result || 'error' in result) throw new Error('no result');
  return Array.from(result.outputs[0] as Float32Array);
}

describe.skipIf(!testsCuda)('a kernel that fails on CUDA (BRAID_TEST_BACKEND=cuda)', () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await openBackend();
  });
  afterAll(() => backend.close());

  it('fails what is in flight with a clear message; what comes next is right, or told that there is no device', async () => {
    const plan = doubling(backend);
    const [good, bad] = [await backend.prepare(plan), await backend.prepare(trapping(plan))];
    const expected = Array.from({ length: 12 }, (_, i) => 2 * i);
    expect(await run(good, 3)).toEqual(expected);
    for (let time = 0; time < 2; time++) {
      const inFlight = [run(bad, 3), run(bad, 5)];
      for (const failing of inFlight)
        await expect(failing).rejects.toMatchObject({
          code: 'DEVICE_LOST',
          message: expect.stringContaining('CUDA_ERROR'),
        });
      // CUDA may refuse a process another context after such an error.
      const next: unknown = await run(good, 3).catch((error: unknown) => error);
      if (next instanceof BraidError) {
        expect(next.code).toBe('DEVICE_UNAVAILABLE');
        return;
      }
      expect(next).toEqual(expected);
    }
    bad.release();
    good.release();
  });
});
