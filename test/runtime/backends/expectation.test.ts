import { describe, expect, it } from 'vitest';
import { Expectation } from '../../../runtime/backends/webgpu/expectation.js';
import type { WebGpuExecutable, WebGpuPart } from '../../../runtime/backends/webgpu/executable.js';

function partOf(executable: WebGpuExecutable, expectedUs?: number): WebGpuPart {
  const wave = { bindings: new Map(), queries: [] };
  return { executable, wave, timing: 'none', ...(expectedUs === undefined ? {} : { expectedUs }) };
}

/** An expectation, and the moments that it told of. */
function told(): { expectation: Expectation; moments: number[] } {
  const moments: number[] = [];
  return { moments, expectation: new Expectation((at) => moments.push(at)) };
}

describe('when submissions are expected to end', () => {
  const [plan, other] = [{} as WebGpuExecutable, {} as WebGpuExecutable];

  it('follows the cost model, and then what was seen', () => {
    const { expectation, moments } = told();
    expectation.submitted([partOf(plan, 1000)], 10)(10.5);
    expectation.submitted([partOf(plan, 2000)], 20)(21);
    expect(moments).toEqual([11, 21]);
    // Slower ones are followed slowly: a host that was late may have seen them.
    expectation.submitted([partOf(plan, 1000)], 30)(31);
    expectation.submitted([partOf(plan, 1000)], 40);
    expect(moments[3]).toBeGreaterThan(40.5);
    expect(moments[3]).toBeLessThan(40.6);
  });

  it('tells of the one that the device works at, from when the one before was over', () => {
    const { expectation, moments } = told();
    const first = expectation.submitted([partOf(plan, 1000)], 0);
    const second = expectation.submitted([partOf(other, 4000)], 0.25);
    expect(moments).toEqual([1]);
    first(1.5);
    expect(moments).toEqual([1, 5.5]);
    second(5.5);
    expect(moments).toEqual([1, 5.5]);
  });

  it('adds up plans that share a submission, and says nothing where nothing is known', () => {
    const { expectation, moments } = told();
    expectation.submitted([partOf(plan, 1000), partOf(other, 500)], 0)(2);
    expectation.submitted([partOf(plan), partOf(other, 500)], 3)(4);
    expectation.submitted([partOf(plan, 0)], 5)(6);
    expect(moments).toEqual([1.5]);
  });
});
