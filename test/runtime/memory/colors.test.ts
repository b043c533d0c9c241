import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Step } from '../../../runtime/compile/kernel.js';
import { denseView, type Storage } from '../../../runtime/compile/view.js';
import { colorStorages } from '../../../runtime/memory/colors.js';

const storage = (id: number, kind: Storage['kind'] = 'temp'): Storage => ({
  id,
  kind,
  type: 'f32',
  size: 4,
  name: `s${id}`,
});

const operand = (access: 'read' | 'write') => (s: Storage) => ({ view: denseView(s, 'float32', [4]), access });

function step(reads: readonly Storage[], writes: readonly Storage[]): Step {
  return {
    kernel: 'k',
    node: 'k',
    operands: [...reads.map(operand('read')), ...writes.map(operand('write'))],
    cost: { operations: 0, bytes: 0 },
    bound: 'memory',
    detail: '',
    webgpu: () => {
      throw new Error('not run');
    },
  };
}

/** Random programs: every step reads some of what was written and writes something new, or more of something old. */
const programs = fc
  .array(fc.tuple(fc.array(fc.nat(), { maxLength: 4 }), fc.option(fc.nat(), { freq: 4 })), {
    minLength: 1,
    maxLength: 30,
  })
  .map((choices) => {
    const temps: Storage[] = [];
    const input = storage(1000, 'input');
    return choices.map(([picks, again]) => {
      const reads = temps.length === 0 ? [input] : picks.map((p) => temps[p % temps.length]!);
      const older = again === null || temps.length === 0 ? undefined : temps[again % temps.length]!;
      const written = older && !reads.includes(older) ? older : storage(temps.length);
      if (written !== older) temps.push(written);
      return step(reads, [written]);
    });
  });

describe('colours of storages', () => {
  it('never put what a step reads into the buffer that it writes', () => {
    fc.assert(
      fc.property(programs, (steps) => {
        const colors = colorStorages(steps);
        for (const { operands } of steps) {
          for (const write of operands.filter((o) => o.access === 'write')) {
            expect(colors.get(write.view.storage)).toBeGreaterThanOrEqual(0);
            for (const read of operands.filter((o) => o.access === 'read' && o.view.storage.kind === 'temp'))
              expect(colors.get(read.view.storage)).not.toBe(colors.get(write.view.storage));
          }
        }
      }),
    );
  });

  it('alternate between two buffers along a chain', () => {
    const chain = Array.from({ length: 9 }, (_, i) => storage(i));
    const steps = chain.map((s, i) => step(i === 0 ? [storage(99, 'input')] : [chain[i - 1]!], [s]));
    const colors = colorStorages(steps);
    expect(chain.map((s) => colors.get(s))).toEqual([0, 1, 0, 1, 0, 1, 0, 1, 0]);
  });

  it('leave weights and inputs alone', () => {
    const steps = [step([storage(1, 'weight'), storage(2, 'input')], [storage(3)])];
    expect([...colorStorages(steps).keys()].map((s) => s.id)).toEqual([3]);
  });
});
