import { describe, expect, it } from 'vitest';
import { compile, type Plan } from '../../../runtime/compile/plan.js';
import { GraphBuilder, tensorOf } from '../../../runtime/index.js';
import { Random } from '../../support/cases.js';
import { CostModel, GPU_RATES, operatorCost } from '../../../runtime/schedule/cost.js';

function planOf(width: number): Plan {
  const b = new GraphBuilder('mlp');
  const x = b.input('x', 'float32', ['n', width]);
  const w = b.constant(
    'w',
    tensorOf(
      'float32',
      [width, width],
      Array.from({ length: width * width }, () => 0.1),
    ),
  );
  b.output(b.op('MatMul', [x, w]), 'float32');
  return compile(b.build(), { maxBindingBytes: 2 ** 30 });
}

describe('an operator by the roofline', () => {
  it('is bound by the slower of its bytes and operations, or by the dispatch where both are small', () => {
    const bindings = new Map([['n', 1]]);
    const of = (bytes: number, operations: number) => operatorCost('k', { bytes, operations }, bindings, GPU_RATES);
    expect(of(3e8, 1)).toMatchObject({ bound: 'memory', us: 1000 });
    expect(of(1, 8e9)).toMatchObject({ bound: 'arithmetic', us: 1000 });
    expect(of(300, 100)).toMatchObject({ bound: 'latency' });
  });
});

describe('the cost model', () => {
  it('starts from the plan: more rows cost more, dispatches cost something', () => {
    const cost = new CostModel(planOf(256), 10, GPU_RATES);
    const bindings = new Map([['n', 1]]);
    const guesses = [0, 1, 100, 1000, 10_000, 100_000].map((rows) => cost.deviceUs(bindings, rows));
    expect(guesses[0]).toBe(10 * GPU_RATES.dispatchUs);
    expect(guesses).toEqual([...guesses].sort((a, b) => a - b));
    expect(new CostModel(planOf(16), 1, GPU_RATES).bound).toBe('latency');
    expect(new CostModel(planOf(2048), 1, GPU_RATES).bound).toBe('arithmetic');
  });

  it('predicts waves like those it has seen, from any start', () => {
    const random = new Random(7);
    for (let trial = 0; trial < 40; trial++) {
      const [fixed, slope] = [20 + 2000 * random.next(), 0.01 + 2 * random.next()];
      const truth = (rows: number): number => fixed + slope * rows;
      const cost = new CostModel(planOf(256), 10, GPU_RATES);
      const bindings = new Map([['n', 1]]);
      for (let i = 0; i < 40; i++) {
        const rows = random.int(1, 8192);
        const wobble = 0.97 + 0.06 * random.next();
        cost.observe(bindings, rows, { deviceUs: truth(rows) * wobble, hostUs: truth(rows) * wobble });
      }
      const sizes = Array.from({ length: 10 }, () => random.int(1, 8192));
      const errors = sizes.map((rows) => Math.abs(cost.deviceUs(bindings, rows) / truth(rows) - 1));
      expect([trial, errors.reduce((a, b) => a + b, 0) / errors.length < 0.08]).toEqual([trial, true]);
    }
  });

  it('does not unlearn other sizes from waves of one size', () => {
    const random = new Random(3);
    const cost = new CostModel(planOf(64), 5, GPU_RATES);
    const bindings = new Map([['n', 1]]);
    const observe = (rows: number): void => {
      const us = (300 + 0.05 * rows) * (0.8 + 0.4 * random.next());
      cost.observe(bindings, rows, { deviceUs: us, hostUs: us });
    };
    for (let i = 0; i < 40; i++) observe([256, 1024, 4096][i % 3]!);
    for (let i = 0; i < 5000; i++) observe(3840);
    for (const rows of [256, 7680]) {
      expect(cost.hostUs(rows) / (300 + 0.05 * rows)).toBeGreaterThan(0.85);
      expect(cost.hostUs(rows) / (300 + 0.05 * rows)).toBeLessThan(1.15);
    }
  });

  it('follows a device that changes its clock, and stays finite on repeats', () => {
    const cost = new CostModel(planOf(64), 5, GPU_RATES);
    const bindings = new Map([['n', 1]]);
    for (let i = 0; i < 2000; i++) cost.observe(bindings, 512, { deviceUs: 400, hostUs: 100 });
    expect(cost.deviceUs(bindings, 512)).toBeCloseTo(400, 0);
    for (let i = 0; i < 300; i++) cost.observe(bindings, 512, { deviceUs: 200, hostUs: 100 });
    expect(cost.deviceUs(bindings, 512)).toBeCloseTo(200, 0);
    expect(cost.hostUs(512)).toBeCloseTo(100, 0);
    expect(cost.waves).toBe(2300);
  });
});
