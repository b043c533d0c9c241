import type { Dim } from '../../graph/dim.js';
import { elementWgsl } from '../../../shaders/program.js';
import { deviceType } from '../../compile/view.js';
import { arithmeticType, lessThan, variantName } from '../elementwise/types.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';
import { reduceReference, reduceStep } from './kernel.js';

function axisOf(context: NodeContext): number {
  return context.axis(context.attributes.number('axis', 0), context.input(0).shape.length);
}

function shapeOf(context: NodeContext): Dim[] {
  const axis = axisOf(context);
  const keep = context.attributes.number('keepdims', 1) !== 0;
  return context.input(0).shape.flatMap((d, i) => (i === axis ? (keep ? [1] : []) : [d]));
}

/** ArgMax and ArgMin (X, axis, keepdims, select_last_index): where along an axis the extreme is, the first of equals or the last. */
function positionOf(type: 'ArgMax' | 'ArgMin'): Operator {
  const largest = type === 'ArgMax';
  return {
    type,
    opsets: [7, 27],
    infer: (context) => [{ dtype: 'int64', shape: shapeOf(context) }],
    reference(context) {
      const last = context.attributes.number('select_last_index', 0) !== 0;
      const data = reduceReference(context.input(0), [axisOf(context.shapes)], (line) => {
        const extreme = line.reduce((a, b) => (largest ? Math.max(a, b) : Math.min(a, b)));
        return last ? line.lastIndexOf(extreme) : line.indexOf(extreme);
      });
      return [{ dtype: 'int64', dims: shapeOf(context.shapes) as number[], data }];
    },
    rows: (row) => mixesAlong(row, 0, axisOf(row.context)),
    lower(lowering) {
      const { context } = lowering;
      const view = lowering.view(0);
      const arithmetic = arithmeticType(view.dtype);
      const last = context.attributes.number('select_last_index', 0) !== 0;
      const [a, b] = largest ? ['best', 'x'] : ['x', 'best'];
      const better = last ? `!(${lessThan(arithmetic, b, a)})` : lessThan(arithmetic, a, b);
      const kernel = {
        state: `var best = ${elementWgsl(deviceType(view.dtype))}(); var at = 0u;`,
        update: `if (j == 0u || ${better}) { best = x; at = j; }`,
        finish: 'vec2<u32>(at, 0u)',
      };
      const name = `${variantName(type, view.dtype)}${last ? '_last' : ''}`;
      lowering.emit(reduceStep(name, kernel, view, lowering.output(0), [axisOf(context)]));
    },
  };
}

export const ARG_OPERATORS: readonly Operator[] = [positionOf('ArgMax'), positionOf('ArgMin')];
