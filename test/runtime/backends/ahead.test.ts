import { describe, expect, it, vi } from 'vitest';
import { Ahead, type Recipe } from '../../../runtime/backends/webgpu/ahead.js';
import type { WebGpuExecutable } from '../../../runtime/backends/webgpu/executable.js';

const [executable, other] = [{} as WebGpuExecutable, {} as WebGpuExecutable];
const [staging, readback] = [{} as GPUBuffer, {} as GPUBuffer];
const recipe: Recipe = { executables: [executable], sizes: ['256 1'], staging, readback, generation: 1 };

/** An Ahead that has seen so many submissions of the recipe, and what it recorded after the last. */
function after(submissions: number): { ahead: Ahead<string>; record: ReturnType<typeof vi.fn<() => string>> } {
  const ahead = new Ahead<string>();
  const record = vi.fn<() => string>(() => 'commands');
  for (let i = 0; i < submissions; i++) {
    ahead.take({ ...recipe });
    ahead.next(record);
  }
  return { ahead, record };
}

describe('commands recorded ahead', () => {
  it('waits until submissions repeat', () => {
    expect(after(3).record).not.toHaveBeenCalled();
    const { ahead, record } = after(4);
    expect(record).toHaveBeenCalledTimes(1);
    expect(ahead.take({ ...recipe })).toBe('commands');
  });

  it('gives commands away once', () => {
    const { ahead } = after(4);
    expect(ahead.take(recipe)).toBe('commands');
    expect(ahead.take(recipe)).toBeUndefined();
  });

  it.each<[string, Partial<Recipe>]>([
    ['sizes', { sizes: ['512 2'] }],
    ['plan', { executables: [other] }],
    ['plans', { executables: [executable, other], sizes: ['256 1', '256 1'] }],
    ['staging memory', { staging: {} as GPUBuffer }],
    ['read-back memory', { readback: {} as GPUBuffer }],
    ['shared memory', { generation: 2 }],
  ])('has none for another %s, and then none for the first', (_, change) => {
    const { ahead, record } = after(4);
    expect(ahead.take({ ...recipe, ...change })).toBeUndefined();
    ahead.next(record);
    expect(record).toHaveBeenCalledTimes(1);
    expect(ahead.take(recipe)).toBeUndefined();
  });

  it('lets go of a plan that is released, and of no other', () => {
    const { ahead } = after(4);
    ahead.forget(other);
    ahead.forget(executable);
    expect(ahead.take(recipe)).toBeUndefined();
  });
});
