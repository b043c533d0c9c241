import { deviceType } from '../../compile/view.js';
import type { DataType } from '../../graph/dtype.js';
import { broadcastShapes } from '../broadcast.js';
import type { NodeContext, Operator, ReferenceContext, ReferenceTensor, ValueType } from '../operator.js';
import { CAST } from './cast.js';
import { CLIP } from './clip.js';
import { foldElementwise } from './fold.js';
import { elementwiseStep } from './kernel.js';
import { shownByShapes } from '../rows.js';
import { mapReference } from './semantics.js';
import { ELEMENTWISE, type ElementwiseEntry } from './table.js';
import { WHERE } from './where.js';

function inputsOf(context: NodeContext): ValueType[] {
  return Array.from({ length: context.inputCount }, (_, i) => context.input(i));
}

function operatorOf(entry: ElementwiseEntry): Operator {
  const result = (first: DataType): DataType => (entry.result === 'bool' ? 'bool' : first);
  return {
    type: entry.type,
    opsets: entry.opsets ?? [7, 23],
    infer(context) {
      const inputs = inputsOf(context);
      if (entry.inputs !== 'variadic' && inputs.length !== entry.inputs) {
        throw context.invalid(`expected ${entry.inputs} inputs, found ${inputs.length}`);
      }
      const first = inputs[0]!.dtype;
      const odd = inputs.find((t) => t.dtype !== first);
      if (odd && entry.type !== 'Pow') throw context.invalid(`inputs of different types ${first} and ${odd.dtype}`);
      const shape = broadcastShapes(
        inputs.map((t) => t.shape),
        (p) => context.invalid(p),
      );
      return [{ dtype: result(first), shape }];
    },
    fold: (context, outputs) => [foldElementwise(entry.type, context, outputs[0]!)],
    reference(context: ReferenceContext) {
      const scalars = entry.scalars?.(context.attributes) ?? {};
      const inputs = context.inputs.map((_, i) => context.input(i));
      const dtype = result(inputs[0]!.dtype);
      if (entry.inputs !== 'variadic') return [mapReference(inputs, dtype, (x) => entry.reference(x, scalars))];
      const fold = (a: ReferenceTensor, b: ReferenceTensor): ReferenceTensor =>
        mapReference([a, b], dtype, (x) => entry.reference(x, scalars));
      return [inputs.reduce(fold)];
    },
    rows: shownByShapes,
    lower(lowering) {
      const { context } = lowering;
      const type = deviceType(context.input(0).dtype);
      const expression = entry.wgsl[type];
      if (expression === undefined) throw context.unsupported(`no kernel for ${context.input(0).dtype}`);
      const odd = Array.from({ length: context.inputCount }, (_, i) => context.input(i)).find(
        (t) => deviceType(t.dtype) !== type,
      );
      if (odd) throw context.unsupported(`no kernel for ${context.input(0).dtype} with ${odd.dtype}`);
      const call = {
        name: entry.type,
        expression,
        ...(entry.helpers === undefined ? {} : { helpers: entry.helpers }),
        ...(entry.operations === undefined ? {} : { operations: entry.operations }),
        scalars: entry.scalars?.(context.attributes) ?? {},
      };
      const views = Array.from({ length: context.inputCount }, (_, i) => lowering.view(i));
      const output = lowering.output(0);
      if (entry.inputs !== 'variadic') {
        lowering.emit(elementwiseStep({ ...call, inputs: views, output }));
        return;
      }
      if (views.length === 1) {
        lowering.alias(0, views[0]!);
        return;
      }
      // a, b, c, .. chained pairwise; only the last writes the output.
      let left = views[0]!;
      for (let i = 1; i < views.length; i++) {
        const last = i === views.length - 1;
        const into = last ? output : lowering.scratch(`partial${i}`, output.dtype, output.shape);
        lowering.emit(elementwiseStep({ ...call, inputs: [left, views[i]!], output: into }));
        left = into;
      }
    },
  };
}

export const ELEMENTWISE_OPERATORS: readonly Operator[] = [...ELEMENTWISE.map(operatorOf), WHERE, CLIP, CAST];
