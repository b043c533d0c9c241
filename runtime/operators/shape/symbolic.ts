import type { Step } from '../../compile/kernel.js';
import { deviceType, elementsOf, sliceView, type View } from '../../compile/view.js';
import type { Dim } from '../../graph/dim.js';
import { indexedStep } from '../indexing/step.js';

/** Elements that one call writes; a list of this length is part of its parameters. */
const ELEMENTS_PER_STEP = 16;

/**
 * The steps that put integers known up to the sizes of a query into memory: the numbers come with the parameters, so that
 * what a model computes of its shapes can be used as data.
 */
export function fillSteps(elements: readonly Dim[], out: View): Omit<Step, 'node'>[] {
  const value = {
    f32: 'f32(bitcast<i32>(word))',
    i32: 'bitcast<i32>(word)',
    u32: 'word',
    i64: 'vec2<u32>(word, select(0u, 0xffffffffu, bitcast<i32>(word) < 0))',
  }[deviceType(out.dtype)];
  const line: View = { ...out, shape: [elementsOf(out)], strides: [1] };
  return Array.from({ length: Math.ceil(elements.length / ELEMENTS_PER_STEP) }, (_, part) => {
    const first = part * ELEMENTS_PER_STEP;
    const own = elements.slice(first, first + ELEMENTS_PER_STEP);
    const padding: Dim[] = Array.from({ length: ELEMENTS_PER_STEP - own.length }, () => 0);
    return indexedStep({
      name: 'Sizes',
      reads: {},
      writes: { out: sliceView(line, 0, first, own.length) },
      lists: { values: [...own, ...padding] },
      body: ({ at }) => `
    let word = p.values[i / 4u][i % 4u];
    ${at('out', ['i'])} = ${value};`,
    });
  });
}
