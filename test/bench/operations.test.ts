import { describe, expect, it } from 'vitest';
import { compareOperations, type Figure, type OperationsRun } from '../../bench/shaders/compare.js';
import { inputOf, operations } from '../../bench/shaders/operations.js';
import { compile } from '../../runtime/index.js';

function run(times: Readonly<Record<string, number>>, device = 'GPU'): OperationsRun {
  const figures = Object.entries(times).map(([name, us]): Figure => ({
    name,
    program: 'kernel',
    us,
    gbs: 1,
    tflops: 1,
    share: 0.5,
  }));
  return { date: '', device, peaks: { copyGBs: 1, tflops: 1 }, figures };
}

describe('comparing two runs of single operations', () => {
  it('shows what became slower first, and calls a small change none', () => {
    const changes = compareOperations(run({ a: 10, b: 10, c: 10, d: 10 }), run({ a: 5, b: 10.4, c: 20, e: 1 }), 0.05);
    expect(changes.map(({ name, ratio, kind }) => [name, ratio, kind])).toEqual([
      ['c', 2, 'slower'],
      ['b', 1.04, 'same'],
      ['a', 0.5, 'faster'],
    ]);
  });

  it('refuses what does not compare', () => {
    expect(() => compareOperations(run({ a: 1 }), run({ a: 1 }, 'another'), 0.05)).toThrow(/different devices/);
    expect(() => compareOperations(run({ a: 1 }), run({ b: 1 }), 0.05)).toThrow(/no operation in common/);
  });
});

describe('single operations', () => {
  const all = operations([3]);

  it.each(all.map((o) => [o.name, o] as const))('%s has a kernel of its own, and as many ids as its input', (_, o) => {
    const plan = compile(o.build(), { maxBindingBytes: 2 ** 30 });
    expect(plan.program.steps.some((step) => !o.isFrame(step.kernel))).toBe(true);
    const columns = plan.inputs[0]!.shape.slice(1).reduce<number>((n, d) => n * Number(d), 1);
    expect(inputOf(o)).toHaveLength(3 * columns);
    expect(plan.concatenable).toBe(true);
  });

  it('have names of their own', () => {
    expect(new Set(all.map((o) => o.name)).size).toBe(all.length);
  });
});
